"""What is known of the rooms that devices stand in, from one session to the next. Pure."""

from collections import OrderedDict
from typing import Final

from mimi_mqtt.audio.echo_path import EchoPath

MAX_ROOMS: Final = 256
"""Devices whose room is remembered, at about 60 kB each; that of the one heard longest ago is forgotten."""


class Rooms:
    """An echo path belongs to one ear at a time: it is taken, and given back."""

    def __init__(self) -> None:
        self._paths: OrderedDict[str, EchoPath] = OrderedDict()

    def take(self, device_id: str) -> EchoPath:
        """The room of a device, to be learnt if it is new or in use."""
        path = self._paths.pop(device_id, None)
        if path is None:
            return EchoPath()
        path.restart()
        return path

    def keep(self, device_id: str, path: EchoPath) -> None:
        """Remembers the room of a device; one without a name is forgotten."""
        if not device_id:
            return
        self._paths[device_id] = path
        self._paths.move_to_end(device_id)
        if len(self._paths) > MAX_ROOMS:
            self._paths.popitem(last=False)
