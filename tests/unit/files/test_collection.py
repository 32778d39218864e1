"""The collector deletes what nothing refers to, and never what lives: whatever crashes, and when."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKey, MetaData, String, Table, delete, insert
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import FilesError, NotFound
from mimi_mqtt.files.blobs import Blob, BlobStore
from mimi_mqtt.files.collection import GRACE_S, ORPHANS_AFTER_S, Collector, referring
from mimi_mqtt.files.places import Folder, Found
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import StoredBlob
from tests.fakes.blobs import Clock, blobs_in, check, names, objects_of, parts, whole

METADATA = MetaData()
BLOBS = Table("blobs", METADATA, Column("sha256", String, primary_key=True))
ALBUM = Table(
    "album",
    METADATA,
    Column("title", String, primary_key=True),
    Column("sha256", String, ForeignKey("blobs.sha256", ondelete="RESTRICT")),
)


class Crash(BaseException):
    """The process ends here."""


class House:
    """A store with a table that refers to blobs, and a place, which outlive the process in the middle."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.clock = Clock()
        self.steps = 0
        self.crash_at: int | None = None

    async def start(self) -> "House":
        async with self.store.write() as session:
            await (await session.connection()).run_sync(ALBUM.create)
        await self.restart()
        return self

    async def restart(self) -> None:
        """A new process."""
        self.crash_at = None
        self.blobs = await blobs_in(
            _CrashingStore(self, self.store),  # type: ignore[arg-type]
            self.folder,
            _CrashingFolder(self, self.folder / "files"),
            clock=self.clock,
        )
        self.collector = Collector(self.blobs, metadata=METADATA)

    def step(self) -> None:
        """A point at which the process may end."""
        self.steps += 1
        if self.crash_at is not None and self.steps >= self.crash_at:
            raise Crash

    async def put(self, content: bytes, title: str = "") -> Blob:
        """Stores a blob, and refers to it when a title is given."""
        blob = await self.blobs.put(parts(content), max_bytes=1_000_000)
        if title:
            async with self.store.write() as session:
                await session.execute(insert(ALBUM), [{"title": title, "sha256": blob.sha256}])
        return blob

    async def drop(self, title: str) -> None:
        async with self.store.write() as session:
            await session.execute(delete(ALBUM).where(ALBUM.c.title == title))

    def later(self) -> None:
        """The grace period goes by, for the files on the disk too."""
        self.clock.forward(GRACE_S + 1)
        for path in self.folder.rglob("*"):
            if path.is_file():
                written = path.stat().st_mtime - GRACE_S - 1
                os.utime(path, (written, written))

    async def collect(self) -> None:
        """A collection that also looks for orphans."""
        self.collector._orphans_due = self.clock.now
        await self.collector.collect()


class _CrashingStore:
    """A store whose process may end before and after each transaction that writes."""

    def __init__(self, house: House, store: Store) -> None:
        self._house, self._store = house, store
        self.read = store.read

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        self._house.step()
        async with self._store.write() as session:
            yield session
        self._house.step()


class _CrashingFolder(Folder):
    """A folder whose process may end before and after each change."""

    def __init__(self, house: House, folder: Path) -> None:
        super().__init__(folder)
        self._house = house

    async def take(self, staged: Path, name: str) -> None:
        self._house.step()
        await super().take(staged, name)
        self._house.step()

    async def delete(self, name: str) -> None:
        self._house.step()
        await super().delete(name)
        self._house.step()


@pytest.fixture
async def house(store: Store, tmp_path: Path) -> House:
    return await House(store, tmp_path / "kept").start()


async def test_what_nothing_refers_to_is_deleted_after_the_grace_period(house: House) -> None:
    kept = await house.put(b"kept", "cover")
    unused = await house.put(b"unused")
    await house.collect()
    assert await names(house.store) == {kept.sha256, unused.sha256}
    house.later()
    await house.collect()
    assert await names(house.store) == {kept.sha256}
    assert len(await objects_of(house.blobs.place)) == 1
    assert await whole(house.blobs, kept.sha256) == b"kept"
    assert (await house.blobs.usage()).bytes == 4
    with pytest.raises(NotFound):
        await whole(house.blobs, unused.sha256)
    await house.drop("cover")
    await house.collect()
    assert await objects_of(house.blobs.place) == set()


async def test_a_blob_that_is_put_again_lives_on(house: House) -> None:
    await house.put(b"again")
    house.later()
    blob = await house.put(b"again")
    await house.collect()
    assert await whole(house.blobs, blob.sha256) == b"again"


async def test_many_unused_blobs_are_deleted_in_several_transactions(house: House) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(house.put(bytes([number])))
    house.later()
    await house.collect()
    assert await names(house.store) == set()
    assert await objects_of(house.blobs.place) == set()
    await check(house.store, house.blobs.place)


