"""Storage of waiting notices over restarts: changes are written in the background."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.commands.waiting import MAX_IN_ALL
from mimi_mqtt.errors import StoreError
from mimi_mqtt.store import notices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.notices import NoticeRow
from mimi_mqtt.supervision import SupervisedLoop

_log = logging.getLogger(__name__)

MAX_CHANGED: Final = 4 * MAX_IN_ALL
"""Changes that wait for the database; a further one is lost at a crash."""

_PAUSE_S: Final = 0.25
"""Between two writes: what is told within it is never written."""
_CLOSE_S: Final = 5.0

_dropped = Counter("mimi_notices_not_stored_total", "Changes of waiting notices that could not be stored.")


class KeepsNotices(Protocol):
    """The interface of `KeptNotices` to `notices.Notices`."""

    async def load(self, now: datetime) -> tuple[Sequence[NoticeRow], Mapping[str, bytes]]:
        """The notices that have not expired, and recordings by id. Raises StoreError."""

    def keep(self, row: NoticeRow, sound: bytes = b"") -> None:
        """Stores a new or changed notice, and the recording that it plays. Never waits or raises."""

    def forget(self, notice_id: str) -> None:
        """Deletes a notice. Never waits or raises."""

    async def stored(self) -> None:
        """Returns when all changes so far are in the database, however long that takes."""


class KeptNotices:
    """Implements `KeepsNotices`. `await start()` once, then `await aclose()`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed: dict[str, NoticeRow | None] = {}
        self._sounds: dict[str, bytes] = {}
        self._known: set[str] = set()
        self._noted = 0
        """Changes so far."""
        self._saved = 0
        """Those of them that are in the database, or need not be any more."""
        self._progress = asyncio.Event()
        self._wake = asyncio.Event()
        self._writer = SupervisedLoop("waiting notices", self._write)

    @property
    def healthy(self) -> bool:
        """True while notices are stored."""
        return self._writer.healthy

    def start(self) -> None:
        """Stores changes from now on."""
        self._writer.start()

    async def aclose(self) -> None:
        """Writes what waits, bounded in time, and ends; safe to call twice."""
        await self._writer.aclose()
        if not self._changed:
            return
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._save()
        except (StoreError, TimeoutError) as error:
            _dropped.inc(len(self._changed))
            _log.warning("waiting notices could not be stored: %s", error)
            self._changed.clear()

    async def load(self, now: datetime) -> tuple[Sequence[NoticeRow], Mapping[str, bytes]]:
        """Implements `KeepsNotices`, as the methods below."""
        async with self._store.write() as session:
            rows, sounds = await notices.load(session, now, MAX_IN_ALL)
        self._known.update(row.id for row in rows)
        return rows, sounds

    def keep(self, row: NoticeRow, sound: bytes = b"") -> None:
        """The newest state of a notice is what is written."""
        if sound:
            self._sounds[row.sound_id] = sound
        self._note(row.id, row)

    def forget(self, notice_id: str) -> None:
        """Deletes a notice, if it was written."""
        if notice_id in self._known:
            self._note(notice_id, None)
        else:
            self._changed.pop(notice_id, None)

    def _note(self, notice_id: str, row: NoticeRow | None) -> None:
        if len(self._changed) >= MAX_CHANGED and notice_id not in self._changed:
            _dropped.inc()
            return
        self._changed[notice_id] = row
        self._noted += 1
        self._wake.set()

    async def stored(self) -> None:
        """Each write counts for all changes before it."""
        noted = self._noted
        while self._saved < noted:
            await self._progress.wait()

    async def _write(self) -> None:
        await self._wake.wait()
        await asyncio.sleep(_PAUSE_S)
        await self._save()

    async def _save(self) -> None:
        self._wake.clear()
        noted = self._noted
        changes, self._changed = self._changed, {}
        sounds, self._sounds = self._sounds, {}
        if not changes:
            self._progressed(noted)
            return
        # As written from here on: a notice that is told meanwhile has to be deleted.
        self._known.update(notice_id for notice_id, row in changes.items() if row is not None)
        try:
            async with self._store.write() as session:
                await notices.save(session, changes, sounds)
        except BaseException:
            # Later changes of the same notice win.
            self._changed = {**changes, **self._changed}
            self._sounds = {**sounds, **self._sounds}
            self._wake.set()
            raise
        self._known.difference_update(
            notice_id
            for notice_id, row in changes.items()
            if row is None and self._changed.get(notice_id) is None
        )
        self._progressed(noted)

    def _progressed(self, noted: int) -> None:
        self._saved = noted
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()
