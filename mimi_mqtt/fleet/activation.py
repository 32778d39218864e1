"""Who is let in when the first-use binding does not say: a code on the device, a person's word on the
server.

A MAC address is no secret: anyone on the network can claim one. So a device is bound to the Client-Id it
first came with, and whoever asks for a bound device under another one waits here until a person runs
`mimi-mqtt devices allow`. The HMAC of an activation of version 2 is made with a key burnt into the chip that
this server does not know, so it can't be checked; its challenge can, and must be the asker's own.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import FleetError, OtaError, ProtocolError
from mimi_mqtt.fleet.credentials import first_epoch
from mimi_mqtt.store import activations, devices, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation, Device
from mimi_mqtt.store.values import bounded
from mimi_mqtt.wire.topics import device_id_from_mac

CODE_LIFETIME = timedelta(minutes=30)
"""A code is good for this long after the device last asked; a device that keeps asking keeps its code."""

MAX_WAITING = 1_000
"""Askers waiting at once."""

MAX_WAITING_FOR_ONE_DEVICE = 8
"""Askers waiting for the same device; a further one is turned away until one of them stops asking."""

TOO_MANY_NEW = (
    "too many new devices came from this address within the hour: try again later, "
    "or raise ota.new_devices_per_hour on the server"
)


class TooManyAskers(OtaError):
    """More than one address may bring, or one device may be claimed by; the others are not concerned."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a device's credentials, and what it says of itself; texts are of any length."""

    device_id: str
    client_id: str = field(default="", repr=False)
    board: str = ""
    firmware_version: str = ""
    language: str = ""
    serial_number: str = field(default="", repr=False)
    host: str = ""


class ActivationState(Enum):
    """The answer to a device that polls."""

    DONE = "done"
    """It may ask OTA again, and gets its credentials."""
    WAITING = "waiting"
    """A person has not decided yet."""
    REFUSED = "refused"
    """Nobody waits under this device, Client-Id and challenge: ask OTA for a new code."""


async def ask(
    session: AsyncSession, asker: Asker, now: datetime, may_be_new: Callable[[], bool] = lambda: True
) -> Activation:
    """The asker's activation: the one it has while its code is good, else a new one.

    Whoever waits keeps his place. Raises OtaError when too many wait, TooManyAskers when it is the asker's
    doing: too many for one device, or `may_be_new` says no.
    """
    await activations.forget_expired(session, now)
    activation = await activations.of_asker(session, asker.device_id, asker.client_id)
    if activation is None:
        if len(await activations.of_device(session, asker.device_id)) >= MAX_WAITING_FOR_ONE_DEVICE:
            raise TooManyAskers(
                f"{MAX_WAITING_FOR_ONE_DEVICE} others claim to be {asker.device_id} and wait to be allowed: "
                f"try again in {_minutes(CODE_LIFETIME)} minutes, or on the server look at "
                "`mimi-mqtt devices list` and clear them with `mimi-mqtt devices forget`"
            )
        if await activations.count(session) >= MAX_WAITING:
            raise OtaError(
                f"{MAX_WAITING} devices wait to be allowed already: try again in "
                f"{_minutes(CODE_LIFETIME)} minutes, or allow some of them on the server"
            )
        if not may_be_new():
            raise TooManyAskers(TOO_MANY_NEW)
        activation = Activation(
            device_id=asker.device_id,
            client_id=asker.client_id,
            code=_new_code(await activations.codes(session)),
            challenge=secrets.token_hex(16),
            created_at=now,
            asked_at=now,
            expires_at=now,
        )
        session.add(activation)
    activation.serial_number = bounded(asker.serial_number, tables.SERIAL_CHARS)
    activation.board = bounded(asker.board, tables.BOARD_CHARS)
    activation.firmware_version = bounded(asker.firmware_version, tables.VERSION_CHARS)
    activation.language = bounded(asker.language, tables.LANGUAGE_CHARS)
    activation.host = bounded(asker.host, tables.HOST_CHARS)
    activation.asked_at = now
    activation.expires_at = now + CODE_LIFETIME
    await session.flush()
    return activation


