"""Decisions of a person about devices: to allow, revoke, forget and set them.

Callers (the command line, later the web app) add to an error how it is mended from where they are.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import FleetError, ProtocolError
from mimi_mqtt.fleet.activation import same_client
from mimi_mqtt.fleet.credentials import first_epoch
from mimi_mqtt.store import activations, devices, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation, Device
from mimi_mqtt.store.values import bounded
from mimi_mqtt.wire.topics import device_id_from_mac

_CODES_NAMED: Final = 8
"""Codes in a message, the latest ones: anyone may ask for any device."""


class NotADevice(FleetError):
    """A text that is neither a device's MAC address nor a code of six digits."""


class UnknownDevice(FleetError):
    """No device is registered under this id, and none that waits claims it."""

    def __init__(self, device_id: str) -> None:
        super().__init__(f"there is no device {device_id}")
        self.device_id = device_id


class NeverAsked(FleetError):
    """The device to allow never sent an OTA request to this server."""

    def __init__(self, device_id: str) -> None:
        super().__init__(f"{device_id} never asked for anything: point it to this server's OTA address")
        self.device_id = device_id


class UnknownCode(FleetError):
    """No activation that is pending has this code."""

    def __init__(self, code: str) -> None:
        super().__init__(f"no device shows the code {code} now: codes expire")
        self.code = code


class SeveralAskers(FleetError):
    """More than one activation is pending for the device; `codes` are theirs."""

    def __init__(self, device_id: str, codes: tuple[str, ...]) -> None:
        named = ", ".join(codes[:_CODES_NAMED]) + (" and others" if len(codes) > _CODES_NAMED else "")
        super().__init__(
            f"{len(codes)} different devices claim to be {device_id}: allow the one whose code you see on "
            f"its screen or hear ({named})"
        )
        self.device_id = device_id
        self.codes = codes


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """Settings to change. None leaves a setting; "" takes it back: to the server's transport, the language
    that the device reports, the default agent, no name."""

    transport: str | None = None
    name: str | None = None
    language: str | None = None
    agent: str | None = None
    user_name: str | None = None


async def allow(store: Store, id_or_code: str, now: datetime) -> Device:
    """Allows a device: the one that shows the code, or the only one with a pending activation for the id.

    A device that was bound to another Client-Id is bound to that of the activation, and its old credentials
    end. Raises NotADevice, UnknownCode, NeverAsked or SeveralAskers.
    """
    async with store.write() as session:
        await activations.forget_expired(session, now)
        device_id, activation = await _asker_of(session, id_or_code.strip())
        device = await devices.get(session, device_id, lock=True)
        if device is None:
            if activation is None:
                raise NeverAsked(device_id)
            device = Device(
                id=device_id,
                client_id=activation.client_id,
                epoch=first_epoch(),
                board=activation.board,
                firmware_version=activation.firmware_version,
                reported_language=activation.language,
                host=activation.host,
                revision=0,
                created_at=now,
                updated_at=now,
                last_seen_at=activation.asked_at,
            )
        elif device.allowed and (activation is None or same_client(device.client_id, activation.client_id)):
            return device
        elif activation is not None:
            device.client_id = activation.client_id
            device.epoch += 1
        device.allowed = True
        device.address = ""  # a person wants it: it is not given up for another one
        await devices.save_changed(session, device, now)
        return device


async def _asker_of(session: AsyncSession, id_or_code: str) -> tuple[str, Activation | None]:
    if len(id_or_code) == 6 and id_or_code.isdecimal():
        activation = await activations.of_code(session, id_or_code)
        if activation is None:
            raise UnknownCode(id_or_code)
        return activation.device_id, activation
    device_id = parse_device_id(id_or_code)
    waiting = await activations.of_device(session, device_id)
    device = await devices.get(session, device_id)
    if device is not None and device.allowed:
        waiting = [asker for asker in waiting if not same_client(asker.client_id, device.client_id)]
    if len(waiting) > 1:
        raise SeveralAskers(device_id, tuple(asker.code for asker in waiting))
    return device_id, waiting[0] if waiting else None


async def revoke(store: Store, device_id: str, now: datetime) -> Device:
    """Ends a device's credentials; it gets none until it is allowed again. Raises NotADevice,
    UnknownDevice."""
    async with store.write() as session:
        device = await _known(session, device_id)
        device.allowed = False
        device.epoch += 1
        await activations.forget_device(session, device.id)
        await devices.save_changed(session, device, now)
        return device


async def forget(store: Store, device_id: str, now: datetime) -> str:
    """Deletes a device, or the pending activations for its id, with everything known of it. Returns its id.

    Its credentials end; it is a new device when it asks again. Raises NotADevice, UnknownDevice.
    """
    device_id = parse_device_id(device_id)
    async with store.write() as session:
        device = await devices.get(session, device_id, lock=True)
        if device is None and not await activations.of_device(session, device_id):
            raise UnknownDevice(device_id)
        await devices.forget(session, [device_id], now)
    return device_id


async def forget_unseen(store: Store, before: datetime, now: datetime) -> list[str]:
    """Forgets every device last seen before a moment. Returns their ids."""
    async with store.write() as session:
        ids = [device.id for device in await devices.unseen_since(session, before)]
        await devices.forget(session, ids, now)
    return ids


async def change(store: Store, device_id: str, wanted: DeviceChange, now: datetime) -> Device:
    """Changes a device's settings. Raises NotADevice, UnknownDevice."""
    async with store.write() as session:
        device = await _known(session, device_id)
        if wanted.transport is not None:
            device.transport = wanted.transport or None
        if wanted.name is not None:
            device.name = bounded(wanted.name.strip(), tables.NAME_CHARS)
        if wanted.language is not None:
            device.language = bounded(wanted.language.strip(), tables.LANGUAGE_CHARS)
        if wanted.agent is not None:
            device.agent = bounded(wanted.agent, tables.AGENT_CHARS)
        if wanted.user_name is not None:
            device.user_name = bounded(wanted.user_name.strip(), tables.USER_NAME_CHARS)
        await devices.save_changed(session, device, now)
        return device


async def fall_back(store: Store, device_id: str, now: datetime) -> Device | None:
    """Gives a device without a transport of its own a WebSocket; None when it has one, or is unknown."""
    async with store.write() as session:
        device = await devices.get(session, device_id, lock=True)
        if device is None or device.transport:
            return None
        device.transport = "websocket"
        await devices.save_changed(session, device, now)
        return device


async def _known(session: AsyncSession, device_id: str) -> Device:
    device_id = parse_device_id(device_id)
    device = await devices.get(session, device_id, lock=True)
    if device is None:
        raise UnknownDevice(device_id)
    return device


def parse_device_id(text: str) -> str:
    """A device id in any of a MAC address's spellings. Raises NotADevice."""
    try:
        return device_id_from_mac(text)
    except ProtocolError as error:
        raise NotADevice(f"{error}, nor a code of six digits") from error
