"""Decisions of a person about devices: to allow, revoke, rotate, forget and set them.

`rights` are those of whoever decides: what he may not see does not exist for him. Each change is audited in
its transaction. Callers (the command line, the REST API) add to an error how it is mended from where they
are.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import Conflict, FleetError, Forbidden, ProtocolError
from mimi_mqtt.fleet.activation import of_code, same_client, use_up
from mimi_mqtt.fleet.credentials import first_epoch
from mimi_mqtt.fleet.device_keys import may_come_in
from mimi_mqtt.fleet.rights import COMMAND_LINE, Rights
from mimi_mqtt.store import activations, audit, conversation_pages, device_keys, devices, reminders, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation, Device
from mimi_mqtt.store.values import bounded
from mimi_mqtt.wire.topics import device_id_from_mac

_FORGOTTEN_AT_ONCE: Final = 20
"""Devices that are forgotten in one transaction."""
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


class KeyNotProven(Conflict):
    """The device to let in has to prove first that it has its chip's key."""

    def __init__(self, device_id: str) -> None:
        super().__init__(
            f"a key is registered for the chip of {device_id}, and it has not proved yet that it has it: "
            "wait until it asks again, or remove the key (`mimi-mqtt devices remove-key SERIAL`)"
        )
        self.device_id = device_id


async def allow(store: Store, id_or_code: str, now: datetime, rights: Rights = COMMAND_LINE) -> Device:
    """Allows a device: the one that shows the code, or the only one with a pending activation for the id.

    A device that was bound to another Client-Id is bound to that of the activation, and its old credentials
    end. For administrators. Raises NotADevice, UnknownCode, NeverAsked, SeveralAskers or KeyNotProven.
    """
    async with store.write() as session:
        await activations.forget_expired(session, now)
        device_id, activation = await _asker_of(session, id_or_code.strip(), now)
        device = await devices.get(session, device_id, lock=True)
        if device is None and activation is None:
            raise NeverAsked(device_id)
        return await let_in(session, device, activation, now, rights)


async def let_in(
    session: AsyncSession,
    device: Device | None,
    activation: Activation | None,
    now: datetime,
    rights: Rights,
    *,
    owner_id: str = "",
    group_id: str = "",
    action: str = "device.allow",
) -> Device:
    """Gives credentials to the asker of an activation, or back to a known device; `owner_id` owns it from now
    on, where nobody did. The code is used up. Raises KeyNotProven."""
    # A device with good credentials that was asked to show a code gets no others by it, and proves nothing.
    is_in = (
        device is not None
        and activation is not None
        and device.allowed
        and same_client(device.client_id, activation.client_id)
    )
    if activation is not None and not is_in and not await may_come_in(session, device, activation):
        raise KeyNotProven(activation.device_id)
    before: dict[str, object] = {}
    if device is None:
        assert activation is not None, "a device that is not known comes with an activation"  # noqa: S101
        device = _registered(activation, now)
    else:
        before = _state(device)
        if activation is not None and not is_in:
            device.client_id = activation.client_id
            device.epoch += 1
    device.allowed, device.disabled_by = True, ""
    device.address = ""  # a person wants it: it is not given up for another one
    if not device.owner_id:
        device.owner_id = bounded(owner_id, tables.USER_ID_CHARS)
        device.group_id = device.group_id or bounded(group_id, tables.GROUP_ID_CHARS)
    if activation is not None:
        if activation.key_proven:
            device.serial_number = activation.serial_number
            key = await device_keys.get(session, activation.serial_number)
            if key is not None:
                key.device_id = key.device_id or device.id
        use_up(activation)
    after = _state(device)
    if before != after:
        audit.record(session, rights.author, action, f"device:{device.id}", before=before, after=after)
    await devices.save_changed(session, device, now)
    return device


