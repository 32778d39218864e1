"""The last session of each device that may still believe in it: what survives a crash of the server."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import LastSession

KEPT: Final = timedelta(days=30)
"""The time that a session id is kept for a device that never comes back."""

_AT_ONCE = 500


async def load(session: AsyncSession, now: datetime) -> Mapping[str, str]:
    """Session ids by device; those given longer than `KEPT` ago are deleted. Needs a writing transaction."""
    await session.execute(delete(LastSession).where(col(LastSession.given_at) < now - KEPT))
    rows: Sequence[LastSession] = (await session.scalars(select(LastSession))).all()
    return {row.device_id: row.session_id for row in rows}


async def save(session: AsyncSession, changes: Mapping[str, str | None], now: datetime) -> None:
    """Writes one row a device: the id of its last session, or no row for None."""
    ids = sorted(changes)  # in one order everywhere: nodes don't lock each other out
    for start in range(0, len(ids), _AT_ONCE):
        known = col(LastSession.device_id).in_(ids[start : start + _AT_ONCE])
        await session.execute(delete(LastSession).where(known))
    rows = [
        {"device_id": device_id, "session_id": changes[device_id], "given_at": now}
        for device_id in ids
        if changes[device_id] is not None
    ]
    if rows:
        await session.execute(insert(LastSession), rows)
