"""Content-addressed blobs: bytes by their SHA-256, in a folder or an S3, each registered in the database.

The order of steps makes every crash harmless. An object's name is new for each write, and registered in
`blob_objects` before anything is written; it becomes a blob's in one transaction, which fails when the name
was doomed meanwhile. A name that is no blob's can't become one's later, so that the collector
(`files.collection`) may delete its object at any time without looking at a clock.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from prometheus_client import Counter, Gauge
from sqlalchemy import CursorResult, delete, func, insert, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.errors import FileDamaged, FilesError, NotFound
from mimi_mqtt.files.places import OBJECTS, Place
from mimi_mqtt.files.staging import StagedFile, Staging, full
from mimi_mqtt.store.engine import Store, StoreConflict
from mimi_mqtt.store.tables import SHA256_CHARS, BlobObject, BlobUsage, StoredBlob

USAGE_ID: Final = 1
MAX_DAMAGED: Final = 100
"""Damaged blobs that are remembered."""
_TRIES: Final = 3
_QUIET_S: Final = 60.0

_failures = Counter("mimi_files_failures_total", "Failures of the folder or bucket of files.", ["what"])
_used = Gauge("mimi_files_bytes", "Bytes of all stored files, as the quota counts them.")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that are stored; `size` in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Content:
    """A part of a blob that is being read: from `start` to before `end`, of `size` bytes in all."""

    size: int
    start: int
    end: int
    parts: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of storage at present, in blobs and bytes; `quota` in bytes, 0 for none."""

    blobs: int
    bytes: int
    quota: int


def _now() -> datetime:
    return datetime.now(UTC)


