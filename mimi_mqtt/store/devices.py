"""Devices and their last OTA reports: what the fleet asks of the database, inside its transactions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import bindparam, delete, func, insert, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store import activations, tables
from mimi_mqtt.store.tables import Device, OtaReport
from mimi_mqtt.store.values import bounded, bounded_object


@dataclass(frozen=True, slots=True)
class Boot:
    """A device that asked OTA and was given its credentials; what it said of itself is of any length."""

    device_id: str
    client_id: str = field(repr=False)
    at: datetime
    board: str = ""
    firmware_version: str = ""
    report: Mapping[str, object] = field(default_factory=dict, repr=False)


async def get(session: AsyncSession, device_id: str, *, lock: bool = False) -> Device | None:
    """The device, or None; `lock` keeps other writers off it until the transaction ends."""
    query = select(Device).where(Device.id == device_id)
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def list_all(session: AsyncSession) -> Sequence[Device]:
    """Every device, by id."""
    return (await session.scalars(select(Device).order_by(col(Device.id)))).all()


async def count(session: AsyncSession) -> int:
    """How many devices are registered."""
    return (await session.scalars(select(func.count()).select_from(Device))).one()


async def changed_since(session: AsyncSession, revision: int) -> Sequence[Device]:
    """Devices whose `revision` is greater, in the order of their changes."""
    query = select(Device).where(col(Device.revision) > revision).order_by(col(Device.revision))
    return (await session.scalars(query)).all()


async def save_changed(session: AsyncSession, device: Device, now: datetime) -> None:
    """Stores a new or changed device so that every process's directory notices.

    A change of no concern to the directories (`last_seen_at`, a report) is written without this.
    """
    highest = (await session.scalars(select(func.max(Device.revision)))).one()
    device.revision = (highest or 0) + 1
    device.updated_at = now
    session.add(device)
    await session.flush()


async def touch(session: AsyncSession, seen: Mapping[str, datetime]) -> None:
    """Records when devices were last seen; those that are gone stay so."""
    if seen:
        # In one order everywhere: two nodes that write the same rows don't lock each other out.
        rows = [{"known": device_id, "last_seen_at": seen[device_id]} for device_id in sorted(seen)]
        # On the connection: the session would insist that every row is still there.
        known = col(Device.id) == bindparam("known")
        await (await session.connection()).execute(update(Device).where(known), rows)


async def save_boots(session: AsyncSession, boots: Sequence[Boot]) -> None:
    """Keeps what devices last said of themselves, and ends their waiting for what they were given.

    One that was revoked, bound to another Client-Id or forgotten meanwhile is left as it is.
    """
    latest = {boot.device_id: boot for boot in boots}
    bound = select(Device.id, Device.client_id, Device.allowed).where(col(Device.id).in_(latest))
    # In one order everywhere: two nodes that write the same rows don't lock each other out.
    rows = (await session.execute(bound.order_by(col(Device.id)).with_for_update())).all()
    kept = [latest[row.id] for row in rows if row.allowed and row.client_id == latest[row.id].client_id]
    if not kept:
        return
    told = [
        {
            "id": boot.device_id,
            "board": bounded(boot.board, tables.BOARD_CHARS),
            "firmware_version": bounded(boot.firmware_version, tables.VERSION_CHARS),
            "last_seen_at": boot.at,
        }
        for boot in kept
    ]
    await session.execute(update(Device), told)
    ids = [boot.device_id for boot in kept]
    await session.execute(delete(OtaReport).where(col(OtaReport.device_id).in_(ids)))
    reports = [
        {
            "device_id": boot.device_id,
            "received_at": boot.at,
            "report": bounded_object(boot.report, tables.REPORT_CHARS),
        }
        for boot in kept
    ]
    await session.execute(insert(OtaReport), reports)
    await activations.forget_askers(session, [(boot.device_id, boot.client_id) for boot in kept])


async def last_report(session: AsyncSession, device_id: str) -> OtaReport | None:
    """What the device last said of itself, or None."""
    return await session.get(OtaReport, device_id)
