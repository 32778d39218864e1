"""What is remembered of earlier conversations: the last turns that were answered, and never much."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.config.prompt import MAX_MEMORY_CHARS
from mimi_mqtt.memory import recent
from mimi_mqtt.memory.recent import MAX_QUERIES, MAX_TURNS, MAX_WORDS_CHARS, RecentTurns
from mimi_mqtt.store.conversations import save_turns
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.turn_record import TurnRecord
from tests.databases import sqlite_store

DEVICE = "aa-bb-cc-00-11-22"
BEGAN = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = sqlite_store(tmp_path)
    await opened.open()
    yield opened
    await opened.aclose()


def turn(
    minute: int,
    heard: str,
    reply: str,
    *,
    session_id: str = "s1",
    device_id: str = DEVICE,
    outcome: str = "answered",
) -> TurnRecord:
    at = BEGAN + timedelta(minutes=minute)
    return TurnRecord(session_id, device_id, minute + 1, at, "auto", heard, reply, outcome, {})


async def remembered(store: Store, *turns: TurnRecord, greetings: tuple[str, ...] = ()) -> str:
    async with store.write() as session:
        await save_turns(session, turns)
    memory = RecentTurns(store, greetings=greetings, timezone="Asia/Tokyo")
    return await memory.recall(DEVICE, "now")


async def test_without_earlier_conversations_there_is_nothing(store: Store) -> None:
    assert await remembered(store) == ""


async def test_earlier_conversations_are_told_in_their_order_and_time_zone(store: Store) -> None:
    told = await remembered(
        store,
        turn(0, "my name is Anna", "Hello Anna!"),
        turn(1, "is it\nraining", "No."),
        turn(7 * 60, "good morning", "Good morning!", session_id="s2", outcome="interrupted"),
    )
    assert told == (
        "Saturday, 21 November 2026, 03:00:\n"
        "User: my name is Anna\nYou: Hello Anna!\nUser: is it raining\nYou: No.\n"
        "Saturday, 21 November 2026, 10:00:\nUser: good morning\nYou: Good morning!"
    )


async def test_the_present_conversation_and_other_devices_are_left_out(store: Store) -> None:
    told = await remembered(
        store,
        turn(0, "now", "yes", session_id="now"),
        turn(0, "elsewhere", "yes", session_id="s9", device_id="aa-bb-cc-00-11-33"),
    )
    assert told == ""


async def test_greetings_failures_and_announcements_are_no_memory(store: Store) -> None:
    told = await remembered(
        store,
        turn(0, "hi mimi", "Hello! "),
        turn(1, "what time is it", "Sorry, something went wrong.", outcome="failed"),
        turn(2, "", "Your tea timer is done."),
        turn(3, "so what", ""),
        turn(4, "thanks", "You are welcome."),
        greetings=("Hello!",),
    )
    assert told.splitlines()[1:] == ["User: thanks", "You: You are welcome."]


async def test_only_the_last_turns_are_remembered(store: Store) -> None:
    turns = [turn(minute, f"question {minute}", "yes") for minute in range(50)]
    told = await remembered(store, *turns)
    assert told.count("User:") == MAX_TURNS
    assert "question 49\n" in told
    assert "question 39\n" not in told


async def test_long_words_are_cut_and_the_oldest_make_room(store: Store) -> None:
    turns = [turn(minute, f"{minute} " + "x" * 4_000, "y" * 8_000) for minute in range(10)]
    told = await remembered(store, *turns)
    assert len(told) <= MAX_MEMORY_CHARS
    assert "User: 9 x" in told
    assert "User: 0 x" not in told
    assert max(len(line) for line in told.splitlines()) <= MAX_WORDS_CHARS + len("User: ")


class BusyStore(Store):
    """Counts how many read at once, none of whom comes to an end before `done`."""

    reading = most = 0

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.done = asyncio.Event()
        self.full = asyncio.Event()

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[AsyncSession]:
        self.reading += 1
        self.most = max(self.most, self.reading)
        if self.reading >= MAX_QUERIES:
            self.full.set()
        async with super().read() as session:
            yield session
            await self.done.wait()
        self.reading -= 1

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._counted()


async def test_only_so_many_memories_are_read_at_once(tmp_path: Path) -> None:
    busy = BusyStore(f"sqlite:///{tmp_path}/mimi.db")
    busy.done.set()
    await busy.open()
    busy.done.clear()
    busy.most = 0
    memory = RecentTurns(busy)
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(memory.recall(DEVICE, "now"))
        await busy.full.wait()
        busy.done.set()
    assert busy.most == MAX_QUERIES
    await busy.aclose()


async def test_a_database_that_fails_is_an_empty_memory(store: Store) -> None:
    memory = RecentTurns(store)
    await store.aclose()
    assert await memory.recall(DEVICE, "now") == ""
    assert await memory.recall(DEVICE, "now") == ""


async def test_greetings_that_change_all_the_time_take_bounded_room(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "MAX_GREETINGS", 3)
    memory = RecentTurns(store, greetings=("Hello!",))
    for number in range(5):
        memory.know_greetings(("Hello!", f"Hi {number}!"))
    assert [*memory._greetings] == ["Hi 3!", "Hello!", "Hi 4!"]