def _minutes(time: timedelta) -> int:
    return int(time.total_seconds() // 60)


def _new_code(taken: set[str]) -> str:
    # At most MAX_WAITING of a million are taken.
    while (code := f"{secrets.randbelow(1_000_000):06d}") in taken:
        pass
    return code


async def poll(store: Store, asker: Asker, challenge: str | None, now: datetime) -> ActivationState:
    """What a polling device is told; `challenge` is what it sent (version 2), None for version 1."""
    async with store.read() as session:
        activation = await activations.of_asker(session, asker.device_id, asker.client_id)
        device = await devices.get(session, asker.device_id)
    waiting = activation is not None and activation.expires_at > now
    if activation is not None and waiting and challenge is not None:
        own = hmac.compare_digest(challenge.encode(), activation.challenge.encode())
        if not own:
            return ActivationState.REFUSED
    if device is not None and device.allowed and same_client(device.client_id, asker.client_id):
        return ActivationState.DONE
    return ActivationState.WAITING if waiting else ActivationState.REFUSED


def same_client(bound: str, asking: str) -> bool:
    """Whether two Client-Ids are the same, in constant time. A missing one ("") equals only another missing
    one."""
    return hmac.compare_digest(bound.encode(), asking.encode())


async def allow(store: Store, id_or_code: str, now: datetime) -> Device:
    """Lets a device in: the asker who shows the code, or the only one that asks for the device.

    A device that was bound to another Client-Id is bound to the asker's, and its old credentials end. Raises
    FleetError when nobody fits, or more than one.
    """
    async with store.write() as session:
        await activations.forget_expired(session, now)
        device_id, activation = await _asker_of(session, id_or_code.strip())
        device = await devices.get(session, device_id, lock=True)
        if device is None:
            if activation is None:
                raise FleetError(
                    f"{device_id} never asked for anything: point it to this server's OTA address"
                )
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
        await devices.save_changed(session, device, now)
        return device


async def _asker_of(session: AsyncSession, id_or_code: str) -> tuple[str, Activation | None]:
    if len(id_or_code) == 6 and id_or_code.isdecimal():
        activation = await activations.of_code(session, id_or_code)
        if activation is None:
            raise FleetError(
                f"no device shows the code {id_or_code} now: codes expire, "
                "`mimi-mqtt devices list` shows those in use"
            )
        return activation.device_id, activation
    device_id = parse_device_id(id_or_code)
    waiting = await activations.of_device(session, device_id)
    device = await devices.get(session, device_id)
    if device is not None and device.allowed:
        waiting = [asker for asker in waiting if not same_client(asker.client_id, device.client_id)]
    if len(waiting) > 1:
        codes = ", ".join(asker.code for asker in waiting)
        raise FleetError(
            f"{len(waiting)} different devices claim to be {device_id}: allow the one whose code you see on "
            f"its screen or hear ({codes})"
        )
    return device_id, waiting[0] if waiting else None


async def revoke(store: Store, device_id: str, now: datetime) -> Device:
    """Ends a device's credentials; it gets none until it is allowed again. Raises FleetError when unknown."""
    async with store.write() as session:
        device = await _known(session, device_id)
        device.allowed = False
        device.epoch += 1
        await activations.forget_device(session, device.id)
        await devices.save_changed(session, device, now)
        return device


async def forget(store: Store, device_id: str, now: datetime) -> str:
    """Deletes a device, or those who wait under its name, with everything known of it. Returns its id.

    Its credentials end; it is a new device when it asks again. Raises FleetError when it is unknown.
    """
    device_id = parse_device_id(device_id)
    async with store.write() as session:
        device = await devices.get(session, device_id, lock=True)
        if device is None and not await activations.of_device(session, device_id):
            raise _unknown(device_id)
        await devices.forget(session, [device_id], now)
    return device_id


async def forget_unseen(store: Store, before: datetime, now: datetime) -> list[str]:
    """Forgets every device last seen before a moment. Returns their ids."""
    async with store.write() as session:
        ids = [device.id for device in await devices.unseen_since(session, before)]
        await devices.forget(session, ids, now)
    return ids


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """What a person wants of a device; None leaves it, "" goes back to the server's setting, the device's
    word or the default agent."""

    transport: str | None = None
    name: str | None = None
    language: str | None = None
    agent: str | None = None
    user_name: str | None = None


async def change(store: Store, device_id: str, wanted: DeviceChange, now: datetime) -> Device:
    """Changes a device's settings. Raises FleetError when it is unknown."""
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


async def _known(session: AsyncSession, device_id: str) -> Device:
    device_id = parse_device_id(device_id)
    device = await devices.get(session, device_id, lock=True)
    if device is None:
        raise _unknown(device_id)
    return device


def _unknown(device_id: str) -> FleetError:
    return FleetError(f"there is no device {device_id}: `mimi-mqtt devices list` shows those there are")


def parse_device_id(text: str) -> str:
    """A device id in any of a MAC address's spellings. Raises FleetError."""
    try:
        return device_id_from_mac(text)
    except ProtocolError as error:
        raise FleetError(f"{error}, nor a code of six digits") from error