async def test_objects_that_the_database_does_not_know_are_deleted(house: House) -> None:
    await house.put(b"kept", "cover")
    folder = house.folder / "files"
    orphan = folder / "objects" / "ab" / "abcdef"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"of a database that was lost")
    foreign = folder / "holiday.jpg"
    foreign.write_bytes(b"of a person who uses the folder, too")
    await house.collect()
    assert orphan.exists()
    house.later()
    await house.collect()
    assert not orphan.exists()
    assert foreign.exists()
    await check(house.store, house.blobs.place)


def _orphan_in(house: House) -> Path:
    """An object that no database knows, and that is older than the grace period."""
    orphan = house.folder / "files" / "objects" / "ab" / "abcdef"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"of a database that was lost")
    house.later()
    return orphan


async def test_objects_that_the_database_does_not_know_stay_for_hours_after_the_start(house: House) -> None:
    await house.put(b"kept", "cover")
    orphan = _orphan_in(house)
    await house.collector.collect()
    house.clock.forward(ORPHANS_AFTER_S - 1)
    await house.collector.collect()
    assert orphan.exists()
    house.clock.forward(1)
    await house.collector.collect()
    assert not orphan.exists()


async def test_a_database_that_knows_no_file_at_all_deletes_none(house: House) -> None:
    """It is the wrong one, such as of a volume that is not mounted."""
    orphan = _orphan_in(house)
    await house.collect()
    assert orphan.exists()
    await house.put(b"kept", "cover")
    await house.collect()
    assert not orphan.exists()


async def test_files_that_a_crash_left_half_received_are_deleted(house: House) -> None:
    left = house.folder / "incoming" / "left"
    await house.put(b"x", "x")
    left.write_bytes(b"half")
    await house.collect()
    assert left.exists()
    house.later()
    await house.collect()
    assert not left.exists()


async def test_a_write_that_takes_longer_than_the_grace_period_fails_and_leaves_nothing(house: House) -> None:
    place = house.blobs.place
    take = place.take

    async def slow(staged: Path, name: str) -> None:
        await take(staged, name)
        house.later()
        await house.collect()

    place.take = slow  # type: ignore[method-assign]
    with pytest.raises(FilesError, match="too long"):
        await house.put(b"slow")
    assert await names(house.store) == set()
    assert await objects_of(place) == set()
    await check(house.store, place)


async def _cut_off(house: House, act: Callable[[], Awaitable[object]], at: int) -> bool:
    """Has `act` end at a step, as the process would; False when it came to its end before."""
    house.steps, house.crash_at = 0, at
    try:
        await act()
    except Crash:
        return True
    finally:
        await house.restart()
    return False


async def _settled(house: House, live: dict[str, bytes]) -> None:
    """Asserts that every live blob is whole, and after a while nothing else is left."""
    await check(house.store, house.blobs.place)
    for sha256, content in live.items():
        assert await whole(house.blobs, sha256) == content
    for _ in range(2):
        house.later()
        await house.collect()
    assert await names(house.store) == set(live)
    assert len(await objects_of(house.blobs.place)) == len(live)
    assert not list((house.folder / "incoming").iterdir())
    for sha256, content in live.items():
        assert await whole(house.blobs, sha256) == content
    await check(house.store, house.blobs.place)


async def test_a_crash_at_any_step_of_a_write_leaves_a_whole_file_or_none(house: House) -> None:
    kept = await house.put(b"kept", "cover")
    step = 0
    cut = True
    while cut:
        step += 1
        cut = await _cut_off(house, lambda: house.put(b"new"), step)
        await check(house.store, house.blobs.place)
        await _settled(house, {kept.sha256: b"kept"})
    assert step > 4


async def test_a_crash_at_any_step_of_a_collection_takes_no_live_file(house: House) -> None:
    kept = await house.put(b"kept", "cover")
    step = 0
    cut = True
    while cut:
        step += 1
        await house.put(b"unused")
        house.later()
        cut = await _cut_off(house, house.collect, step)
        # Somebody stores the same bytes again, just after the crash.
        again = await house.put(b"unused", "second")
        assert await whole(house.blobs, again.sha256) == b"unused"
        house.later()
        await house.collect()
        await _settled(house, {kept.sha256: b"kept", again.sha256: b"unused"})
        await house.drop("second")
        house.later()
        await house.collect()
    assert step > 4


