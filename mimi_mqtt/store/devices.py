"""Devices and their last OTA reports: what the fleet asks of the database, inside its transactions."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import REPORT_CHARS, Device, OtaReport
from mimi_mqtt.store.values import bounded_object


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
    """Records when devices were last seen."""
    if seen:
        await session.execute(
            update(Device), [{"id": device_id, "last_seen_at": when} for device_id, when in seen.items()]
        )


async def save_report(
    session: AsyncSession, device_id: str, report: Mapping[str, object], now: datetime
) -> None:
    """Keeps what the device said of itself in place of what it said before."""
    plain = bounded_object(report, REPORT_CHARS)
    stored = await session.get(OtaReport, device_id)
    if stored is None:
        session.add(OtaReport(device_id=device_id, received_at=now, report=plain))
    else:
        stored.received_at = now
        stored.report = plain


async def last_report(session: AsyncSession, device_id: str) -> OtaReport | None:
    """What the device last said of itself, or None."""
    return await session.get(OtaReport, device_id)
