"""Disks that are full or read-only, databases that are locked or damaged, files that are missing."""

import asyncio
import contextlib
import gc
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from mimi_mqtt.backup import making, sealing
from mimi_mqtt.backup.checking import check, opened
from mimi_mqtt.backup.making import make
from mimi_mqtt.backup.ports import Installation
from mimi_mqtt.backup.restoring import restore
from mimi_mqtt.errors import BackupError, FilesError, StoreError
from mimi_mqtt.fleet import secret_files
from mimi_mqtt.store import conversations, devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.migrating import revisions
from mimi_mqtt.store.tables import StoredBlob
from mimi_mqtt.store.turn_record import TurnRecord
from tests.unit.store.test_engine import device

# SQLAlchemy closes a connection whose first statement failed when the garbage collector finds it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PASSPHRASE = "correct horse battery"
NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "SCRYPT_N", 2**4)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, of that size."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"this container may not mount: {made.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 4) as folder:
        yield folder
    gc.collect()  # that what the test left is found in it, not in a later one


def words(size: int) -> str:
    return os.urandom(size // 2).hex()


async def say(store: Store, session: str, count: int, size: int = 2_000) -> None:
    async with store.write() as connection:
        await conversations.save_turns(
            connection,
            [
                TurnRecord(session, "aa-bb-cc-00-11-22", number, NOW, "auto", words(size), "", "answered", {})
                for number in range(count)
            ],
        )


def fill(folder: Path) -> Path:
    """Leaves no room on the disk."""
    path = folder / "others"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return path


async def mount_again(disk: Path, how: str) -> None:
    process = await asyncio.create_subprocess_exec("mount", "-o", f"remount,{how}", str(disk))
    assert await process.wait() == 0


async def test_a_full_disk_is_told_and_is_left_behind_without_a_restart(disk: Path) -> None:
    store = Store(f"sqlite:///{disk}/mimi.db")
    await store.open()
    await say(store, "before", 10)
    others = fill(disk)
    with pytest.raises(StoreError, match="the disk is full"):
        await say(store, "too much", 5_000)
    assert "Free some space" in store.failure
    others.unlink()
    await say(store, "after", 10)
    assert store.failure == ""
    async with store.read() as session:
        assert len(await conversations.turns(session, "before")) == 10
        assert len(await conversations.turns(session, "after")) == 10
        assert (await session.execute(text("PRAGMA integrity_check"))).scalar() == "ok"
    await store.aclose()


async def test_a_backup_on_a_full_disk_leaves_nothing(tmp_path: Path, disk: Path) -> None:
    of = await installation(tmp_path / "here")
    await say(of.store, "s1", 3_000, 8_000)
    await of.store.aclose()
    fill(disk)
    with pytest.raises(BackupError, match="the disk is full; free some space"):
        await make(of, disk / "mimi.backup", PASSPHRASE)
    assert sorted(os.listdir(disk)) == ["others"]  # noqa: PTH208
    (disk / "others").unlink()
    with pytest.raises(BackupError, match="the disk is full"):  # in the middle of it
        await make(of, disk / "mimi.backup", PASSPHRASE)
    assert os.listdir(disk) == []  # noqa: PTH208


async def test_a_restore_onto_a_full_disk_leaves_what_was_there(tmp_path: Path, disk: Path) -> None:
    of = await installation(tmp_path / "here")
    await say(of.store, "s1", 500, 8_000)
    await make(of, tmp_path / "mimi.backup", PASSPHRASE)
    into = await installation(disk)
    secret = (disk / "server.secret").read_bytes()
    await say(into.store, "of before", 5)
    await into.store.aclose()
    with opened(tmp_path / "mimi.backup") as file, pytest.raises(StoreError, match="disk is full"):
        await restore(file, PASSPHRASE, into, replace=True)
    assert (disk / "server.secret").read_bytes() == secret
    assert not (disk / "restoring").exists()
    await into.store.open()
    async with into.store.read() as session:
        assert len(await conversations.turns(session, "of before")) == 5
    await into.store.aclose()


async def test_a_database_on_another_disk_than_the_data_folder_is_refused_with_its_cure(
    tmp_path: Path, disk: Path
) -> None:
    of = await installation(tmp_path / "here")
    await make(of, tmp_path / "mimi.backup", PASSPHRASE)
    await of.store.aclose()
    into = Installation(Store(f"sqlite:///{disk}/mimi.db"), tmp_path / "there")
    with opened(tmp_path / "mimi.backup") as file, pytest.raises(BackupError, match="another disk"):
        await restore(file, PASSPHRASE, into)
    assert os.listdir(tmp_path / "there") == []  # noqa: PTH208
    assert os.listdir(disk) == []  # noqa: PTH208


async def test_a_migration_on_a_full_disk_leaves_the_old_schema(disk: Path) -> None:
    store = Store(f"sqlite:///{disk}/mimi.db", keep_copies=0)
    await store.open()
    await store.migrate(revisions()[2].name)
    await store.aclose()
    fill(disk)
    with pytest.raises(StoreError, match="the disk is full"):
        await store.open()
    (disk / "others").unlink()
    assert await store.revision() == revisions()[2].name
    fill(disk)
    store = Store(f"sqlite:///{disk}/mimi.db")
    with pytest.raises(StoreError, match=r"no room for the copy|the disk is full"):
        await store.open()
    (disk / "others").unlink()
    with pytest.raises(StoreError, match=r"no room for the copy.*store\.keep_copies to 0"):
        await store.open()
    assert await store.revision() == revisions()[2].name


async def open_and_say(store: Store) -> None:
    await store.open()
    await say(store, "more", 200)
    async with store.write() as session:
        await session.execute(text("DELETE FROM turns"))


async def installation(folder: Path) -> Installation:
    store = Store(f"sqlite:///{folder}/mimi.db", keep_copies=0)
    secret_files.load(folder, 0.0)
    await store.open()
    return Installation(store, folder)


async def test_a_database_that_another_program_locks_is_told_and_works_afterwards(tmp_path: Path) -> None:
    of = await installation(tmp_path / "here")
    with closing(sqlite3.connect(tmp_path / "here" / "mimi.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked by another program: end that program"):
            async with of.store.write(within_s=0.05) as session:
                await devices.count(session)
        assert "locked" in of.store.failure
        # A backup only reads: it waits for nobody.
        await make(of, tmp_path / "mimi.backup", PASSPHRASE)
        other.execute("ROLLBACK")
    await say(of.store, "s1", 1)
    assert of.store.failure == ""
    await of.store.aclose()


async def test_a_read_only_disk_is_told_with_its_cure(tmp_path: Path, disk: Path) -> None:
    of = await installation(disk)
    await say(of.store, "s1", 1)
    await of.store.aclose()
    await mount_again(disk, "ro")
    with pytest.raises(StoreError, match="can't be opened for writing: let this user write"):
        await open_and_say(of.store)
    await mount_again(disk, "rw")
    await of.store.aclose()
    await of.store.open()
    await say(of.store, "s2", 1)
    await of.store.aclose()


@pytest.mark.parametrize("damage", ["cut", "garbage"])
async def test_a_damaged_database_is_told_and_a_restore_mends_it(tmp_path: Path, damage: str) -> None:
    of = await installation(tmp_path / "here")
    async with of.store.write() as session:
        await devices.save_changed(session, device(), NOW)
    await say(of.store, "s1", 200)
    await make(of, tmp_path / "mimi.backup", PASSPHRASE)
    await of.store.aclose()
    path = tmp_path / "here" / "mimi.db"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3] if damage == "cut" else b"garbage" * 10_000)
    with pytest.raises(StoreError, match="damaged"):
        await open_and_say(of.store)
    await of.store.aclose()
    with pytest.raises(StoreError, match="damaged"):
        await make(of, tmp_path / "of damaged.backup", PASSPHRASE)
    assert not (tmp_path / "of damaged.backup").exists()
    with opened(tmp_path / "mimi.backup") as file:
        await restore(file, PASSPHRASE, of, replace=True)
    await of.store.open()
    async with of.store.read() as session:
        assert len(await conversations.turns(session, "s1")) == 200
    await of.store.aclose()


