"""The database stays within its bound in bytes: the oldest conversations go, everything else stays."""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.store import conversations, devices, pruning
from mimi_mqtt.store.conversations import ConversationLog
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.pruning import Pruner
from tests.unit.store.test_conversations import NOW, turn
from tests.unit.store.test_engine import device

DEVICE = "aa-bb-cc-00-11-22"
MB = 1_000_000


async def _talk(store: Store, sessions: range) -> None:
    """Two turns in each session, together 20 KB."""
    async with store.write() as session:
        await conversations.save_turns(
            session,
            [
                replace(
                    turn(number, f"s{index:04}", NOW - timedelta(hours=1) + timedelta(seconds=index)),
                    heard="x" * 2_500,
                    reply="y" * 7_500,
                )
                for index in sessions
                for number in (1, 2)
            ],
        )


async def _kept(store: Store) -> list[str]:
    async with store.read() as session:
        return sorted(found.id for found in await conversations.latest(session, DEVICE, 10_000))


async def _round(store: Store, max_bytes: int) -> None:
    """One look at the size: the first one comes at once."""
    pruner = Pruner(store, keep_days=90, max_bytes=max_bytes)
    await pruner._prune_when_due()


@pytest.mark.databases("sqlite")
async def test_the_oldest_conversations_go_when_the_database_is_too_large(store: Store) -> None:
    async with store.write() as session:
        await devices.save_changed(session, device(), NOW)
    await _talk(store, range(200))
    await _round(store, 2 * MB)
    kept = await _kept(store)
    assert 30 < len(kept) < 120
    assert kept == [f"s{index:04}" for index in range(200 - len(kept), 200)]
    async with store.read() as session:
        turns = (await session.execute(text("SELECT count(*) FROM turns"))).scalar_one()
        assert await devices.get(session, DEVICE) is not None
    assert turns == 2 * len(kept)


@pytest.mark.databases("sqlite")
async def test_the_file_stays_within_its_bound_however_much_is_said(store: Store, tmp_path: Path) -> None:
    pruner = Pruner(store, keep_days=90, max_bytes=2 * MB)
    sizes = []
    for start in range(0, 400, 20):
        await _talk(store, range(start, start + 20))
        pruner._size_at = float("-inf")
        await pruner._prune_when_due()
        sizes.append((tmp_path / "mimi.db").stat().st_size)
    assert max(sizes) < 2.6 * MB  # what came since the last look is above the bound
    assert (await _kept(store))[-1] == "s0399"


async def test_old_conversations_go_in_small_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _talk(store, range(3 * pruning.AT_ONCE + 1))
    sizes: list[int] = []
    forget_oldest = pruning.forget_oldest

    async def counted(session: AsyncSession, number: int, before: datetime | None = None) -> int:
        sizes.append(await forget_oldest(session, number, before))
        return sizes[-1]

    monkeypatch.setattr(pruning, "forget_oldest", counted)
    pruner = Pruner(store, keep_days=0, max_bytes=0)
    await pruner._prune_when_due()
    assert sizes == [pruning.AT_ONCE] * 3 + [1]
    assert await _kept(store) == []


async def test_without_a_bound_and_below_it_nothing_goes(store: Store) -> None:
    await _talk(store, range(200))
    await _round(store, 0)
    await _round(store, 100 * MB)
    assert len(await _kept(store)) == 200


@pytest.mark.databases("sqlite")
async def test_the_bound_is_told_once_a_day(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    pruner = Pruner(store, keep_days=90, max_bytes=2 * MB)
    for start in (0, 200, 400):
        await _talk(store, range(start, start + 200))
        pruner._size_at = float("-inf")
        await pruner._prune_when_due()
    assert [line.name for line in caplog.records if line.levelno == logging.WARNING] == [pruning.__name__]


async def test_a_database_that_is_too_large_without_conversations_is_left_alone(store: Store) -> None:
    await _talk(store, range(3))
    await _round(store, 20_000)
    assert await _kept(store) == []
    await _round(store, 20_000)


@pytest.mark.databases("sqlite")
async def test_the_log_of_conversations_obeys_its_bound(store: Store) -> None:
    await _talk(store, range(700))
    log = ConversationLog(store, max_size_mb=10)
    await log.start()
    async with asyncio.timeout(60):
        while len(await _kept(store)) == 700:  # noqa: ASYNC110 - the deleting has no event
            await asyncio.sleep(0.01)
    await log.aclose()


async def test_statistics_outlive_conversations_and_go_by_their_own_age(store: Store) -> None:
    async with store.write() as session:
        for age in (5, 100, 800):
            at = NOW - timedelta(days=age)
            await conversations.save_turns(session, [replace(turn(session_id=f"s{age}"), started_at=at)])
    pruner = Pruner(store, keep_days=30, max_bytes=0, keep_statistics_days=730)
    await pruner._prune_when_due()
    assert await _kept(store) == ["s5"]
    async with store.read() as session:
        days = await session.execute(text("SELECT count(*) FROM daily_statistics WHERE device_id = ''"))
        words = await session.execute(text("SELECT count(*) FROM turn_words"))
        assert days.scalar_one() == 2
        assert words.scalar_one() == 1
