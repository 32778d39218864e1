"""Blobs in a test: a folder, a clock that the test sets, and a table that refers to blobs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlmodel import col, select

from mimi_mqtt.files.blobs import BlobStore
from mimi_mqtt.files.places import Folder, Place
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import BlobObject, BlobUsage, StoredBlob

MB = 1_000_000


@dataclass
class Clock:
    """The time of a blob store. It begins as the real one: objects have the time of the place's clock."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def parts(*content: bytes) -> AsyncIterator[bytes]:
    for part in content:
        yield part


async def blobs_in(
    store: Store, folder: Path, place: Place | None = None, *, quota: int = 0, clock: Clock | None = None
) -> BlobStore:
    """A blob store, of a folder unless another place is given."""
    made = BlobStore(store, place or Folder(folder), folder / "incoming", quota=quota, clock=clock or Clock())
    await made.open()
    return made


async def whole(blobs: BlobStore, sha256: str, start: int = 0, end: int | None = None) -> bytes:
    """A blob's bytes."""
    return b"".join([part async for part in blobs.read(sha256, start, end)])


async def objects_of(place: Place) -> set[str]:
    """The names of all objects."""
    return {found.name async for some in place.every() for found in some}


async def check(store: Store, place: Place) -> None:
    """Asserts what must hold at every moment: each blob's object is there, and the usage is right."""
    async with store.read() as session:
        rows = (await session.scalars(select(StoredBlob))).all()
        others = (await session.scalars(select(BlobObject))).all()
        usage = await session.get(BlobUsage, 1)
    assert usage is not None
    assert usage.bytes == sum(row.bytes for row in rows) + sum(row.bytes for row in others)
    assert {row.object for row in rows} <= await objects_of(place)
    assert not {row.object for row in rows} & {row.name for row in others}


async def names(store: Store) -> set[str]:
    """The hashes of all blobs."""
    async with store.read() as session:
        return set((await session.scalars(select(col(StoredBlob.sha256)))).all())
