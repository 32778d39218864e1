import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt import supervision
from mimi_mqtt.store import conversations, tables
from mimi_mqtt.store.conversations import ConversationLog
from mimi_mqtt.store.engine import Store, StoreConflict
from mimi_mqtt.store.tables import User
from mimi_mqtt.store.turn_record import ToolSpan, TurnRecord
from tests.databases import sqlite_store

NOW = datetime.now(UTC)


def turn(
    number: int = 1, session_id: str = "s1", started_at: datetime = NOW, heard: str = "hi"
) -> TurnRecord:
    return TurnRecord(
        session_id=session_id,
        device_id="aa-bb-cc-00-11-22",
        number=number,
        started_at=started_at,
        mode="auto",
        heard=heard,
        reply="hello",
        outcome="spoken",
        timings_ms={"transcript": 12.34, "bad": float("nan")},
        tools_called=("set_timer",),
        tool_spans=(
            ToolSpan("set_timer", 700.0, 120.5),
            ToolSpan("clock", float("nan"), 1.0),
            ToolSpan("door", 900.0, 10.0, failed=True),
        ),
    )


async def test_turns_are_stored_in_order_with_their_timings(store: Store) -> None:
    log = ConversationLog(store)
    await log.start()
    for number in (1, 2, 3):
        log.add_turn(turn(number, started_at=NOW + timedelta(seconds=number)))
    await log.aclose()
    async with store.read() as session:
        found = await conversations.turns(session, "s1")
        (conversation,) = await conversations.latest(session, "aa-bb-cc-00-11-22")
    assert [stored.number for stored in found] == [1, 2, 3]
    assert found[0].timings_ms == {"transcript": 12.3}
    assert found[0].tools_called == ["set_timer"]
    assert found[0].tool_spans == [
        {"name": "set_timer", "at_ms": 700.0, "ms": 120.5},
        {"name": "door", "at_ms": 900.0, "ms": 10.0, "failed": True},
    ]
    assert conversation.started_at == NOW + timedelta(seconds=1)
    assert conversation.last_turn_at == NOW + timedelta(seconds=3)
    assert log.dropped == 0


async def test_a_turn_that_ends_with_a_transfer_is_not_the_new_owners(store: Store) -> None:
    async with store.write() as session:
        session.add(
            User(id="u-bob", name="bob", folded_name="bob", role="member", created_at=NOW, updated_at=NOW)
        )
    log = ConversationLog(store, owner_of=lambda device_id: "u-eve")
    await log.start()
    log.add_turn(replace(turn(session_id="s0"), owner_id="u-tom"))  # whose account was deleted
    log.add_turn(replace(turn(session_id="s1"), owner_id="u-bob"))
    log.add_turn(turn(session_id="s2"))  # nobody's as it began, and claimed meanwhile
    await log.aclose()
    async with store.read() as session:
        found = await conversations.latest(session, "aa-bb-cc-00-11-22")
    assert {each.id: each.owner_id for each in found} == {"s1": "u-bob", "s2": "u-eve"}


async def test_texts_are_cut_to_their_bounds(store: Store) -> None:
    log = ConversationLog(store)
    await log.start()
    log.add_turn(turn(heard="\0" + "x" * 100_000, session_id="s" * 500))
    await log.aclose()
    async with store.read() as session:
        (found,) = await conversations.turns(session, "s" * tables.SESSION_ID_CHARS)
    assert found.heard == "x" * tables.HEARD_CHARS


async def test_a_turn_told_twice_is_stored_once(store: Store) -> None:
    log = ConversationLog(store)
    await log.start()
    log.add_turn(turn(heard="first"))
    log.add_turn(turn(heard="second"))
    await log.aclose()
    async with store.read() as session:
        (found,) = await conversations.turns(session, "s1")
    assert found.heard == "second"


