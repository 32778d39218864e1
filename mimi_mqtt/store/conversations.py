"""Conversations and their turns: written behind, read by device or id, deleted when they are old."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import Counter
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store import tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.pruning import Pruner
from mimi_mqtt.store.tables import Conversation, Device, ForgottenDevice, Turn
from mimi_mqtt.store.values import bounded, finite
from mimi_mqtt.store.write_behind import WriteBehind

_TURNS = Counter("mimi_store_turns_total", "Turns added to the conversation log", ["outcome"])

_MAX_TOOLS = 64


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One finished turn. `started_at` is in UTC; `timings_ms` is from the end of the user's speech
    (see `voice.timings`), `number` from 1.

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
    kind: str = ""
    """Cause of the turn, such as an utterance or an announcement; not stored."""


async def turns(session: AsyncSession, session_id: str) -> Sequence[Turn]:
    """The turns of a conversation, in order."""
    query = select(Turn).where(Turn.conversation_id == session_id).order_by(col(Turn.number))
    return (await session.scalars(query)).all()


async def latest(session: AsyncSession, device_id: str, limit: int = 20) -> Sequence[Conversation]:
    """A device's conversations, the latest first."""
    query = select(Conversation).where(Conversation.device_id == device_id)
    return (await session.scalars(query.order_by(col(Conversation.last_turn_at).desc()).limit(limit))).all()


async def last_turns(
    session: AsyncSession, device_id: str, *, before: str, outcomes: Collection[str], limit: int
) -> Sequence[Turn]:
    """The last turns of a device with words, a reply and one of `outcomes`, the newest first: at most
    `limit`, of as many conversations, without the conversation `before`."""
    earlier = select(Conversation.id).where(
        col(Conversation.device_id) == device_id, col(Conversation.id) != before
    )
    recent = earlier.order_by(col(Conversation.last_turn_at).desc()).limit(limit)
    query = select(Turn).where(
        col(Turn.conversation_id).in_(recent),
        col(Turn.outcome).in_(outcomes),
        col(Turn.heard) != "",
        col(Turn.reply) != "",
    )
    return (await session.scalars(query.order_by(col(Turn.started_at).desc()).limit(limit))).all()


async def save_turns(session: AsyncSession, records: Sequence[TurnRecord]) -> None:
    """Writes finished turns; one that is there already is replaced, one of a forgotten device dropped."""
    forgotten = await _forgotten(session, {record.device_id for record in records})
    for record in records:
        if record.device_id in forgotten:
            continue
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


async def _forgotten(session: AsyncSession, device_ids: set[str]) -> set[str]:
    """Those of `device_ids` that were forgotten and did not register again: their turns are not kept."""
    back = select(Device.id).where(col(Device.id) == ForgottenDevice.id).exists()
    query = select(ForgottenDevice.id).where(col(ForgottenDevice.id).in_(device_ids), ~back)
    return set((await session.scalars(query)).all())


class ConversationLog:
    """Accepts finished turns at once and writes them when the database has time.

    No turn ever waits for the database or fails with it: turns beyond `max_waiting`, and those whose write
    fails, are dropped and counted. Conversations older than `keep_days` are deleted, and the oldest ones when
    the database is larger than `max_size_mb` (0: no bound).
    """

    def __init__(
        self, store: Store, *, keep_days: int = 90, max_size_mb: int = 0, max_waiting: int = 1_000
    ) -> None:
        self._store = store
        self._turns = WriteBehind(self._save, "turns", _TURNS, max_waiting=max_waiting)
        self._pruner = Pruner(store, keep_days=keep_days, max_bytes=max_size_mb * 1_000_000)

    @property
    def healthy(self) -> bool:
        """True while turns are written and old conversations deleted."""
        return self._turns.healthy and self._pruner.healthy

    @property
    def dropped(self) -> int:
        """Turns that will never be in the database."""
        return self._turns.dropped

    async def start(self) -> None:
        """Starts the writer and the pruner; does nothing while they run."""
        await self._turns.start()
        self._pruner.start()

    async def aclose(self) -> None:
        """Writes what waits, bounded to a few seconds, and ends; safe to call twice."""
        self._pruner.finish()
        await self._turns.aclose()
        await self._pruner.aclose()

    def add_turn(self, record: TurnRecord) -> None:
        """Queues a turn; never blocks, never raises."""
        self._turns.add(record)

    async def _save(self, batch: Sequence[TurnRecord]) -> None:
        async with self._store.write() as session:
            await save_turns(session, batch)