async def test_a_backup_is_of_one_moment_while_turns_are_written(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    secret_files.load(folder, 0.0)
    of = Installation(store, folder)
    await say(store, "begun", 300)
    stop = asyncio.Event()
    written = 0

    async def talk() -> None:
        nonlocal written
        while not stop.is_set():
            await say(store, f"s{written}", 2, 200)  # each conversation has two turns, in one transaction
            written += 1
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(talk())
        while written < 5:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
        await make(of, tmp_path / "mimi.backup", PASSPHRASE)
        before = written
        while written < before + 5:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
        stop.set()
    with opened(tmp_path / "mimi.backup") as file:
        rows = check(file, PASSPHRASE).end.rows
    # No turn without its conversation, and no conversation with one turn of two.
    assert rows["turns"] == 300 + 2 * (rows["conversations"] - 1)
    assert rows["conversations"] <= before + 2


class MemoryFiles:
    """A place of files in memory. A `FilePlace`."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    async def open(self) -> None:
        pass

    async def size(self, name: str) -> int | None:
        return len(self.files[name]) if name in self.files else None

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, 10_000):
            yield self.files[name][at : min(end, at + 10_000)]

    async def take(self, staged: Path, name: str) -> None:
        self.files[name] = staged.read_bytes()  # noqa: ASYNC240 - small


async def test_files_are_in_the_backup_and_those_that_are_missing_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = await installation(tmp_path / "here")
    monkeypatch.setattr(making, "BLOBS", "devices")
    monkeypatch.setattr(making, "_object_names", lambda _: ["one", "two", "gone", "empty"])
    files = MemoryFiles(one=os.urandom(100_000), two=b"2", empty=b"")
    before = dict(files.files)
    made = await make(Installation(of.store, of.data_dir, files), tmp_path / "mimi.backup", PASSPHRASE)
    assert (made.end.files, made.end.missing_files) == (3, 1)
    await of.store.aclose()
    elsewhere = MemoryFiles()
    into = Installation(Store(f"sqlite:///{tmp_path}/there/mimi.db"), tmp_path / "there", elsewhere)
    with opened(tmp_path / "mimi.backup") as file:
        await restore(file, PASSPHRASE, into)
    assert elsewhere.files == before
    bare = Installation(Store(f"sqlite:///{tmp_path}/bare/mimi.db"), tmp_path / "bare")
    with opened(tmp_path / "mimi.backup") as file, pytest.raises(BackupError, match="no place for them"):
        await restore(file, PASSPHRASE, bare)
    assert os.listdir(tmp_path / "bare") == []  # noqa: PTH208


class NotedFiles(MemoryFiles):
    """Notes who owns the files that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: set[tuple[int, int]] = set()

    async def take(self, staged: Path, name: str) -> None:
        for path in (staged, staged.parent):
            self.owners.add((path.stat().st_uid, path.stat().st_gid))
        await super().take(staged, name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
async def test_what_root_restores_belongs_to_the_owner_of_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file keeps its owner where its place only renames it."""
    of = await installation(tmp_path / "here")
    monkeypatch.setattr(making, "BLOBS", "devices")
    monkeypatch.setattr(making, "_object_names", lambda _: ["one"])
    files = Installation(of.store, of.data_dir, MemoryFiles(one=b"1"))
    await make(files, tmp_path / "mimi.backup", PASSPHRASE)
    await of.store.aclose()
    there, noted = tmp_path / "there", NotedFiles()
    there.mkdir()
    os.chown(there, 12_345, 12_346)
    with opened(tmp_path / "mimi.backup") as file:
        await restore(file, PASSPHRASE, Installation(Store(f"sqlite:///{there}/mimi.db"), there, noted))
    assert noted.owners == {(12_345, 12_346)}
    assert {(each.stat().st_uid, each.stat().st_gid) for each in there.iterdir()} == {(12_345, 12_346)}


class LostFiles(MemoryFiles):
    """A bucket that is gone."""

    async def open(self) -> None:
        raise FilesError("the bucket can't be read")


@pytest.mark.parametrize("is_lost", [False, True])
async def test_what_a_restore_replaces_is_kept_with_its_files(tmp_path: Path, is_lost: bool) -> None:
    """The collector deletes files that the new database does not know. A restore works without them, too."""
    there = await installation(tmp_path / "there")
    await make(there, tmp_path / "mimi.backup", PASSPHRASE)
    async with there.store.write() as session:
        row = {"sha256": "a" * 64, "bytes": 3, "object": "one", "created_at": NOW, "touched_at": NOW}
        await session.execute(insert(StoredBlob), [row])
    await there.store.aclose()
    files = LostFiles() if is_lost else MemoryFiles(one=b"one")
    there = Installation(there.store, there.data_dir, files)
    with opened(tmp_path / "mimi.backup") as file:
        done = await restore(file, PASSPHRASE, there, replace=True)
    assert done.kept is not None
    assert (done.kept / "mimi.db").exists()
    if is_lost:
        return
    with opened(done.kept / "database.backup") as file:
        assert check(file, PASSPHRASE).end.files == 1
