"""Waiting notices survive the server, and what was told in time is never written."""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt import supervision
from mimi_mqtt.commands.kept_notices import KeptNotices
from mimi_mqtt.store import devices, notices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.notices import NoticeRow

NOW = datetime(2026, 8, 1, tzinfo=UTC)
DEVICE = "aa-bb-cc-00-11-22"


def row(number: int, *, sound: str = "", minutes: int = 60, shown: bool = False) -> NoticeRow:
    at = NOW + timedelta(seconds=number)
    until = at + timedelta(minutes=minutes)
    return NoticeRow(f"n{number}", DEVICE, f"text {number}", sound, False, shown, 0, at, until)


async def kept(store: Store) -> tuple[list[NoticeRow], dict[str, bytes]]:
    async with store.write() as session:
        rows, sounds = await notices.load(session, NOW, 100)
    return list(rows), dict(sounds)


async def test_what_is_kept_is_there_after_a_stop_and_after_a_crash(store: Store) -> None:
    first = KeptNotices(store)
    first.start()
    first.keep(row(1))
    first.keep(row(2, sound="bell"), b"OggS")
    await first.stored()
    assert len((await kept(store))[0]) == 2
    first.keep(row(1, shown=True))
    await first.aclose()
    rows, sounds = await kept(store)
    assert rows == [row(1, shown=True), row(2, sound="bell")]
    assert sounds == {"bell": b"OggS"}
    again = KeptNotices(store)
    assert await again.load(NOW) == (rows, sounds)
    again.start()
    again.forget("n2")
    await again.aclose()
    assert await kept(store) == ([row(1, shown=True)], {}), "a sound that nothing plays is deleted"


async def test_what_was_told_at_once_is_never_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[object] = []
    monkeypatch.setattr(notices, "save", lambda *arguments: saved.append(arguments))
    keeper = KeptNotices(store)
    keeper.start()
    keeper.keep(row(1))
    keeper.forget("n1")
    keeper.forget("never there")
    await keeper.stored()
    await keeper.aclose()
    assert saved == []


async def test_stored_means_that_a_crash_loses_nothing_of_before(store: Store) -> None:
    keeper = KeptNotices(store)
    keeper.start()
    await keeper.stored()
    for number in range(3):
        keeper.keep(row(number))
    await asyncio.gather(keeper.stored(), keeper.stored())
    assert len((await kept(store))[0]) == 3
    keeper.keep(row(3))
    keeper.forget("n3")
    await keeper.stored()
    await keeper.aclose()


async def test_two_notices_share_a_sound(store: Store) -> None:
    keeper = KeptNotices(store)
    keeper.start()
    for number in (1, 2):
        keeper.keep(row(number, sound="bell"), b"OggS")
    await keeper.aclose()
    again = KeptNotices(store)
    await again.load(NOW)
    again.start()
    again.keep(row(3, sound="bell"), b"OggS")
    again.forget("n1")
    await again.aclose()
    rows, sounds = await kept(store)
    assert [each.id for each in rows] == ["n2", "n3"]
    assert sounds == {"bell": b"OggS"}


async def test_expired_ones_and_those_beyond_the_bound_are_deleted_when_they_are_loaded(store: Store) -> None:
    async with store.write() as session:
        await notices.save(session, {f"n{number}": row(number, minutes=number) for number in range(6)}, {})
        rows, _ = await notices.load(session, NOW + timedelta(minutes=2, seconds=30), 2)
    assert [each.id for each in rows] == ["n3", "n4"]
    assert [each.id for each in (await kept(store))[0]] == ["n3", "n4"]


async def test_a_forgotten_device_takes_its_notices_with_it(store: Store) -> None:
    async with store.write() as session:
        await notices.save(session, {"n1": row(1)}, {})
        await devices.forget(session, [DEVICE], NOW)
    assert (await kept(store))[0] == []


class Flaky(Store):
    """A database whose next transaction that writes fails, once told so."""

    failures = 0

    def write(self, *, within_s: float | None = None) -> AbstractAsyncContextManager[AsyncSession]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("a mistake in the driver")
        return super().write(within_s=within_s)


@pytest.mark.databases("sqlite")
async def test_a_failure_of_the_database_loses_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_DELAY_S", 0.01)
    flaky = Flaky(f"sqlite+aiosqlite:///{tmp_path / 'mimi.db'}")
    await flaky.open()
    flaky.failures = 1
    keeper = KeptNotices(flaky)
    keeper.start()
    keeper.keep(row(1, sound="bell"), b"OggS")
    for healthy in (False, True):
        while keeper.healthy is not healthy:  # noqa: ASYNC110 - it has no event of its own
            await asyncio.sleep(0.001)
        keeper.keep(row(2))
    await keeper.aclose()
    rows, sounds = await kept(store)
    assert [each.id for each in rows] == ["n1", "n2"]
    assert sounds == {"bell": b"OggS"}
    await flaky.aclose()
