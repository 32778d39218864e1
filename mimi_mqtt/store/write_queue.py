"""The queue of one process's writers, for a database that takes one at a time.

Waiting here is fair; waiting in SQLite's busy handler is polling.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

QUEUE_S: Final = 20.0
"""Longest wait in seconds of a writer that bounds its wait: a device gives its request up after 30 s."""


class QueueStands(TimeoutError):
    """Nobody's turn has ended for as long as this writer would wait."""


class QueueTooLong(TimeoutError):
    """Turns end, and this writer's has not come within `QUEUE_S`."""


class WriteQueue:
    """Turns to write, in the order of asking. Belongs to the loop that it is first used on."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._moved_at = 0.0
        """Time of the loop at which a turn last ended other than by a failure of the database."""

    @asynccontextmanager
    async def turn(self, within_s: float | None) -> AsyncIterator[float | None]:
        """This writer's turn; yields the seconds that are left of `within_s` to wait for other programs.

        `within_s` bounds the wait while the queue stands, and None does not bound it at all: 300 devices that
        boot after a power cut wait for each other, on a slow disk for longer than any would wait for a locked
        database. The block calls `moved` when it got hold of the database. Raises QueueStands and
        QueueTooLong.
        """
        if within_s is None:
            async with self._lock:
                yield None
            return
        began = asyncio.get_running_loop().time()
        await self._acquire(began, within_s)
        try:
            waited_s = asyncio.get_running_loop().time() - max(began, self._moved_at)
            yield max(0.0, within_s - waited_s)
        finally:
            self._lock.release()

    def moved(self) -> None:
        """Notes that the writer whose turn it is got hold of the database."""
        self._moved_at = asyncio.get_running_loop().time()

    async def _acquire(self, began: float, within_s: float) -> None:
        loop = asyncio.get_running_loop()
        acquiring = loop.create_task(self._lock.acquire())
        try:
            while not acquiring.done():
                until = min(max(began, self._moved_at) + within_s, began + QUEUE_S)
                if (left_s := until - loop.time()) <= 0:
                    raise QueueTooLong if self._moved_at + within_s > loop.time() else QueueStands
                await asyncio.wait({acquiring}, timeout=left_s)
            await acquiring
        except BaseException:
            if not acquiring.cancel() and not acquiring.cancelled():  # the turn has come in the same moment
                self._lock.release()
            raise
