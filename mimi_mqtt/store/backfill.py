"""Turns of before a migration, indexed and counted in the background, the newest first.

Where it is stands in the database, so that it goes on there after a restart. An index of words that is empty,
as after a restore into the other kind of database, is made anew by the same loop.
"""

import asyncio
from collections.abc import Sequence
from datetime import tzinfo
from typing import Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store import search
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.gravity import graver
from mimi_mqtt.store.statistics import Counted
from mimi_mqtt.store.tables import Backfill, Conversation, Turn
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.supervision import LoopFinished, SupervisedLoop

AT_ONCE: Final = 250
"""Turns of one transaction: other writers wait for it."""
PAUSE_S: Final = 0.05
"""Seconds between two transactions, so that turns of now, and devices, have the database most of the time."""
WORDS: Final = "words"
STATISTICS: Final = "statistics"

Row = tuple[Turn, Conversation]


class BackfillLoop:
    """Works until all is done; `zone` is that of the statistics' days."""

    def __init__(self, store: Store, zone: tzinfo) -> None:
        self._store = store
        self._zone = zone
        self._loop = SupervisedLoop("backfill of turns", self._work)
        self._checked = False
        self._done = False

    @property
    def healthy(self) -> bool:
        """True while it works, and once all is done."""
        return self._done or self._loop.healthy

    def start(self) -> None:
        """Starts the loop; does nothing while it runs."""
        self._checked = self._done = False
        self._loop.start()

    async def aclose(self) -> None:
        """Ends; safe to call twice."""
        await self._loop.aclose()

    async def _work(self) -> None:
        if not self._checked:
            async with self._store.write() as session:
                await self._check_index(session)
            self._checked = True
        async with self._store.write() as session:
            left = await next_turns(session, self._zone)
        if not left:
            self._done = True
            raise LoopFinished
        await asyncio.sleep(PAUSE_S)

    async def _check_index(self, session: AsyncSession) -> None:
        newest = (await session.scalars(select(Turn.id).order_by(col(Turn.id).desc()).limit(1))).first()
        if newest is not None and await search.empty(session):
            await session.execute(
                update(Backfill).where(col(Backfill.name) == WORDS).values(below=newest + 1)
            )


async def next_turns(session: AsyncSession, zone: tzinfo, number: int = AT_ONCE) -> bool:
    """Does the next `number` turns of one kind of work; False when nothing is left."""
    # Locked: of two nodes one does them.
    query = select(Backfill).where(col(Backfill.below) > 0).order_by(col(Backfill.name).desc()).limit(1)
    work = (await session.scalars(query.with_for_update())).first()
    if work is None:
        return False
    joined = select(Turn, Conversation).join(Conversation, col(Conversation.id) == col(Turn.conversation_id))
    found = joined.where(col(Turn.id) < work.below).order_by(col(Turn.id).desc()).limit(number)
    rows = [(turn, conversation) for turn, conversation in await session.execute(found)]
    if work.name == WORDS:
        await _index(session, rows)
    else:
        await _count(session, rows, zone)
    last = rows[-1][0].id if rows else None
    work.below = last if last is not None and len(rows) == number else 0
    return True


async def _index(session: AsyncSession, rows: Sequence[Row]) -> None:
    await search.index(
        session,
        [
            search.Words(turn.id, conversation.owner_id, conversation.device_id, turn.heard, turn.reply)
            for turn, conversation in rows
            if turn.id is not None
        ],
    )


async def _count(session: AsyncSession, rows: Sequence[Row], zone: tzinfo) -> None:
    counted = Counted(zone)
    for turn, conversation in rows:
        if turn.kind:  # written since the migration, and counted then
            continue
        conversation.turns += 1
        conversation.outcome = graver(conversation.outcome, turn.outcome)
        counted.add(
            TurnRecord(
                session_id=conversation.id,
                device_id=conversation.device_id,
                number=turn.number,
                started_at=turn.started_at,
                mode=turn.mode,
                heard="",
                reply="",
                outcome=turn.outcome,
                timings_ms=turn.timings_ms,
                owner_id=conversation.owner_id,
            )
        )
    await counted.save(session)
