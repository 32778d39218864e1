"""Backups that the server makes: when they are due, one at a time, the newest are kept."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mimi_mqtt.backup import scheduling
from mimi_mqtt.backup.scheduling import Backups
from mimi_mqtt.config import BackupSettings
from mimi_mqtt.errors import BackupError, Conflict, Invalid, StoreError
from mimi_mqtt.store import backups
from mimi_mqtt.store.audit import COMMAND_LINE
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import BackupRow

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
DAY, RETRY = timedelta(days=1), timedelta(minutes=30)


async def begin(
    store: Store, now: datetime, every: timedelta | None = DAY, node: str = "here"
) -> BackupRow | None:
    async with store.write() as session:
        return await backups.begin(session, now, node=node, name="x", every=every, retry=RETRY)


async def end(store: Store, row: BackupRow | None, problem: str = "") -> None:
    assert row is not None
    assert row.id is not None
    async with store.write() as session:
        await backups.end(session, row.id, NOW, size=7, problem=problem)


async def test_a_backup_is_due_when_the_last_is_old_enough(store: Store) -> None:
    first = await begin(store, NOW)
    assert await begin(store, NOW + timedelta(minutes=1), node="there") is None
    await end(store, first)
    assert await begin(store, NOW + DAY - timedelta(seconds=1), node="there") is None
    assert await begin(store, NOW + DAY, node="there") is not None


async def test_a_backup_that_failed_is_tried_again_soon(store: Store) -> None:
    await end(store, await begin(store, NOW), "no room")
    assert await begin(store, NOW + RETRY - timedelta(seconds=1)) is None
    assert await begin(store, NOW + RETRY) is not None


async def test_a_backup_that_is_asked_for_waits_for_no_time_but_for_one_that_runs(store: Store) -> None:
    first = await begin(store, NOW)
    assert await begin(store, NOW, every=None) is None
    await end(store, first)
    assert await begin(store, NOW, every=None) is not None


async def test_a_backup_of_a_node_that_died_does_not_hold_up_the_others(store: Store) -> None:
    await begin(store, NOW)
    assert await begin(store, NOW + backups.GIVEN_UP_AFTER, node="there") is not None


async def test_two_nodes_begin_one_backup(store: Store, url: str) -> None:
    other = Store(url)
    await other.open()
    found = await asyncio.gather(
        *(begin(each, NOW, node=str(each is store)) for each in (store, other, store, other))
    )
    await other.aclose()
    assert sum(row is not None for row in found) == 1


async def test_the_newest_are_kept(store: Store) -> None:
    for day in range(5):
        async with store.write() as session:
            row = await backups.begin(
                session, NOW + day * DAY, node="here", name=f"b{day}", every=DAY, retry=RETRY
            )
        await end(store, row, "no room" if day == 4 else "")
    async with store.write() as session:
        assert sorted(await backups.forget_old(session, "here", 2)) == ["b0", "b1"]
        assert await backups.forget_old(session, "there", 1) == []
    async with store.read() as session:
        left = [(row.name, row.state) for row in await backups.latest(session, 10)]
    assert left == [("b4", "failed"), ("b3", "done"), ("b2", "done")]


class Scheduled(Backups):
    """The server's backups, made by this test."""

    problem = ""

    async def _run(self, name: str) -> tuple[int, int]:
        if self.problem:
            raise BackupError(self.problem)
        (self._folder() / name).write_bytes(b"backup")
        return 6, 0


@pytest.fixture
def scheduled(store: Store, tmp_path: Path) -> Scheduled:
    (tmp_path / "backups").mkdir()
    settings = BackupSettings(folder=tmp_path / "backups", passphrase_file=tmp_path / "words", keep=2)
    return Scheduled(store, settings, {}, node="here")


async def test_a_failure_is_told_until_a_backup_works(
    scheduled: Scheduled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "RETRY", timedelta(0))
    monkeypatch.setattr(scheduling, "LOOK_EVERY_S", -1.0)
    scheduled._loop.start()
    scheduled.problem = "the disk is full"
    await scheduled._round()
    assert (scheduled.failure, scheduled.healthy) == ("the disk is full", False)
    scheduled.problem = ""
    await scheduled._round()
    assert (scheduled.failure, scheduled.healthy) == ("", True)
    assert [row.problem for row in await scheduled.latest(10)] == ["", "the disk is full"]
    await scheduled._round()  # not due
    assert len(await scheduled.latest(10)) == 2
    await scheduled.aclose()


