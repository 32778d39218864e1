"""Deletes conversations and statistics that are too old, and the oldest conversations when the database is
too large."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from prometheus_client import Counter
from sqlalchemy import (
    ColumnElement,
    TableClause,
    column,
    delete,
    func,
    literal,
    table,
    tablesample,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col, select

from mimi_mqtt.store import files, statistics
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Conversation
from mimi_mqtt.store.write_behind import CLOSE_TIMEOUT_S
from mimi_mqtt.supervision import LoopFinished, SupervisedLoop

_log = logging.getLogger(__name__)

AGE_EVERY_S: Final = 6 * 3600.0
"""Seconds between two looks for conversations that are too old."""
SIZE_EVERY_S: Final = 60.0
"""Seconds between two looks at the size of an SQLite database, which cost nothing."""
POSTGRES_SIZE_EVERY_S: Final = 3600.0
"""The same for PostgreSQL, where a table that was full once must be read to know its content's size."""
POSTGRES_SAMPLE_BYTES: Final = 64_000_000
"""About as much of a large table as is read for it; all of it could take longer than a query may."""
DOWN_TO: Final = 0.9
"""Part of the bound that is left when conversations had to go."""
AT_ONCE: Final = 20
"""Conversations that are deleted in one transaction: other writers wait for it."""
TOLD_EVERY_S: Final = 24 * 3600.0
"""Seconds between two log lines about a database that is too large."""

_ROW_BYTES: Final = 120  # of a turn, beside its texts; and of its words
_WITH_INDEX: Final = 1.5  # of the words of a turn, their index with them

_deleted = Counter(
    "mimi_store_conversations_deleted_total", "Conversations deleted to bound the database's size"
)


class Pruner:
    """Deletes conversations older than `keep_days` and, beyond `max_bytes` (0: no bound), the oldest ones;
    and days of the statistics older than `keep_statistics_days`."""

    def __init__(
        self, store: Store, *, keep_days: int, max_bytes: int, keep_statistics_days: int = 730
    ) -> None:
        self._store = store
        self._keep = timedelta(days=keep_days)
        self._keep_statistics = timedelta(days=keep_statistics_days)
        self._max_bytes = max_bytes
        self._loop = SupervisedLoop("conversation pruner", self._prune_when_due)
        self._closing = asyncio.Event()
        self._age_at = self._size_at = self._told_at = float("-inf")

    @property
    def healthy(self) -> bool:
        """True while what is too old or too much is deleted."""
        return self._loop.healthy

    def start(self) -> None:
        """Starts deleting; does nothing while it runs."""
        self._closing.clear()
        self._loop.start()

    def finish(self) -> None:
        """Has the loop end after the running transaction."""
        self._closing.set()

    async def aclose(self) -> None:
        """Ends, bounded to a few seconds; safe to call twice."""
        self.finish()
        await self._loop.aclose(timeout_s=CLOSE_TIMEOUT_S if self._loop.healthy else 0.0)

    async def _prune_when_due(self) -> None:
        loop = asyncio.get_running_loop()
        due = min(self._age_at, self._size_at) if self._max_bytes else self._age_at
        if (wait_s := due - loop.time()) > 0:
            try:
                async with asyncio.timeout(wait_s):
                    await self._closing.wait()
                raise LoopFinished
            except TimeoutError:
                pass
        if loop.time() >= self._age_at:
            await self._forget_old()
            await self._forget_statistics()
            self._age_at = loop.time() + AGE_EVERY_S
        if self._max_bytes and loop.time() >= self._size_at:
            await self._bound_size()
            self._size_at = loop.time() + (SIZE_EVERY_S if self._store.is_sqlite else POSTGRES_SIZE_EVERY_S)

    async def _forget_old(self) -> None:
        before = datetime.now(UTC) - self._keep
        while True:
            async with self._store.write() as session:
                gone = await forget_oldest(session, AT_ONCE, before)
            if gone < AT_ONCE or self._closing.is_set():
                return

    async def _forget_statistics(self) -> None:
        before = (datetime.now(UTC) - self._keep_statistics).date()
        while not self._closing.is_set():
            async with self._store.write() as session:
                if not await statistics.forget_days(session, before):
                    return

    async def _bound_size(self) -> None:
        async with self._store.read() as session:
            used = await _used_bytes(session, self._max_bytes)
            each = 0.0 if self._store.is_sqlite else await _bytes_each(session)
        if used <= self._max_bytes:
            return
        deleted = 0
        while used > self._max_bytes * DOWN_TO and not self._closing.is_set():
            async with self._store.write() as session:
                gone = await forget_oldest(session, AT_ONCE)
            if not gone:
                break
            deleted += gone
            if self._store.is_sqlite:
                async with self._store.read() as session:
                    used = await _used_bytes(session, self._max_bytes)
            else:
                used -= int(gone * each)  # to measure it again would be to read everything again
        _deleted.inc(deleted)
        if not self._closing.is_set():
            self._tell(deleted, used)

    def _tell(self, deleted: int, used: int) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told_at < TOLD_EVERY_S:
            return
        self._told_at = now
        bound = self._max_bytes // 1_000_000
        if used > self._max_bytes:
            _log.warning(
                "the database has %d MB without any conversation, and store.max_size_mb is %d: raise it, or "
                "forget devices",
                used // 1_000_000, bound,
            )  # fmt: skip
        else:
            _log.warning(
                "the database had reached store.max_size_mb (%d MB): its %d oldest conversations were "
                "deleted; told once a day",
                bound, deleted,
            )  # fmt: skip