def _registered(activation: Activation, now: datetime) -> Device:
    return Device(
        id=activation.device_id,
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


def _state(device: Device) -> dict[str, object]:
    """The part of a device that decides who has it and whether it may connect, for the audit."""
    return {
        "allowed": device.allowed,
        "owner_id": device.owner_id,
        "group_id": device.group_id,
        "epoch": device.epoch,
    }


async def _asker_of(session: AsyncSession, id_or_code: str, now: datetime) -> tuple[str, Activation | None]:
    if len(id_or_code) == 6 and id_or_code.isdecimal():
        activation = await of_code(session, id_or_code, now)
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


async def enable(store: Store, device_id: str, now: datetime, rights: Rights = COMMAND_LINE) -> Device:
    """Allows a known device again that was revoked: its owner may do so when he himself revoked it, and an
    administrator always. Raises NotADevice, UnknownDevice, Forbidden."""
    async with store.write() as session:
        device = await known(session, device_id, rights)
        rights.require_owner(device)
        if device.allowed:
            return device
        if not rights.is_admin and device.disabled_by != rights.user_id:
            raise Forbidden("an administrator revoked the device, and only one can allow it again")
        return await let_in(session, device, None, now, rights)


async def revoke(store: Store, device_id: str, now: datetime, rights: Rights = COMMAND_LINE) -> Device:
    """Ends a device's credentials and deletes its reminders; it gets no credentials until it is allowed
    again. Raises NotADevice, UnknownDevice, Forbidden."""
    async with store.write() as session:
        device = await known(session, device_id, rights)
        rights.require_owner(device)
        before = _state(device)
        device.allowed = False
        device.disabled_by = "" if rights.is_admin else rights.user_id
        device.epoch += 1
        await activations.forget_device(session, device.id)
        await reminders.delete_of_device(session, device.id)
        _record(session, rights, "device.revoke", device, before)
        await devices.save_changed(session, device, now)
        return device


async def rotate(store: Store, device_id: str, now: datetime, rights: Rights = COMMAND_LINE) -> Device:
    """Ends a device's credentials, its connections with them; it gets others with its next OTA request.
    Raises NotADevice, UnknownDevice, Forbidden."""
    async with store.write() as session:
        device = await known(session, device_id, rights)
        rights.require_owner(device)
        before = _state(device)
        device.epoch += 1
        _record(session, rights, "device.rotate", device, before)
        await devices.save_changed(session, device, now)
        return device


async def forget(store: Store, device_id: str, now: datetime, rights: Rights = COMMAND_LINE) -> str:
    """Deletes a device, or the pending activations for its id, with everything known of it. Returns its id.

    Its credentials end; it is a new device when it asks again. Its conversations go first, some at a time:
    what a crash leaves half done is ended by doing it again. Raises NotADevice, UnknownDevice, Forbidden.
    """
    device_id = parse_device_id(device_id)
    async with store.read() as session:
        await _forgettable(session, await devices.get(session, device_id), device_id, rights)
    await _forget_conversations(store, [device_id])
    async with store.write() as session:
        device = await devices.get(session, device_id, lock=True)
        await _forgettable(session, device, device_id, rights)
        before = _state(device) if device is not None else None
        audit.record(session, rights.author, "device.forget", f"device:{device_id}", before=before)
        await devices.forget(session, [device_id], now)
    return device_id


async def _forgettable(session: AsyncSession, device: Device | None, device_id: str, rights: Rights) -> None:
    """Raises UnknownDevice and Forbidden for a device that whoever asks may not forget."""
    if device is None or not rights.sees(device):
        waits = rights.is_admin and await activations.of_device(session, device_id)
        if not waits:
            raise UnknownDevice(device_id)
        return
    rights.require_owner(device)
    if not rights.is_admin and not device.allowed and device.disabled_by != rights.user_id:
        raise Forbidden("an administrator revoked the device, and only one can forget it")


async def _forget_conversations(store: Store, ids: Sequence[str], before: datetime | None = None) -> None:
    """Deletes the conversations of devices, without those that went on since `before`, in short transactions:
    those of years in one would keep other writers waiting for longer than they wait, and PostgreSQL ends a
    statement that takes so long."""
    while True:
        async with store.write() as session:
            deleted = await conversation_pages.forget_devices(session, ids, before=before)
            if deleted < conversation_pages.AT_ONCE:
                return


async def forget_unseen(
    store: Store, before: datetime, now: datetime, rights: Rights = COMMAND_LINE
) -> list[str]:
    """Forgets every device last seen before a moment, some at a time. Returns their ids. A device that comes
    back just then stays, maybe without its old conversations."""
    async with store.read() as session:
        unseen = [device.id for device in await devices.unseen_since(session, before)]
    forgotten: list[str] = []
    for start in range(0, len(unseen), _FORGOTTEN_AT_ONCE):
        some = unseen[start : start + _FORGOTTEN_AT_ONCE]
        await _forget_conversations(store, some, before)
        async with store.write() as session:
            ids = [device.id for device in await devices.unseen_since(session, before, among=some)]
            for device_id in ids:
                audit.record(session, rights.author, "device.forget", f"device:{device_id}")
            await devices.forget(session, ids, now)
        forgotten += ids
    return forgotten


def _record(
    session: AsyncSession, rights: Rights, action: str, device: Device, before: dict[str, object]
) -> None:
    audit.record(session, rights.author, action, f"device:{device.id}", before=before, after=_state(device))


async def known(session: AsyncSession, device_id: str, rights: Rights = COMMAND_LINE) -> Device:
    """The device, locked, if it exists for whoever asks. Raises NotADevice, UnknownDevice."""
    device_id = parse_device_id(device_id)
    device = await devices.get(session, device_id, lock=True)
    if device is None or not rights.sees(device):
        raise UnknownDevice(device_id)
    return device


def parse_device_id(text: str) -> str:
    """A device id in any of a MAC address's spellings. Raises NotADevice."""
    try:
        return device_id_from_mac(text)
    except ProtocolError as error:
        raise NotADevice(f"{error}, nor a code of six digits") from error