class BlobStore:
    """The blobs of `place`. `staging` is a folder of this machine for what is being received, on the disk of
    a place that is a folder; `quota` bounds all blobs, in bytes (0: no bound)."""

    def __init__(
        self,
        store: Store,
        place: Place,
        staging: Path,
        *,
        quota: int = 0,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.store = store
        self.place = place
        self.staging = Staging(staging)
        self.clock = clock
        self._quota = quota
        self._failure = ""
        self._told_at = float("-inf")
        self._damaged: dict[str, str] = {}
        self._usage = Usage(0, 0, quota)

    async def open(self) -> None:
        """Prepares the place. A place that does not work keeps nothing else from working: see `failure`."""
        try:
            await self.place.open()
        except FilesError as error:
            self.failed("opened", error)

    @property
    def failure(self) -> str:
        """The reason why files can't be written or read at present; empty: they can."""
        return self._failure

    @property
    def damaged(self) -> dict[str, str]:
        """Blobs that were found missing or damaged since the start, and what is wrong with each."""
        return dict(self._damaged)

    @property
    def known_usage(self) -> Usage:
        """The use of storage when it was last looked at."""
        return self._usage

    async def put(self, parts: AsyncIterator[bytes], *, max_bytes: int) -> Blob:
        """Stores bytes, which are never in memory whole, and registers them.

        Whoever puts a blob refers to it soon, by a row with a foreign key: after a grace period the collector
        deletes what nothing refers to. Bytes that are there already are not stored again.

        Raises FileTooLarge, LimitReached (quota), FilesError, StoreError, and what `parts` raises.
        """
        used = await self._used()
        room = self._quota - used if self._quota else 1 << 62
        try:
            if self._failure:
                await self.place.open()
            async with self.staging.receive(parts, max_bytes=max_bytes, room=room) as staged:
                await self._keep(staged)
        except FilesError as error:
            self.failed("written", error)
            raise
        self.works()
        return Blob(staged.sha256, staged.size)

    async def open_content(self, sha256: str, start: int = 0, end: int | None = None) -> Content:
        """A blob from byte `start` to before `end`, opened: what is wrong is known before the first byte.

        Read whole, its hash is checked before the last part is given.

        Raises NotFound, FileDamaged, FilesError, StoreError; while it is read FileDamaged and FilesError.
        """
        row = await self._row(sha256)
        stop = row.bytes if end is None else max(start, min(end, row.bytes))
        start = min(start, stop)
        if start == stop:
            return Content(row.bytes, start, stop, _nothing())
        parts = self._checked(row, start, stop)
        try:
            first = await anext(parts, b"")
        except FilesError as error:
            if isinstance(error, FileDamaged):
                await self._row(sha256)  # the collector may have been faster
                self._remember_damaged(sha256, error)
            self.failed("read", error)
            raise
        return Content(row.bytes, start, stop, self._rest(sha256, first, parts))

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The parts of `open_content`; raises the same, with the first part."""
        content = await self.open_content(sha256, start, end)
        async for part in content.parts:
            yield part

    async def size(self, sha256: str) -> int:
        """The size of a blob, in bytes. Raises NotFound, StoreError."""
        return (await self._row(sha256)).bytes

    async def exists(self, sha256: str) -> bool:
        """True for a blob that is registered, and whose object is there with its size. Raises FilesError,
        StoreError."""
        try:
            row = await self._row(sha256)
        except NotFound:
            return False
        return await self.place.size(row.object) == row.bytes

    async def usage(self) -> Usage:
        """The use of storage. Raises StoreError."""
        async with self.store.read() as session:
            blobs = (await session.execute(select(func.count()).select_from(StoredBlob))).scalar_one()
        return self._noted(await self._used(), blobs)

    def failed(self, what: str, error: FilesError) -> None:
        """Takes note of a failure: counted, shown in the health, logged once a minute."""
        _failures.labels("damaged" if isinstance(error, FileDamaged) else what).inc()
        if not isinstance(error, FileDamaged):
            self._failure = str(error)
        now = time.monotonic()
        if now - self._told_at >= _QUIET_S:
            self._told_at = now
            _log.error("%s", error)

    def works(self) -> None:
        """Takes note that the place can be written."""
        if self._failure:
            _log.info("%s works again", self.place.told)
        self._failure = ""

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self, staged: StagedFile) -> None:
        for attempt in range(_TRIES):
            row = await self._touched(staged.sha256)
            if row is not None and await self.place.size(row.object) == row.bytes:
                self._damaged.pop(row.sha256, None)
                return
            try:
                await self._add(staged, row.object if row is not None else "")
            except StoreConflict:
                # Another node stored the same bytes at the same time.
                if attempt == _TRIES - 1:
                    raise
            else:
                self._damaged.pop(staged.sha256, None)
                return

    async def _touched(self, sha256: str) -> StoredBlob | None:
        """The row of a blob, safe from the collector for the grace period; None for none."""
        now = self.clock()
        async with self.store.write() as session:
            changed = await session.execute(
                update(StoredBlob).where(col(StoredBlob.sha256) == sha256).values(touched_at=now)
            )
            return await session.get(StoredBlob, sha256) if count_of(changed) else None

    async def _add(self, staged: StagedFile, replaced: str) -> None:
        """Makes the file an object and the object a blob's; `replaced` is the name of a damaged one."""
        name = f"{OBJECTS}/{staged.sha256[:2]}/{staged.sha256}-{secrets.token_hex(16)}"
        await self._register(name, staged.size)
        try:
            await self.place.take(staged.path, name)
            await self._publish(name, staged, replaced)
        except Exception:
            await self._give_up(name)
            raise

    async def _register(self, name: str, size: int) -> None:
        async with self.store.write() as session:
            more = col(BlobUsage.bytes) + size
            counted = update(BlobUsage).where(col(BlobUsage.id) == USAGE_ID).values(bytes=more)
            if self._quota:
                counted = counted.where(more <= self._quota)
            if not count_of(await session.execute(counted)):
                raise full()
            await session.execute(
                insert(BlobObject),
                [{"name": name, "bytes": size, "since": self.clock(), "doomed": False}],
            )

    async def _publish(self, name: str, staged: StagedFile, replaced: str) -> None:
        now, sha256, size = self.clock(), staged.sha256, staged.size
        async with self.store.write() as session:
            free = delete(BlobObject).where(col(BlobObject.name) == name, col(BlobObject.doomed).is_(False))
            if not count_of(await session.execute(free)):
                raise FilesError("storing a file took too long, and was given up: send it again")
            mine = col(StoredBlob.sha256) == sha256
            if replaced:
                change = update(StoredBlob).where(mine, col(StoredBlob.object) == replaced)
                done = count_of(await session.execute(change.values(object=name, touched_at=now)))
                await doom(session, replaced if done else name, size, now)
            elif count_of(await session.execute(update(StoredBlob).where(mine).values(touched_at=now))):
                await doom(session, name, size, now)
            else:
                row = {"sha256": sha256, "bytes": size, "object": name, "created_at": now, "touched_at": now}
                await session.execute(insert(StoredBlob), [row])

    async def _give_up(self, name: str) -> None:
        """Has the collector delete an object soon; when that fails, too, after the grace period."""
        try:
            async with self.store.write() as session:
                mine = update(BlobObject).where(col(BlobObject.name) == name)
                await session.execute(mine.values(doomed=True))
        except Exception:  # noqa: BLE001 - the failure before is the one to tell
            _log.debug("the object %s is left to the collector", name, exc_info=True)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────

    async def _row(self, sha256: str) -> StoredBlob:
        if len(sha256) == SHA256_CHARS and sha256.isascii():
            async with self.store.read() as session:
                row = await session.get(StoredBlob, sha256)
            if row is not None:
                return row
        raise NotFound("there is no such file (any more)")

    async def _checked(self, row: StoredBlob, start: int, end: int) -> AsyncIterator[bytes]:
        """The parts from `start` to before `end`; of a whole blob, the hash is checked before the last."""
        whole = start == 0 and end == row.bytes
        found, left, held = hashlib.sha256(), end - start, b""
        try:
            async for part in self.place.read(row.object, start, end):
                if held:
                    yield held
                held, left = part[:left], left - len(part)
                if whole:
                    found.update(held)
        except FileNotFoundError:
            raise self._is_damaged(row, "is missing") from None
        if left > 0:
            raise self._is_damaged(row, f"is cut off: {left} of {row.bytes} bytes are missing")
        if whole and found.hexdigest() != row.sha256:
            raise self._is_damaged(row, "is damaged: its bytes are not those that were stored")
        yield held

    def _is_damaged(self, row: StoredBlob, what: str) -> FileDamaged:
        return FileDamaged(
            f"the file {row.object} in {self.place.told} {what}: restore it from a backup, or send it again"
        )

    def _remember_damaged(self, sha256: str, error: FileDamaged) -> None:
        if len(self._damaged) < MAX_DAMAGED:
            self._damaged[sha256] = str(error)

    async def _rest(self, sha256: str, first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if first:
            yield first
        try:
            async for part in parts:
                yield part
        except FilesError as error:
            if isinstance(error, FileDamaged):
                self._remember_damaged(sha256, error)
            self.failed("read", error)
            raise

    async def _used(self) -> int:
        async with self.store.read() as session:
            found = await session.get(BlobUsage, USAGE_ID)
        used = found.bytes if found is not None else 0
        self._noted(used, self._usage.blobs)
        return used

    def _noted(self, used: int, blobs: int) -> Usage:
        _used.set(used)
        self._usage = Usage(blobs, used, self._quota)
        return self._usage


async def doom(session: AsyncSession, name: str, size: int, now: datetime) -> None:
    """Has an object that is no blob's (any more) deleted."""
    await session.execute(insert(BlobObject), [{"name": name, "bytes": size, "since": now, "doomed": True}])


def count_of(result: object) -> int:
    """Rows that a statement changed."""
    return cast(CursorResult[Any], result).rowcount


async def _nothing() -> AsyncIterator[bytes]:
    empty: tuple[bytes, ...] = ()
    for part in empty:
        yield part