class _Meddler:
    """Stores bytes, and refers to them, in the middle of another's work: before its step number `at`."""

    def __init__(self, house: House, at: int) -> None:
        self._house, self._at = house, at
        self._steps = 0
        self.blob: Blob | None = None
        place, store = house.blobs.place, house.blobs.store
        self._delete, self._write = place.delete, store.write
        place.delete = self.delete  # type: ignore[method-assign]
        store.write = self.write  # type: ignore[method-assign, assignment]

    async def step(self) -> None:
        self._steps += 1
        if self._steps != self._at:
            return
        house = self._house
        other = await blobs_in(house.store, house.folder, Folder(house.folder / "files"), clock=house.clock)
        self.blob = await other.put(parts(b"unused"), max_bytes=99)
        async with house.store.write() as session:
            await session.execute(insert(ALBUM), [{"title": "in time", "sha256": self.blob.sha256}])

    async def delete(self, name: str) -> None:
        await self.step()
        await self._delete(name)
        await self.step()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        await self.step()
        async with self._write() as session:
            yield session


async def test_bytes_that_are_put_at_any_step_of_a_collection_stay(house: House) -> None:
    """Also between the deletion of the blob's row and that of its object."""
    step, put = 0, True
    while put:
        step += 1
        await house.put(b"unused")
        house.later()
        meddler = _Meddler(house, step)
        await house.collect()
        await house.restart()
        put = meddler.blob is not None
        if meddler.blob is not None:
            await _settled(house, {meddler.blob.sha256: b"unused"})
        await house.drop("in time")
        house.later()
        await house.collect()
    assert step > 4


async def test_the_collection_goes_on_where_a_place_failed(house: House) -> None:
    await house.put(b"unused")
    house.later()
    place = house.blobs.place

    async def fails(_: str) -> None:
        raise FilesError("the bucket is out of reach")

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(place, "delete", fails)
        with pytest.raises(FilesError):
            await house.collect()
        assert house.blobs.failure == "the bucket is out of reach"
        with pytest.raises(FilesError):
            await house.collect()
    await house.collect()
    assert house.blobs.failure == ""
    await _settled(house, {})


async def test_a_place_that_is_full_is_emptied_all_the_same(house: House) -> None:
    """What is too old is deleted, though nothing can be written; then it can."""
    await house.put(b"old", "old")
    house.later()
    place = house.blobs.place
    prove, full = place.prove, FilesError("the disk is full")

    async def expire(session: AsyncSession, now: datetime) -> None:
        await session.execute(delete(ALBUM))

    async def proves_when_empty() -> None:
        if await objects_of(place):
            raise full
        await prove()

    place.prove = proves_when_empty  # type: ignore[method-assign]
    house.blobs.failed("written", full)
    await Collector(house.blobs, [expire], metadata=METADATA).collect()
    assert await objects_of(place) == set()
    assert house.blobs.failure == ""


async def test_a_place_that_stays_full_is_told_after_the_collection(house: House) -> None:
    await house.put(b"kept", "cover")
    unused = await house.put(b"unused")
    house.later()
    full = FilesError("the disk is full")

    async def fails() -> None:
        raise full

    house.blobs.place.prove = fails  # type: ignore[method-assign]
    house.blobs.failed("written", full)
    with pytest.raises(FilesError, match="full"):
        await house.collect()
    assert unused.sha256 not in await names(house.store)
    assert len(await objects_of(house.blobs.place)) == 1
    assert house.blobs.failure == "the disk is full"


async def test_an_object_that_appears_while_it_is_listed_is_no_orphan(house: House) -> None:
    """A list may be old when it is compared: what is written meanwhile is not in it, or is known."""
    place = house.blobs.place
    every = place.every

    async def slow() -> AsyncIterator[list[Found]]:
        async for some in every():
            yield some
        await house.put(b"new", "new")
        house.later()
        async for some in every():
            yield some

    place.every = slow  # type: ignore[method-assign]
    await house.collect()
    (sha256,) = await names(house.store)
    assert await whole(house.blobs, sha256) == b"new"


async def test_rows_that_are_too_old_are_deleted_before(house: House) -> None:
    blob = await house.put(b"old", "old")
    house.later()

    async def expire(session: AsyncSession, now: datetime) -> None:
        assert now == house.clock.now
        await session.execute(delete(ALBUM))

    await Collector(house.blobs, [expire], metadata=METADATA).collect()
    assert blob.sha256 not in await names(house.store)


def test_every_table_that_refers_to_blobs_is_known() -> None:
    assert referring(METADATA) == [ALBUM.c.sha256]
    for column in referring(StoredBlob.metadata):
        keys = list(column.foreign_keys)
        assert [key.ondelete for key in keys] == ["RESTRICT"], column


async def test_a_blob_that_is_referred_to_can_not_be_deleted_by_hand(house: House, store: Store) -> None:
    blob = await house.put(b"kept", "cover")
    with pytest.raises(Exception, match="FOREIGN KEY"):
        async with store.write() as session:
            await session.execute(delete(StoredBlob))
    assert isinstance(house.blobs, BlobStore)
    assert await whole(house.blobs, blob.sha256) == b"kept"
