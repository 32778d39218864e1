"""The list of devices that may register whatever `ota.new_devices` says, by MAC address or serial number.

An administrator lists a device before it comes, for the person who is to own it. A MAC address can be claimed
by anyone on the network, and a serial number too unless its chip's key is registered (`device_keys`).
"""

import re
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import Conflict, Invalid, LimitReached, NotFound, ProtocolError
from mimi_mqtt.fleet.rights import COMMAND_LINE, Rights
from mimi_mqtt.store import audit, device_keys, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import ListedDevice
from mimi_mqtt.store.values import bounded
from mimi_mqtt.wire.topics import device_id_from_mac

MAX_LISTED: Final = 100_000
"""Devices that may be listed."""

_SERIAL: Final = re.compile(rf"[!-~]{{1,{tables.SERIAL_CHARS}}}")


def entry(
    identity: str, now: datetime, *, owner_id: str = "", group_id: str = "", note: str = ""
) -> ListedDevice:
    """An entry for a MAC address or else a serial number. Raises Invalid."""
    identity = identity.strip()
    try:
        kind, value = "mac", device_id_from_mac(identity)
    except ProtocolError:
        kind, value = "serial", identity
        if not _SERIAL.fullmatch(identity):
            raise Invalid(
                f"{identity[:80]!r} is neither a MAC address nor a serial number (1 to {tables.SERIAL_CHARS} "
                "characters without spaces)"
            ) from None
    return ListedDevice(
        kind=kind,
        value=value,
        owner_id=bounded(owner_id, tables.USER_ID_CHARS),
        group_id=bounded(group_id, tables.GROUP_ID_CHARS),
        note=bounded(note.strip(), tables.NOTE_CHARS),
        created_at=now,
    )


async def add(store: Store, listed: ListedDevice, rights: Rights = COMMAND_LINE) -> ListedDevice:
    """Lists a device. Raises Conflict, LimitReached."""
    async with store.write() as session:
        if await session.get(ListedDevice, (listed.kind, listed.value)) is not None:
            raise Conflict(f"{listed.value} is listed already")
        if await device_keys.list_size(session) >= MAX_LISTED:
            raise LimitReached(f"at most {MAX_LISTED} devices can be listed: remove some")
        session.add(listed)
        audit.record(
            session, rights.author, "listed_device.add", f"listed_device:{listed.kind}:{listed.value}",
            after={"owner_id": listed.owner_id, "group_id": listed.group_id},
        )  # fmt: skip
    return listed


async def bind(session: AsyncSession, listed: ListedDevice, device_id: str) -> None:
    """Has the entry for a serial number name the one device that registered by it, so that nobody registers
    further ones: a serial number is no secret."""
    note = f"{listed.note} (serial number {listed.value})".strip()
    await session.delete(listed)
    session.add(
        ListedDevice(
            kind="mac", value=device_id, owner_id=listed.owner_id, group_id=listed.group_id,
            note=bounded(note, tables.NOTE_CHARS), created_at=listed.created_at,
        )
    )  # fmt: skip


async def remove(store: Store, kind: str, value: str, rights: Rights = COMMAND_LINE) -> None:
    """Takes a device off the list; one that is registered stays so. Raises NotFound."""
    async with store.write() as session:
        if not await device_keys.remove_from_list(session, kind, value):
            raise NotFound(f"{value[:80]} is not listed")
        audit.record(session, rights.author, "listed_device.remove", f"listed_device:{kind}:{value}")
