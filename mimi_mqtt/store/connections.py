"""Queries about when devices were connected and talked, inside the fleet's transactions."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, delete, insert, or_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import Device, DeviceInterval, ServerRun


async def begin_run(session: AsyncSession, now: datetime) -> int:
    """The id of a run of the server that begins now."""
    run = ServerRun(started_at=now, alive_at=now)
    session.add(run)
    await session.flush()
    assert run.id is not None  # noqa: S101 - the database gave it
    return run.id


async def alive(session: AsyncSession, run_id: int, now: datetime) -> None:
    """The run goes on."""
    await session.execute(update(ServerRun).where(col(ServerRun.id) == run_id).values(alive_at=now))


async def save(session: AsyncSession, run_id: int, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes intervals in the place of those of their numbers; those of devices that are gone are not
    kept."""
    latest = {row["number"]: row for row in rows}
    ids = {row["device_id"] for row in latest.values()}
    known = set(await session.scalars(select(Device.id).where(col(Device.id).in_(ids))))
    of_run = col(DeviceInterval.run_id) == run_id
    await session.execute(delete(DeviceInterval).where(of_run, col(DeviceInterval.number).in_(latest)))
    kept = [{"run_id": run_id, **row} for row in latest.values() if row["device_id"] in known]
    if kept:
        await session.execute(insert(DeviceInterval), kept)


async def of_device(
    session: AsyncSession, device_id: str, since: datetime, most: int
) -> Sequence[DeviceInterval]:
    """Intervals that reach beyond `since`, the latest `most` of them, the newest first."""
    late = or_(col(DeviceInterval.ended_at).is_(None), col(DeviceInterval.ended_at) > since)
    query = select(DeviceInterval).where(DeviceInterval.device_id == device_id, late)
    order = (col(DeviceInterval.began_at).desc(), col(DeviceInterval.number).desc())
    return (await session.scalars(query.order_by(*order).limit(most))).all()


async def runs(session: AsyncSession, since: datetime, among: Sequence[int]) -> Sequence[ServerRun]:
    """The runs that were alive after `since`, and those with the ids `among`, by their starts."""
    wanted = or_(col(ServerRun.alive_at) >= since, col(ServerRun.id).in_(among))
    return (await session.scalars(select(ServerRun).where(wanted).order_by(col(ServerRun.started_at)))).all()


async def prune(session: AsyncSession, before: datetime) -> None:
    """Deletes intervals that ended before that moment, by themselves or with their run, and such runs."""
    over = select(ServerRun.id).where(col(ServerRun.alive_at) < before)
    unended = and_(col(DeviceInterval.ended_at).is_(None), col(DeviceInterval.run_id).in_(over))
    await session.execute(delete(DeviceInterval).where(or_(col(DeviceInterval.ended_at) < before, unended)))
    await session.execute(delete(ServerRun).where(col(ServerRun.alive_at) < before))
