"""Conversations and their turns: written behind, read by device or id, deleted when they are old."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, tzinfo

from prometheus_client import Counter
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.errors import StoreError
from mimi_mqtt.store import search, tables
from mimi_mqtt.store.backfill import BackfillLoop
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.gravity import graver
from mimi_mqtt.store.pruning import Pruner
from mimi_mqtt.store.statistics import Counted
from mimi_mqtt.store.tables import Conversation, Device, ForgottenDevice, Turn, User
from mimi_mqtt.store.turn_record import ProviderUse, ToolSpan, TurnRecord
from mimi_mqtt.store.values import bounded, finite
from mimi_mqtt.store.write_behind import WriteBehind

_TURNS = Counter("mimi_store_turns_total", "Turns added to the conversation log", ["outcome"])

_MAX_TOOLS = 64
_MAX_TOOL_SPANS = 32
_MAX_USES = 16


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
    `limit`, of as many conversations, without the conversation `before`, and without those that were begun
    before the device came to its present owner."""
    earlier = select(Conversation.id).where(
        col(Conversation.device_id) == device_id, col(Conversation.id) != before
    )
    moved_at = (await session.scalars(select(Device.owned_since).where(Device.id == device_id))).first()
    if moved_at is not None:
        earlier = earlier.where(col(Conversation.started_at) >= moved_at)
    recent = earlier.order_by(col(Conversation.last_turn_at).desc()).limit(limit)
    query = select(Turn).where(
        col(Turn.conversation_id).in_(recent),
        col(Turn.outcome).in_(outcomes),
        col(Turn.heard) != "",
        col(Turn.reply) != "",
    )
    return (await session.scalars(query.order_by(col(Turn.started_at).desc()).limit(limit))).all()


async def save_turns(session: AsyncSession, records: Sequence[TurnRecord], zone: tzinfo = UTC) -> None:
    """Writes finished turns, their words and their statistics; one that is there already is replaced and not
    counted again, one of a forgotten device dropped. `zone` is that of the days of the statistics."""
    forgotten = await _forgotten(session, {record.device_id for record in records})
    wanted = {
        (bounded(record.session_id, tables.SESSION_ID_CHARS), record.number): _aware(record)
        for record in records
        if record.device_id not in forgotten
    }
    if not wanted:
        return
    conversations = await _conversations_of(session, wanted)
    replaced = await _delete_turns(session, wanted)
    counted = Counted(zone)
    turns: list[Turn] = []
    for key, record in wanted.items():
        conversation = conversations[key[0]]
        if key not in replaced:
            conversation.turns += 1
            counted.add(record)
        conversation.last_turn_at = max(conversation.last_turn_at, record.started_at)
        conversation.outcome = graver(conversation.outcome, bounded(record.outcome, tables.WORD_CHARS))
        turns.append(_turn_of(record, conversation))
    session.add_all(turns)
    await session.flush()
    words = []
    for turn in turns:
        conversation = conversations[turn.conversation_id]
        if turn.id is not None:
            place = conversation.owner_id, conversation.device_id
            words.append(search.Words(turn.id, *place, turn.heard, turn.reply))
    await search.index(session, words)
    await counted.save(session)


def _aware(record: TurnRecord) -> TurnRecord:
    if record.started_at.tzinfo is not None:
        return record
    return replace(record, started_at=record.started_at.replace(tzinfo=UTC))


async def _conversations_of(
    session: AsyncSession, wanted: Mapping[tuple[str, int], TurnRecord]
) -> dict[str, Conversation]:
    """The conversations of turns, new ones among them. Until the transaction ends nobody deletes them."""
    ids = {session_id for session_id, _ in wanted}
    # In one order everywhere: two nodes that write the same rows don't lock each other out.
    query = select(Conversation).where(col(Conversation.id).in_(ids)).order_by(col(Conversation.id))
    found = {conversation.id: conversation for conversation in await session.scalars(query.with_for_update())}
    for (session_id, _), record in wanted.items():
        if session_id not in found:
            found[session_id] = Conversation(
                id=session_id,
                device_id=bounded(record.device_id, tables.DEVICE_ID_CHARS),
                started_at=record.started_at,
                last_turn_at=record.started_at,
                agent=bounded(record.agent, tables.TURN_AGENT_CHARS),
                owner_id=bounded(record.owner_id, tables.USER_ID_CHARS),
                turns=0,
            )
            session.add(found[session_id])
    await session.flush()
    return found


async def _delete_turns(
    session: AsyncSession, wanted: Mapping[tuple[str, int], TurnRecord]
) -> set[tuple[str, int]]:
    """Deletes those of the turns that are there already; which these are."""
    query = select(Turn.id, Turn.conversation_id, Turn.number).where(
        col(Turn.conversation_id).in_({session_id for session_id, _ in wanted}),
        col(Turn.number).in_({number for _, number in wanted}),
    )
    there = {(row[1], row[2]): row[0] for row in await session.execute(query)}
    known = {key: id_ for key, id_ in there.items() if key in wanted}
    if known:
        await session.execute(delete(Turn).where(col(Turn.id).in_(known.values())))
    return set(known)


