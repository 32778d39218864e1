"""A directory of devices for servers in benches; no database behind it."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device


def directory_of(ids: Sequence[str], credentials: Credentials, settings: Settings) -> DeviceDirectory:
    """The directory in which the devices `ids` are allowed."""
    directory = DeviceDirectory(Store(f"sqlite:///{os.devnull}"), credentials, Accounts(settings.accounts))
    now = datetime.now(UTC)
    for revision, device_id in enumerate(ids, 1):
        directory.apply(
            Device(
                id=device_id, client_id="bench", revision=revision, created_at=now, updated_at=now,
                last_seen_at=now,
            )
        )  # fmt: skip
    return directory