async def forget_oldest(session: AsyncSession, number: int, before: datetime | None = None) -> int:
    """Deletes the conversations that ended first, with their turns: `number` of them at most, and those alone
    whose last turn was `before` that moment. Returns how many those are."""
    query = select(Conversation.id).order_by(col(Conversation.last_turn_at), col(Conversation.id))
    if before is not None:
        query = query.where(col(Conversation.last_turn_at) < before)
    ids = (await session.scalars(query.limit(number))).all()
    await files.delete_of_conversations(session, ids)
    await session.execute(delete(Conversation).where(col(Conversation.id).in_(ids)))
    return len(ids)


async def _used_bytes(session: AsyncSession, bound: int) -> int:
    """The size of the database's content, without the room that it keeps for later.

    PostgreSQL gives no such number: the size of the tables on disk counts as long as that is within `bound`,
    else the content of the turns is added up in place of their table's size. Tables of others in the same
    database don't count.
    """
    if (await session.connection()).dialect.name == "sqlite":
        pages, free, size = [
            (await session.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        ]
        return int((pages - free) * size)
    on_disk = await _disk_bytes(session)
    if on_disk <= bound:
        return int(on_disk)
    turns = (await session.execute(text(f"SELECT {_sizes('turns', 'turn_words')}"))).scalar_one()
    return int(on_disk - turns) + await _turn_bytes(session)


async def _disk_bytes(session: AsyncSession) -> int:
    """The size of this program's tables in PostgreSQL, with their indexes."""
    sizes = _sizes(*SQLModel.metadata.tables, "turn_words")
    return int((await session.execute(text(f"SELECT {sizes}"))).scalar_one())


def _sizes(*names: str) -> str:
    return " + ".join(f"pg_total_relation_size('{name}')" for name in names)


async def _turn_bytes(session: AsyncSession) -> int:
    """The bytes of all turns in PostgreSQL, and of the index of their words."""
    turns = SQLModel.metadata.tables["turns"]
    columns = [turns.c.heard, turns.c.reply, turns.c.timings_ms, turns.c.tools_called, turns.c.uses]
    words = table("turn_words", column("words"))
    of_words = await _content_bytes(session, words, [words.c.words])
    return await _content_bytes(session, turns, columns) + int(of_words * _WITH_INDEX)


async def _content_bytes(
    session: AsyncSession, rows: TableClause, columns: Sequence[ColumnElement[Any]]
) -> int:
    """The bytes of all rows; of a large table an estimate, by a random part of its pages."""
    measured = text(f"SELECT pg_relation_size('{rows.name}')")
    part = min(1.0, POSTGRES_SAMPLE_BYTES / max(1, (await session.execute(measured)).scalar_one()))
    some = tablesample(rows, func.system(100 * part)) if part < 1.0 else rows
    size = sum((func.pg_column_size(some.c[each.name]) for each in columns), start=literal(_ROW_BYTES))
    return int((await session.execute(select(func.coalesce(func.sum(size), 0)))).scalar_one() / part)


async def _bytes_each(session: AsyncSession) -> float:
    """The mean size of a conversation's turns in PostgreSQL."""
    number = (await session.scalars(select(func.count()).select_from(Conversation))).one()
    return await _turn_bytes(session) / number if number else 0.0
