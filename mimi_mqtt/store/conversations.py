"""Conversations and their turns: written behind the speakers' backs, read by id, forgotten in time."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prometheus_client import Counter
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.errors import StoreError
from mimi_mqtt.store import tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Conversation, Turn
from mimi_mqtt.store.values import bounded, finite

_logger = logging.getLogger(__name__)

_TURNS = Counter("mimi_store_turns_total", "Turns handed to the conversation log", ["outcome"])

_BATCH = 100
_PRUNE_EVERY_S = 6 * 3600.0
_CLOSE_TIMEOUT_S = 5.0
_MAX_TOOLS = 64


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One finished turn. `started_at` is in UTC; `timings_ms` counts from the turn's begin; `number` from 1.

    Longer texts than the tables hold are cut.
    """

    session_id: str
    device_id: str
    number: int
    started_at: datetime
    mode: str
    heard: str
    reply: str
    outcome: str
    timings_ms: Mapping[str, float]
    tools_called: tuple[str, ...] = ()


async def turns(session: AsyncSession, session_id: str) -> Sequence[Turn]:
    """The turns of a conversation, in order."""
    query = select(Turn).where(Turn.conversation_id == session_id).order_by(col(Turn.number))
    return (await session.scalars(query)).all()


async def latest(session: AsyncSession, device_id: str, limit: int = 20) -> Sequence[Conversation]:
    """A device's conversations, the latest first."""
    query = select(Conversation).where(Conversation.device_id == device_id)
    return (await session.scalars(query.order_by(col(Conversation.last_turn_at).desc()).limit(limit))).all()


async def forget_before(session: AsyncSession, moment: datetime) -> None:
    """Deletes conversations whose last turn is older, with their turns."""
    await session.execute(delete(Conversation).where(col(Conversation.last_turn_at) < moment))


async def save_turns(session: AsyncSession, records: Sequence[TurnRecord]) -> None:
    """Writes finished turns; one that is there already is replaced."""
    for record in records:
        started_at = record.started_at if record.started_at.tzinfo else record.started_at.replace(tzinfo=UTC)
        session_id = bounded(record.session_id, tables.SESSION_ID_CHARS)
        conversation = await session.get(Conversation, session_id)
        if conversation is None:
            conversation = Conversation(
                id=session_id,
                device_id=bounded(record.device_id, tables.DEVICE_ID_CHARS),
                started_at=started_at,
                last_turn_at=started_at,
            )
            session.add(conversation)
            await session.flush()
        conversation.last_turn_at = max(conversation.last_turn_at, started_at)
        await session.execute(
            delete(Turn).where(col(Turn.conversation_id) == session_id, col(Turn.number) == record.number)
        )
        session.add(
            Turn(
                conversation_id=session_id,
                number=record.number,
                started_at=started_at,
                mode=bounded(record.mode, tables.WORD_CHARS),
                heard=bounded(record.heard, tables.HEARD_CHARS),
                reply=bounded(record.reply, tables.REPLY_CHARS),
                outcome=bounded(record.outcome, tables.WORD_CHARS),
                timings_ms=finite(record.timings_ms),
                tools_called=[bounded(name, 64) for name in record.tools_called[:_MAX_TOOLS]],
            )
        )


class ConversationLog:
    """Takes finished turns at once and writes them when the database has time.

    No turn ever waits for or fails with the database: past `max_waiting` records, and when writing fails,
    turns are dropped and counted. Conversations older than `keep_days` are deleted at start and every few
    hours.
    """

    def __init__(self, store: Store, *, keep_days: int = 90, max_waiting: int = 1_000) -> None:
        self._store = store
        self._keep = timedelta(days=keep_days)
        self._waiting: asyncio.Queue[TurnRecord | None] = asyncio.Queue()
        self._max_waiting = max_waiting
        self._writer: asyncio.Task[None] | None = None
        self._failing = False
        self.dropped = 0
        """Turns that will never be in the database."""

    @property
    def healthy(self) -> bool:
        """Whether the last write succeeded."""
        return not self._failing

    async def start(self) -> None:
        """Starts the writer."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="conversation-log")

    async def aclose(self) -> None:
        """Writes what waits, bounded to a few seconds, and ends; safe to call twice."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._waiting.put_nowait(None)
        _, late = await asyncio.wait({writer}, timeout=_CLOSE_TIMEOUT_S)
        if late:
            writer.cancel()
            await asyncio.wait({writer})
            self._drop(self._waiting.qsize(), "the database is too slow to close")

    def add_turn(self, record: TurnRecord) -> None:
        """Queues a turn; never blocks, never raises."""
        if self._waiting.qsize() >= self._max_waiting:
            self._drop(1, "the database is too slow")
        else:
            self._waiting.put_nowait(record)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        next_prune = loop.time()
        while True:
            if loop.time() >= next_prune:
                await self._prune()
                next_prune = loop.time() + _PRUNE_EVERY_S
            try:
                async with asyncio.timeout_at(next_prune):
                    record = await self._waiting.get()
            except TimeoutError:
                continue
            batch: list[TurnRecord] = []
            while record is not None:
                batch.append(record)
                if len(batch) >= _BATCH or self._waiting.empty():
                    break
                record = self._waiting.get_nowait()
            if batch:
                await self._save(batch)
            if record is None:
                return

    async def _save(self, batch: Sequence[TurnRecord]) -> None:
        try:
            async with self._store.write() as session:
                await save_turns(session, batch)
        except StoreError as error:
            self._drop(len(batch), str(error))
            return
        _TURNS.labels("stored").inc(len(batch))
        self._failing = False

    async def _prune(self) -> None:
        try:
            async with self._store.write() as session:
                await forget_before(session, datetime.now(UTC) - self._keep)
        except StoreError as error:
            _logger.warning("old conversations could not be deleted: %s", error)

    def _drop(self, count: int, reason: str) -> None:
        self.dropped += count
        _TURNS.labels("dropped").inc(count)
        if not self._failing:
            self._failing = True
            _logger.warning("turns are not being recorded: %s", reason)
