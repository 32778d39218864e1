"""Activation: a code that the device shows, until a person allows it on the server.

A MAC address is no secret: anyone on the network can claim one. So a device is bound to the Client-Id it
first came with; a request for a bound device under another Client-Id becomes an activation, which is pending
until a person allows it (`administration`). The HMAC of a version 2 poll is made with a key burnt into the
chip that this server does not know, so it can't be checked; its challenge can, and must be the asker's own.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

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

MAX_WAITING_FOR_ONE_DEVICE = 8
"""Pending activations for the same device; a further asker is turned away until one of them expires."""

TOO_MANY_NEW = (
    "too many new devices came from this address within the hour: try again later, "
    "or raise ota.new_devices_per_hour on the server"
)


class TooManyAskers(OtaError):
    """Too many activations for one device, or too many new devices from one address; other devices are not
    concerned."""


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


class ActivationState(Enum):
    """The answer to a device that polls."""

    DONE = "done"
    """The device is allowed: its next OTA request is answered with credentials."""
    WAITING = "waiting"
    """The activation is pending: no person allowed it yet."""
    REFUSED = "refused"
    """No activation is pending for this device, Client-Id and challenge: OTA gives a new code."""


async def ask(
    session: AsyncSession, asker: Asker, now: datetime, may_be_new: Callable[[], bool] = lambda: True
) -> Activation:
    """The asker's activation: the one it has while its code is good, else a new one.

    Pending activations are never displaced by new ones. Raises OtaError when too many are pending, and
    TooManyAskers when too many are for this device, or `may_be_new` says no.
    """
    await activations.forget_expired(session, now)
    activation = await activations.of_asker(session, asker.device_id, asker.client_id)
    if activation is None:
        if len(await activations.of_device(session, asker.device_id)) >= MAX_WAITING_FOR_ONE_DEVICE:
            raise TooManyAskers(
                f"{MAX_WAITING_FOR_ONE_DEVICE} others claim to be {asker.device_id} and wait to be allowed: "
                f"try again in {_minutes(CODE_LIFETIME)} minutes, or forget the device on the server, which "
                "clears them"
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
