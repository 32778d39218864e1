"""Queries about the statistics of sessions and the tools of devices, inside the fleet's transactions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, insert
from sqlalchemy import select as sa_select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.device_lists import ids_of
from mimi_mqtt.store.tables import Device, KnownTools, SessionStatistics


async def add(session: AsyncSession, rows: Sequence[Mapping[str, object]], *, keep: int) -> None:
    """Adds the statistics of sessions, and deletes the older ones: `keep` of each device stay. Those of
    devices that are gone are not kept."""
    ids = {row["device_id"] for row in rows}
    known = set(await session.scalars(select(Device.id).where(col(Device.id).in_(ids))))
    kept = {str(row["session_id"]): dict(row) for row in rows if row["device_id"] in known}
    if not kept:
        return
    await session.execute(delete(SessionStatistics).where(col(SessionStatistics.session_id).in_(kept)))
    await session.execute(insert(SessionStatistics), list(kept.values()))
    place = func.row_number().over(
        partition_by=col(SessionStatistics.device_id), order_by=col(SessionStatistics.ended_at).desc()
    )
    ranked = sa_select(col(SessionStatistics.session_id).label("id"), place.label("place"))
    found = ranked.where(col(SessionStatistics.device_id).in_(known)).subquery()
    older = select(found.c.id).where(found.c.place > keep)
    await session.execute(delete(SessionStatistics).where(col(SessionStatistics.session_id).in_(older)))


async def of_device(session: AsyncSession, device_id: str, limit: int) -> Sequence[SessionStatistics]:
    """A device's last sessions, the newest first."""
    query = select(SessionStatistics).where(SessionStatistics.device_id == device_id)
    return (await session.scalars(query.order_by(col(SessionStatistics.ended_at).desc()).limit(limit))).all()


async def packets(
    session: AsyncSession, since: datetime, until: datetime, devices: Sequence[str] | None = None
) -> tuple[int, int]:
    """Packets that came and that were lost in the kept sessions that ended between two moments, of `devices`
    (None: of all)."""
    row = SessionStatistics
    lost = case((col(row.lost) > 0, col(row.lost)), else_=0)
    query = sa_select(func.coalesce(func.sum(col(row.received)), 0), func.coalesce(func.sum(lost), 0))
    query = query.where(col(row.ended_at) >= since, col(row.ended_at) < until)
    if devices is not None:
        sqlite = (await session.connection()).dialect.name == "sqlite"
        query = query.where(col(row.device_id).in_(ids_of(devices, sqlite=sqlite)))
    received, gone = (await session.execute(query)).one()
    return int(received), int(gone)


async def save_tools(
    session: AsyncSession, device_id: str, tools: list[dict[str, Any]], at: datetime
) -> None:
    """Keeps the tools of a device, unless it is gone."""
    if await session.get(Device, device_id) is None:
        return
    row = await session.get(KnownTools, device_id)
    if row is None:
        session.add(KnownTools(device_id=device_id, tools=tools, learned_at=at))
    elif row.tools != tools:
        row.tools, row.learned_at = tools, at


async def tools_of(session: AsyncSession, device_id: str) -> KnownTools | None:
    """The tools that a device listed when it was last asked, or None."""
    return await session.get(KnownTools, device_id)
