"""Garbage collection of blobs: deletes what nothing refers to, and what crashes left behind.

Each step may be cut off anywhere, and done by several nodes at once: a blob's row and the doom of its object
are one transaction, an object is deleted only while its name is doomed, and a doomed name is never a blob's
again (`files.blobs`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import Counter
from sqlalchemy import Column, ColumnElement, MetaData, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from mimi_mqtt.errors import FilesError
from mimi_mqtt.files.blobs import USAGE_ID, BlobStore
from mimi_mqtt.files.places import OBJECTS
from mimi_mqtt.store.engine import StoreConflict
from mimi_mqtt.store.tables import BlobObject, BlobUsage, StoredBlob
from mimi_mqtt.supervision import SupervisedLoop

EVERY_S: Final = 300.0
"""Seconds between two collections."""
GRACE_S: Final = 3600.0
"""Time in which a blob needs no row that refers to it, and in which a write must end, in seconds."""
ORPHANS_AFTER_S: Final = 6 * 3600.0
"""Seconds from the start to the first look for objects that the database knows nothing of: late, so that
people notice a wrong database before files are gone, but in time for servers that start anew each day."""
ORPHANS_EVERY_S: Final = 24 * 3600.0
"""Seconds between two such looks: each lists the whole place."""
AT_ONCE: Final = 100
"""Blobs of one transaction."""

_deleted = Counter("mimi_files_deleted_total", "Objects that the collector deleted.", ["why"])

_log = logging.getLogger(__name__)

Expiry = Callable[[AsyncSession, datetime], Awaitable[None]]
"""Deletes rows that are too old, in a transaction: their blobs are collected then."""


def referring(metadata: MetaData) -> list["Column[object]"]:
    """Every column that refers to a blob."""
    return [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        for key in column.foreign_keys
        if key.target_fullname == "blobs.sha256"
    ]


class Collector:
    """Collects the garbage of `blobs`, every `EVERY_S`. `expiries` delete rows that are too old before."""

    def __init__(
        self,
        blobs: BlobStore,
        expiries: Sequence[Expiry] = (),
        *,
        grace_s: float = GRACE_S,
        metadata: MetaData = SQLModel.metadata,
    ) -> None:
        self._blobs = blobs
        self._store = blobs.store
        self._place = blobs.place
        self._expiries = expiries
        self._grace_s = grace_s
        self._grace = timedelta(seconds=grace_s)
        self._metadata = metadata
        self._orphans_due: datetime | None = None
        self._loop = SupervisedLoop("collection of files", self.collect, every_s=EVERY_S)

    @property
    def healthy(self) -> bool:
        """True while the loop works."""
        return self._loop.healthy

    def start(self) -> None:
        """Starts the loop."""
        self._loop.start()

    async def aclose(self) -> None:
        """Ends the loop."""
        await self._loop.aclose()

    async def collect(self) -> None:
        """One collection. Raises FilesError and StoreError; the next one goes on where it ended."""
        now = self._blobs.clock()
        failed = bool(self._blobs.failure)
        for expire in self._expiries:
            async with self._store.write() as session:
                await expire(session, now)
        await self._doom_unreferenced(now)
        await self._doom_abandoned(now)
        if failed:
            await self._place.open()
        await self._delete_doomed()
        await asyncio.to_thread(self._blobs.staging.sweep, self._grace_s)
        if self._orphans_due is None:
            self._orphans_due = now + timedelta(seconds=ORPHANS_AFTER_S)
        elif now >= self._orphans_due:
            await self._delete_orphans(now)
            self._orphans_due = now + timedelta(seconds=ORPHANS_EVERY_S)
        await self._blobs.usage()
        if failed:  # last: a full disk is written again because of what was deleted
            await self._place.prove()
            self._blobs.works()

    async def _doom_unreferenced(self, now: datetime) -> None:
        """Deletes the rows of blobs that nothing refers to and nobody put for the grace period."""
        unused: list[ColumnElement[bool]] = [col(StoredBlob.touched_at) < now - self._grace]
        unused += [
            ~exists(select(1).where(column == col(StoredBlob.sha256))) for column in referring(self._metadata)
        ]
        while True:
            some = select(col(StoredBlob.sha256)).where(*unused).limit(AT_ONCE).scalar_subquery()
            gone = (
                delete(StoredBlob)
                .where(col(StoredBlob.sha256).in_(some), *unused)
                .returning(col(StoredBlob.object), col(StoredBlob.bytes))
                .execution_options(synchronize_session=False)
            )
            try:
                async with self._store.write() as session:
                    rows = (await session.execute(gone)).all()
                    doomed = [
                        {"name": name, "bytes": size, "since": now, "doomed": True} for name, size in rows
                    ]
                    if doomed:
                        await session.execute(insert(BlobObject), doomed)
            except StoreConflict:
                return  # something came to refer to one of them: the next collection sees it
            if len(doomed) < AT_ONCE:
                return

    async def _doom_abandoned(self, now: datetime) -> None:
        """Dooms objects whose writing did not end: it was cut off by a crash, or takes too long."""
        late = update(BlobObject).where(col(BlobObject.since) < now - self._grace)
        async with self._store.write() as session:
            await session.execute(
                late.where(col(BlobObject.doomed).is_(False))
                .values(doomed=True)
                .execution_options(synchronize_session=False)
            )

    async def _delete_doomed(self) -> None:
        while True:
            doomed = select(col(BlobObject.name)).where(col(BlobObject.doomed).is_(True)).limit(AT_ONCE)
            async with self._store.read() as session:
                names = list((await session.scalars(doomed)).all())
            for name in names:
                await self._delete(name, "unused")
            if names:
                await self._forget(names)
            if len(names) < AT_ONCE:
                return

    async def _forget(self, names: Sequence[str]) -> None:
        """Deletes the rows of objects that are gone; their bytes may be used again."""
        gone = (
            delete(BlobObject)
            .where(col(BlobObject.name).in_(names), col(BlobObject.doomed).is_(True))
            .returning(col(BlobObject.bytes))
            .execution_options(synchronize_session=False)
        )
        async with self._store.write() as session:
            freed = sum((await session.execute(gone)).scalars().all())
            less = col(BlobUsage.bytes) - freed
            await session.execute(update(BlobUsage).where(col(BlobUsage.id) == USAGE_ID).values(bytes=less))

    async def _delete_orphans(self, now: datetime) -> None:
        """Deletes objects that the database knows nothing of, such as those of a database that was lost.

        A name is registered before its object is written. So one that was listed, and then is in no table,
        can't become a blob's any more. A database without any blob is taken for a wrong one: it deletes none.
        """
        try:
            async for found in self._place.every():
                names = [each.name for each in found if each.written_at < now - self._grace]
                if not names:
                    continue
                async with self._store.read() as session:
                    known = {
                        name
                        for column in (col(StoredBlob.object), col(BlobObject.name))
                        for name in (await session.scalars(select(column).where(column.in_(names)))).all()
                    }
                orphans = [name for name in names if name not in known]
                if orphans and await self._knows_no_blob():
                    _log.warning(
                        "%s has files, and the database knows none: they are left alone. If it is the wrong "
                        "database, such as of a volume that is not mounted, stop the server and give it the "
                        "right one; else delete %s there",
                        self._place.told,
                        OBJECTS,
                    )
                    return
                for name in orphans:
                    await self._delete(name, "orphan")
        except FilesError as error:
            self._blobs.failed("read", error)
            raise

    async def _knows_no_blob(self) -> bool:
        async with self._store.read() as session:
            return (await session.scalars(select(col(StoredBlob.sha256)).limit(1))).first() is None

    async def _delete(self, name: str, why: str) -> None:
        try:
            await self._place.delete(name)
        except FilesError as error:
            self._blobs.failed("written", error)
            raise
        _deleted.labels(why).inc()
        _log.debug("deleted the object %s: %s", name, why)
