"""Devices that were given a WebSocket because their audio over UDP does not arrive."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.store import audit, devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fallback:
    """A device's fallback, `since` when. `silent_since` is its last boot, at which it was told the WebSocket,
    if it has not connected since; None: it has, or has not booted yet."""

    device_id: str
    since: datetime
    silent_since: datetime | None


async def use_websocket(store: Store, directory: DeviceDirectory, device_id: str) -> None:
    """Gives a device whose UDP is blocked a WebSocket from its next boot on, unless it has a transport of its
    own, and tells the operator. A failure of the database is logged: the next such session tries again."""
    try:
        device = await fall_back(store, device_id, datetime.now(UTC))
    except StoreError as error:
        _log.warning("the device could not be given a WebSocket: %s", error, extra={"device": device_id})
        return
    if device is not None:
        directory.apply(device)
        _log.warning(
            "the device gets a WebSocket at its next boot; to go back: mimi-mqtt devices set %s "
            "--transport default",
            device_id,
            extra={"device": device_id},
        )


async def fall_back(store: Store, device_id: str, now: datetime) -> Device | None:
    """Gives a device without a transport of its own a WebSocket; None when it has one, or is unknown."""
    async with store.write() as session:
        device = await devices.get(session, device_id, lock=True)
        if device is None or device.transport:
            return None
        device.transport = "websocket"
        device.fallback_at = now
        audit.record(
            session, audit.SERVER, "device.fallback", f"device:{device.id}",
            before={"transport": ""}, after={"transport": "websocket"},
        )  # fmt: skip
        await devices.save_changed(session, device, now)
        return device


async def fallbacks(store: Store, most: int | None = None) -> Sequence[Fallback]:
    """All there are, by device, or the first `most` of them."""
    async with store.read() as session:
        found = await devices.on_fallback(session, most)
    return [
        Fallback(device.id, device.fallback_at, _silent_since(device, booted_at))
        for device, booted_at in found
        if device.fallback_at is not None
    ]


def _silent_since(device: Device, booted_at: datetime | None) -> datetime | None:
    if booted_at is None or device.fallback_at is None or booted_at < device.fallback_at:
        return None
    connected = device.connected_at is not None and device.connected_at >= booted_at
    return None if connected else booted_at
