"""Ids in the paths of routes."""

from typing import Annotated

from fastapi import Path

from mimi_mqtt.http.api.visibility import MAX_ID_CHARS

DeviceId = Annotated[
    str, Path(max_length=MAX_ID_CHARS, description="The device's MAC address, such as aa-bb-cc-00-11-22")
]