async def test_more_than_a_batch_is_written_before_closing(store: Store) -> None:
    log = ConversationLog(store)
    await log.start()
    for number in range(350):
        log.add_turn(turn(number))
    await log.aclose()
    async with store.read() as session:
        assert len(await conversations.turns(session, "s1")) == 350


async def test_a_full_queue_drops_and_counts(store: Store) -> None:
    log = ConversationLog(store, max_waiting=10)
    for number in range(15):
        log.add_turn(turn(number))
    assert log.dropped == 5
    await log.start()
    await log.aclose()
    async with store.read() as session:
        assert len(await conversations.turns(session, "s1")) == 10


async def test_a_broken_database_never_reaches_the_turn(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path)
    log = ConversationLog(store)
    await log.start()
    log.add_turn(turn())
    await log.aclose()
    assert log.dropped == 1
    assert not log.healthy


async def test_a_time_without_a_zone_is_taken_as_utc(store: Store) -> None:
    log = ConversationLog(store)
    await log.start()
    log.add_turn(turn(1))
    log.add_turn(turn(2, started_at=NOW.replace(tzinfo=None) + timedelta(seconds=1)))
    await log.aclose()
    async with store.read() as session:
        assert [found.number for found in await conversations.turns(session, "s1")] == [1, 2]


async def test_old_conversations_are_forgotten_with_their_turns(store: Store) -> None:
    async with store.write() as session:
        await conversations.save_turns(
            session, [turn(session_id="old", started_at=NOW - timedelta(days=91)), turn(session_id="new")]
        )
    log = ConversationLog(store, keep_days=90)
    await log.start()
    await log.aclose()
    async with store.read() as session:
        kept = await conversations.latest(session, "aa-bb-cc-00-11-22")
        assert [conversation.id for conversation in kept] == ["new"]
        assert await conversations.turns(session, "old") == []


async def test_a_turn_is_stored_once_whatever_the_order_of_starting_adding_and_closing(store: Store) -> None:
    log = ConversationLog(store)
    await log.aclose()  # not started yet
    await log.start()
    await log.start()
    log.add_turn(turn(1))
    await asyncio.gather(log.aclose(), log.aclose())
    await log.start()
    log.add_turn(turn(2))
    await log.aclose()
    async with store.read() as session:
        assert [found.number for found in await conversations.turns(session, "s1")] == [1, 2]
    assert log.dropped == 0


async def test_turns_are_written_again_when_another_transaction_was_in_the_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, conflicts = conversations.save_turns, [StoreConflict("written by another node")]

    async def in_the_way(session: AsyncSession, records: Sequence[TurnRecord], zone: tzinfo = UTC) -> None:
        await save(session, records, zone)
        if conflicts:
            raise conflicts.pop()

    monkeypatch.setattr(conversations, "save_turns", in_the_way)
    log = ConversationLog(store)
    log.add_turn(turn(1))
    await log.start()
    await log.aclose()
    assert log.dropped == 0
    async with store.read() as session:
        assert [found.number for found in await conversations.turns(session, "s1")] == [1]


class Flaky(Store):
    """A database whose first transactions that write fail, in a way that nobody foresaw."""

    failures = 1

    def write(self, *, within_s: float | None = None) -> AbstractAsyncContextManager[AsyncSession]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("a mistake in the driver")
        return super().write(within_s=within_s)


async def test_old_conversations_are_forgotten_although_the_first_try_failed(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_DELAY_S", 0.01)
    async with store.write() as session:
        await conversations.save_turns(session, [turn(session_id="old", started_at=NOW - timedelta(days=91))])
    flaky = Flaky(url)
    await flaky.open()
    log = ConversationLog(flaky, keep_days=90)
    await log.start()
    for healthy in (False, True):
        while log.healthy is not healthy:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)
    async with store.read() as session:
        assert await conversations.latest(session, "aa-bb-cc-00-11-22") == []
    await log.aclose()
    await flaky.aclose()
