"""Notices that wait for their devices, and the recordings that they play."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import NOTICE_CHARS, NoticeSound, WaitingNotice
from mimi_mqtt.store.values import bounded

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A waiting notice as the database keeps it; `sound_id` is "" for one that is spoken."""

    id: str
    device_id: str
    text: str = field(repr=False)
    sound_id: str
    urgent: bool
    shown: bool
    tries: int
    created_at: datetime
    expires_at: datetime


async def load(
    session: AsyncSession, now: datetime, most: int
) -> tuple[Sequence[NoticeRow], Mapping[str, bytes]]:
    """The `most` oldest notices that have not expired, and their recordings by id. What is expired or beyond,
    and recordings that nothing plays, are deleted. Needs a writing transaction."""
    await session.execute(delete(WaitingNotice).where(col(WaitingNotice.expires_at) <= now))
    query = select(WaitingNotice).order_by(col(WaitingNotice.created_at), col(WaitingNotice.id))
    found = (await session.scalars(query)).all()
    await _forget(session, [row.id for row in found[most:]])
    await _forget_sounds(session)
    sounds = (await session.scalars(select(NoticeSound))).all()
    return [_row(row) for row in found[:most]], {sound.id: sound.stream for sound in sounds}


async def save(
    session: AsyncSession, changes: Mapping[str, NoticeRow | None], sounds: Mapping[str, bytes]
) -> None:
    """Writes each notice anew, or deletes it for None; `sounds` has recordings that may not be kept yet."""
    await _forget(session, sorted(changes))
    rows = [row for _, row in sorted(changes.items()) if row is not None]
    wanted = sorted({row.sound_id for row in rows if row.sound_id in sounds})
    if wanted:
        known = select(NoticeSound.id).where(col(NoticeSound.id).in_(wanted))
        there = set((await session.scalars(known)).all())
        for sound_id in wanted:
            if sound_id not in there:
                await session.execute(insert(NoticeSound), [{"id": sound_id, "stream": sounds[sound_id]}])
    if rows:
        await session.execute(
            insert(WaitingNotice),
            [
                {
                    "id": row.id,
                    "device_id": row.device_id,
                    "text": bounded(row.text, NOTICE_CHARS),
                    "sound_id": row.sound_id,
                    "urgent": row.urgent,
                    "shown": row.shown,
                    "tries": row.tries,
                    "created_at": row.created_at,
                    "expires_at": row.expires_at,
                }
                for row in rows
            ],
        )
    if len(rows) < len(changes):
        await _forget_sounds(session)


async def _forget(session: AsyncSession, ids: Sequence[str]) -> None:
    for start in range(0, len(ids), _AT_ONCE):
        known = col(WaitingNotice.id).in_(ids[start : start + _AT_ONCE])
        await session.execute(delete(WaitingNotice).where(known))


async def _forget_sounds(session: AsyncSession) -> None:
    played = select(WaitingNotice.sound_id)
    await session.execute(delete(NoticeSound).where(col(NoticeSound.id).not_in(played)))


def _row(row: WaitingNotice) -> NoticeRow:
    return NoticeRow(
        row.id,
        row.device_id,
        row.text,
        row.sound_id,
        row.urgent,
        row.shown,
        row.tries,
        row.created_at,
        row.expires_at,
    )