async def test_old_files_are_deleted(
    scheduled: Scheduled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backups" / "another file").touch()
    for number in range(4):
        monkeypatch.setattr(scheduling, "_name", lambda _, number=number: f"b{number}")
        await scheduled.request(COMMAND_LINE)
        await scheduled._round()
    assert sorted(os.listdir(tmp_path / "backups")) == ["another file", "b2", "b3"]  # noqa: PTH208


async def test_backups_of_a_container_that_had_another_name_are_deleted_too(
    scheduled: Scheduled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        monkeypatch.setattr(scheduling, "_name", lambda _, number=number: f"mimi-{number}.backup")
        scheduled._node = f"container-{number}"
        await scheduled.request(COMMAND_LINE)
        await scheduled._round()
    assert sorted(os.listdir(tmp_path / "backups")) == ["mimi-2.backup", "mimi-3.backup"]  # noqa: PTH208
    assert len(await scheduled.latest(10)) == 2


async def test_drafts_of_backups_that_were_killed_are_deleted(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    old, new = folder / ".mimi-1.backup.0a1b.partial", folder / ".mimi-2.backup.0a1b.partial"
    for draft in (old, new):
        draft.write_bytes(b"half")
    long_ago = time.time() - scheduling.MAX_TIME_S - 1
    os.utime(old, (long_ago, long_ago))
    settings = BackupSettings(folder=folder, passphrase_file=tmp_path / "no passphrase")
    server = Backups(store, settings, {**os.environ, "MIMI_SERVER__DATA_DIR": str(tmp_path)}, node="here")
    await server.request(COMMAND_LINE)
    await server._round()
    assert server.failure
    assert not old.exists()
    assert new.exists()  # it may be one of another node that is at work


async def test_a_backup_that_takes_too_long_leaves_no_draft(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    settings = BackupSettings(folder=folder, passphrase_file=tmp_path / "words")
    server = Backups(store, settings, {}, node="here")
    monkeypatch.setattr(scheduling, "_name", lambda _: "mimi-1.backup")
    monkeypatch.setattr(scheduling, "MAX_TIME_S", 0.0)
    await server.request(COMMAND_LINE)
    draft = folder / ".mimi-1.backup.0a1b.partial"
    draft.write_bytes(b"half")
    monkeypatch.setattr(scheduling, "_PREFIX", "others-")
    await server._round()
    assert "not done" in server.failure
    assert not draft.exists()


async def test_a_backup_that_ends_while_the_database_is_out_of_reach_is_noted_later(
    scheduled: Scheduled, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scheduled.request(COMMAND_LINE)

    def out_of_reach(**_: object) -> object:
        raise StoreError("out of reach")

    with monkeypatch.context() as gone:
        gone.setattr(store, "write", out_of_reach)
        with pytest.raises(StoreError):
            await scheduled._round()
    assert [row.state for row in await scheduled.latest(10)] == ["running"]
    await scheduled._round()
    assert [row.state for row in await scheduled.latest(10)] == ["done"]


async def test_a_second_backup_is_refused_while_one_runs(scheduled: Scheduled) -> None:
    await scheduled.request(COMMAND_LINE)
    with pytest.raises(Conflict, match="is being made"):
        await scheduled.request(COMMAND_LINE)


async def test_a_backup_that_was_interrupted_is_told_as_such_after_a_start(scheduled: Scheduled) -> None:
    await scheduled.request(COMMAND_LINE)
    scheduled._asked.clear()
    await scheduled._round()
    assert [row.problem for row in await scheduled.latest(10)] == ["the server ended meanwhile"]


async def test_a_backup_of_a_container_that_had_another_name_was_interrupted_too(
    scheduled: Scheduled, store: Store
) -> None:
    """On PostgreSQL it may be another node's that runs."""
    await begin(store, scheduling._now(), node="there")
    await scheduled._round()
    states = [(row.node, row.state) for row in await scheduled.latest(9)]
    if store.is_sqlite:
        assert states == [("there", "failed")]
    else:
        assert states == [("there", "running")]


async def test_without_a_folder_none_is_made(store: Store) -> None:
    without = Backups(store, BackupSettings(), {})
    await without._round()
    assert await without.latest(10) == []
    with pytest.raises(Invalid, match=r"backup\.folder"):
        await without.request(COMMAND_LINE)


async def test_the_process_that_fails_is_quoted(store: Store, tmp_path: Path) -> None:
    settings = BackupSettings(folder=tmp_path, passphrase_file=tmp_path / "nowhere")
    failing = Backups(store, settings, {"MIMI_SERVER__DATA_DIR": str(tmp_path)})
    await failing._round()
    assert "nowhere" in failing.failure
    assert "No such file" in failing.failure


def test_a_folder_needs_a_passphrase(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="passphrase_file must be set"):
        BackupSettings(folder=tmp_path)


@pytest.mark.parametrize(
    ("now", "hours", "since"),
    [
        ("2026-08-01T03:29+02:00", 24, "2026-07-31T03:30+02:00"),
        ("2026-08-01T03:30+02:00", 24, "2026-08-01T03:30+02:00"),
        ("2026-08-01T12:00+02:00", 1, "2026-08-01T03:30+02:00"),
        ("2026-08-01T12:00+02:00", 48, "2026-07-31T03:30+02:00"),
        ("2026-08-01T02:00+02:00", 168, "2026-07-25T03:30+02:00"),
        # Clocks were set back in the night: the hour of the day stays.
        ("2026-10-25T03:00+01:00", 24, "2026-10-24T03:30+02:00"),
        ("2026-10-25T03:30+01:00", 24, "2026-10-25T03:30+01:00"),
    ],
)
def test_a_time_of_day_is_kept(now: str, hours: float, since: str) -> None:
    settings = BackupSettings(at="03:30", every_hours=hours)
    found = scheduling.due_since(datetime.fromisoformat(now), settings, ZoneInfo("Europe/Berlin"))
    assert found == datetime.fromisoformat(since)


@pytest.mark.parametrize(("given", "kept"), [("03:30", "03:30"), (13 * 60 + 30, "13:30"), ("", "")])
def test_a_time_of_day_is_read(given: object, kept: str) -> None:
    assert BackupSettings.model_validate({"at": given}).at == kept


@pytest.mark.parametrize("given", ["24:00", "3", "03:60", "noon", 1440, -1, True])
def test_what_is_no_time_of_day_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"03:30|string"):
        BackupSettings.model_validate({"at": given})
