"""Devices as callers see them: what a caller may not see does not exist for him."""

from typing import Final, Protocol

from mimi_mqtt.errors import NotFound, ProtocolError
from mimi_mqtt.fleet.entry import DeviceInfo
from mimi_mqtt.people.access import Caller
from mimi_mqtt.wire.topics import device_id_from_mac

MAX_ID_CHARS: Final = 64
"""Longest id in a path."""


class Devices(Protocol):
    """The devices that may connect: `fleet.directory.DeviceDirectory`."""

    def get(self, device_id: str) -> DeviceInfo | None:
        """The device, or None."""


def name_of(devices: Devices, device_id: str) -> str:
    """The name of a device; "" when it has none, or may no longer connect."""
    device = devices.get(device_id)
    return device.name if device is not None else ""


def sees(caller: Caller, device: DeviceInfo | None) -> bool:
    """True when the device exists for the caller."""
    return device is not None and caller.sees(device.owner_id, device.group_id)


def shown_name(devices: Devices, caller: Caller, device_id: str) -> str:
    """The name of a device; "" when it is not the caller's to see, as of one that he talked to before it
    moved on."""
    device = devices.get(device_id)
    return device.name if device is not None and sees(caller, device) else ""


def visible(devices: Devices, caller: Caller, device_id: str) -> DeviceInfo:
    """The device, whose id may be in any spelling of a MAC address. Raises NotFound when there is none, or
    the caller may not know of it."""
    try:
        device = devices.get(device_id_from_mac(device_id))
    except ProtocolError:
        device = None
    if device is None or not sees(caller, device):
        raise NotFound("there is no such device")
    return device
