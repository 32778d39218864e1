"""Activation: a code that the device shows, until a person allows it on the server.

Places for pending activations are shared by address, so that a stranger can't keep the owner's device from a
code: one address has one for each device and at most its share, and when all are taken the address with the
most loses the one whose asker has been silent for longest.

A MAC address is no secret: anyone on the network can claim one. So a device is bound to the Client-Id it
first came with; a request for a bound device under another Client-Id becomes an activation, which is pending
until a person allows it (`administration`) or claims it (`claiming`). A version 2 poll must bring the asker's
own challenge, and its HMAC is checked where the chip's key is registered (`proof`).
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import OtaError
from mimi_mqtt.store import activations, devices, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation
from mimi_mqtt.store.values import bounded

CODE_LIFETIME = timedelta(minutes=30)
"""Lifetime of a code after the device last asked; a device that keeps asking keeps its code."""

MAX_WAITING = 1_000
"""Pending activations at once."""

SHOWN_FOR = timedelta(minutes=3)
"""A device that shows a code asks again within this time: where no address has more than others, no
activation is displaced that was asked for since."""

_USED: Final = "-"
"""Begins what stands in the place of a code that was entered."""

WAITING_SHARE: Final = "waiting devices"
"""The share of `shares.waiting_devices_per_address` in the ledger."""

TOO_MANY_NEW = (
    "too many new devices came from this address within the hour: try again later, "
    "or raise ota.new_devices_per_hour on the server"
)


class TooManyAskers(OtaError):
    """Too many new devices from one address; other addresses are not concerned."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The sender of an OTA request or poll, with its claims about itself; texts are of any length."""

    device_id: str
    client_id: str = field(default="", repr=False)
    board: str = ""
    firmware_version: str = ""
    language: str = ""
    serial_number: str = field(default="", repr=False)
    host: str = ""
    address: str = ""
    """The address that it asks from, as `shares.address_holder` gives it."""


class ActivationState(Enum):
    """The answer to a device that polls."""

    DONE = "done"
    """The device is allowed: its next OTA request is answered with credentials."""
    WAITING = "waiting"
    """The activation is pending: no person allowed it yet."""
    REFUSED = "refused"
    """No activation is pending for this device, Client-Id and challenge: OTA gives a new code."""


async def ask(
    session: AsyncSession,
    asker: Asker,
    now: datetime,
    may_be_new: Callable[[], bool] = lambda: True,
    *,
    share: int = MAX_WAITING,
    displaced: Callable[[str], None] = lambda _: None,
) -> Activation:
    """The asker's activation: the one it has while its code is good, else a new one.

    One address has at most `share` of them, and a new one replaces its earlier one for the same device.
    `displaced` is called with the address of an activation that had to go for this one. Raises OtaError when
    all are taken by addresses with one each, and TooManyAskers when `may_be_new` says no.
    """
    await activations.forget_expired(session, now)
    activation = await activations.of_asker(session, asker.device_id, asker.client_id)
    if activation is None:
        if not may_be_new():
            raise TooManyAskers(TOO_MANY_NEW)
        await activations.forget_of_address(session, asker.device_id, asker.address)
        await _make_room(session, asker.address, now, share, displaced)
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
        activation.address = bounded(asker.address, tables.ADDRESS_CHARS)
    elif is_used(activation):
        activation.code = _new_code(await activations.codes(session))
    if activation.serial_number != (serial_number := bounded(asker.serial_number, tables.SERIAL_CHARS)):
        activation.serial_number, activation.key_proven = serial_number, False
    activation.board = bounded(asker.board, tables.BOARD_CHARS)
    activation.firmware_version = bounded(asker.firmware_version, tables.VERSION_CHARS)
    activation.language = bounded(asker.language, tables.LANGUAGE_CHARS)
    activation.host = bounded(asker.host, tables.HOST_CHARS)
    activation.asked_at = now
    activation.expires_at = now + CODE_LIFETIME
    await session.flush()
    return activation


def use_up(activation: Activation) -> None:
    """Makes the code of an activation worthless; its asker may still poll with its challenge."""
    activation.code = _USED + secrets.token_hex(3)[1:]


def is_used(activation: Activation) -> bool:
    """True when the code was entered: no device shows it any more, and no one can enter it again."""
    return activation.code.startswith(_USED)


async def of_code(session: AsyncSession, code: str, now: datetime) -> Activation | None:
    """The activation with this code, locked until the transaction ends; each code there is is compared, all
    in the same time."""
    found: int | None = None
    for activation_id, pending in await activations.pending_codes(session, now):
        if hmac.compare_digest(pending.encode(), code.encode("utf-8", "replace")):
            found = activation_id
    if found is None:
        return None
    activation = await activations.locked(session, found)
    # Another transaction may have used it up while this one waited for the lock.
    return activation if activation is not None and activation.code == code else None


async def _make_room(
    session: AsyncSession, address: str, now: datetime, share: int, displaced: Callable[[str], None]
) -> None:
    """Deletes an activation where the new one of `address` would be one too many. Raises OtaError."""
    counts = await activations.counts(session)
    own, most = counts.get(address, 0), max(counts.values(), default=0)
    full = sum(counts.values()) >= MAX_WAITING
    if own >= share or (full and own > 0 and most <= own + 1):
        leaving = await activations.oldest_of(session, [address])
    elif full:
        largest = [holder for holder, count in counts.items() if count == most]
        leaving = await activations.oldest_of(session, largest)
        # Nobody has more than the asker would have: only a code that is no longer shown may go.
        if most == 1 and leaving is not None and leaving.asked_at > now - SHOWN_FOR:
            displaced(address)
            raise OtaError(
                f"{MAX_WAITING} devices wait to be allowed already: try again in "
                f"{_minutes(CODE_LIFETIME)} minutes, or allow some of them on the server"
            )
    else:
        return
    if leaving is not None:
        displaced(leaving.address)
        await session.delete(leaving)
        await session.flush()


def _minutes(time: timedelta) -> int:
    return int(time.total_seconds() // 60)


def _new_code(taken: set[str]) -> str:
    # At most MAX_WAITING of a million are taken.
    while (code := f"{secrets.randbelow(1_000_000):06d}") in taken:
        pass
    return code


async def poll(store: Store, asker: Asker, challenge: str | None, now: datetime) -> ActivationState:
    """The state to tell a polling device; `challenge` is the one it sent (version 2), None for version 1."""
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
    """True when two Client-Ids are the same, in constant time. A missing one ("") equals only another
    missing one."""
    return hmac.compare_digest(bound.encode(), asking.encode())