def _turn_of(record: TurnRecord, conversation: Conversation) -> Turn:
    cost = record.cost
    return Turn(
        conversation_id=conversation.id,
        number=record.number,
        started_at=record.started_at,
        mode=bounded(record.mode, tables.WORD_CHARS),
        heard=bounded(record.heard, tables.HEARD_CHARS),
        reply=bounded(record.reply, tables.REPLY_CHARS),
        outcome=bounded(record.outcome, tables.WORD_CHARS),
        timings_ms=finite(record.timings_ms),
        tools_called=[bounded(name, 64) for name in record.tools_called[:_MAX_TOOLS]],
        tool_spans=[_span_of(span) for span in record.tool_spans[:_MAX_TOOL_SPANS] if _finite(span)],
        kind=bounded(record.kind, tables.WORD_CHARS) or "utterance",
        agent=bounded(record.agent, tables.TURN_AGENT_CHARS),
        providers={
            bounded(role, tables.KEY_CHARS): bounded(name, tables.PROVIDER_CHARS)
            for role, name in record.providers.items()
        },
        uses=[_use_of(use) for use in record.uses[:_MAX_USES]],
        cost=cost if cost is not None and math.isfinite(cost) else None,
        error=bounded(record.error, tables.WORD_CHARS),
        heard_s=round(record.heard_s, 2),
        spoken_s=round(record.spoken_s, 2),
    )


def _finite(span: ToolSpan) -> bool:
    return math.isfinite(span.at_ms) and math.isfinite(span.ms)


def _span_of(span: ToolSpan) -> dict[str, object]:
    told: dict[str, object] = {"name": bounded(span.name, 64), "at_ms": span.at_ms, "ms": span.ms}
    return told | {"failed": True} if span.failed else told


def _use_of(use: ProviderUse) -> dict[str, object]:
    """The fields of `use` that are not zero, as JSON."""
    told = {name: value for name, value in asdict(use).items() if value}
    told["role"], told["name"] = bounded(use.role, tables.KEY_CHARS), bounded(use.name, tables.PROVIDER_CHARS)
    return told


async def _forgotten(session: AsyncSession, device_ids: set[str]) -> set[str]:
    """Those of `device_ids` that were forgotten and did not register again: their turns are not kept."""
    back = select(Device.id).where(col(Device.id) == ForgottenDevice.id).exists()
    query = select(ForgottenDevice.id).where(col(ForgottenDevice.id).in_(device_ids), ~back)
    return set((await session.scalars(query)).all())


class ConversationLog:
    """Accepts finished turns at once and writes them when the database has time.

    No turn ever waits for the database or fails with it: turns beyond `max_waiting`, and those whose write
    fails, are dropped and counted. Conversations older than `keep_days` are deleted, and the oldest ones when
    the database is larger than `max_size_mb` (0: no bound); days of the statistics, which are those of
    `zone`, after `keep_statistics_days`. `owner_of` tells whose a device is at present.
    """

    def __init__(
        self,
        store: Store,
        *,
        keep_days: int = 90,
        keep_statistics_days: int = 730,
        max_size_mb: int = 0,
        max_waiting: int = 1_000,
        zone: tzinfo = UTC,
        owner_of: Callable[[str], str] = lambda device_id: "",
    ) -> None:
        self._store = store
        self._zone = zone
        self.owner_of = owner_of
        """Tells whose a device is at present, "" for nobody's."""
        self._turns = WriteBehind(self._save, "turns", _TURNS, max_waiting=max_waiting)
        self._pruner = Pruner(
            store,
            keep_days=keep_days,
            keep_statistics_days=keep_statistics_days,
            max_bytes=max_size_mb * 1_000_000,
        )
        self._backfill = BackfillLoop(store, zone)

    @property
    def healthy(self) -> bool:
        """True while turns are written, old conversations deleted, and turns of before counted."""
        return self._turns.healthy and self._pruner.healthy and self._backfill.healthy

    @property
    def dropped(self) -> int:
        """Turns that will never be in the database."""
        return self._turns.dropped

    async def start(self) -> None:
        """Starts the writer and the pruner; does nothing while they run."""
        await self._turns.start()
        self._pruner.start()
        self._backfill.start()

    async def aclose(self) -> None:
        """Writes what waits, bounded to a few seconds, and ends; safe to call twice."""
        self._pruner.finish()
        await self._backfill.aclose()
        await self._turns.aclose()
        await self._pruner.aclose()

    def add_turn(self, record: TurnRecord) -> None:
        """Queues a turn; never blocks, never raises."""
        # The owner as the session began; a device that was nobody's then may have been claimed meanwhile.
        self._turns.add(replace(record, owner_id=record.owner_id or self.owner_of(record.device_id)))

    async def _save(self, batch: Sequence[TurnRecord]) -> None:
        try:
            await self._save_once(batch)
        except StoreError:  # such as a lock between two nodes that ended this transaction
            await self._save_once(batch)

    async def _save_once(self, batch: Sequence[TurnRecord]) -> None:
        async with self._store.write() as session:
            await save_turns(session, await self._of_people(session, batch), self._zone)

    async def _of_people(self, session: AsyncSession, batch: Sequence[TurnRecord]) -> Sequence[TurnRecord]:
        """Leaves out the last turns of a person who was deleted, which ended his sessions."""
        left = {each.owner_id for each in batch if each.owner_id not in ("", self.owner_of(each.device_id))}
        if not left:
            return batch
        known = set((await session.scalars(select(User.id).where(col(User.id).in_(left)))).all())
        return [each for each in batch if each.owner_id not in left - known]
