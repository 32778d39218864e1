"""Write-behind: a bounded queue of records, and one loop that saves what waits in batches."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from prometheus_client import Counter

from mimi_mqtt.supervision import LoopFinished, SupervisedLoop

_log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S: Final = 5.0
"""Seconds for the write that runs at `aclose`, and again for what still waits then."""

_BATCH: Final = 100

Record = TypeVar("Record")


class WriteBehind(Generic[Record]):
    """Accepts records at once and hands them to `save` when the database has time.

    No caller waits for the database or fails with it. Records beyond `max_waiting` and the batch for which
    `save` raises are dropped and counted; after a failure the others wait while the loop does. `what` names
    the records in the log; `counter` has one label, which is `stored` or `dropped`.
    """

    def __init__(
        self,
        save: Callable[[Sequence[Record]], Awaitable[None]],
        what: str,
        counter: Counter,
        *,
        max_waiting: int,
    ) -> None:
        self._save = save
        self._what = what
        self._counter = counter
        self._waiting: asyncio.Queue[Record | None] = asyncio.Queue()
        self._max_waiting = max_waiting
        self._loop = SupervisedLoop(f"writer of {what}", self._write_next)
        self._started = False
        self._saving = False
        self._failing = False
        self.dropped = 0
        """Records that will never be in the database."""

    @property
    def healthy(self) -> bool:
        """True while the writer runs and no record was dropped since the last successful write."""
        return self._loop.healthy and not self._failing

    async def start(self) -> None:
        """Starts the writer; does nothing while it runs."""
        self._started = True
        self._loop.start()

    async def aclose(self) -> None:
        """Writes what waits, bounded to a few seconds, counts the rest as dropped and ends; safe to call
        twice."""
        started, self._started = self._started, False
        if not started:
            return
        self._waiting.put_nowait(None)
        # A write that runs may end; the pause after a failed one is cut short.
        pausing = not self._loop.healthy and not self._saving
        await self._loop.aclose(timeout_s=0.0 if pausing else CLOSE_TIMEOUT_S)
        if pausing:
            await self._write_rest()
        left = self._waiting.qsize()
        while not self._waiting.empty():
            left -= self._waiting.get_nowait() is None
        if left:
            self._drop(left, "the database is too slow, or out of reach, at the end")

    def add(self, record: Record) -> None:
        """Queues a record; never blocks, never raises."""
        if self._waiting.qsize() >= self._max_waiting:
            self._drop(1, "the database is too slow")
        else:
            self._waiting.put_nowait(record)

    async def _write_next(self) -> None:
        """Waits for records and saves one batch. Raises LoopFinished at the mark that `aclose` queues."""
        record = await self._waiting.get()
        if record is None:
            raise LoopFinished
        batch = [record]
        while len(batch) < _BATCH and not self._waiting.empty():
            if (record := self._waiting.get_nowait()) is None:
                self._waiting.put_nowait(None)  # the mark stays the last
                break
            batch.append(record)
        await self._save_batch(batch)

    async def _write_rest(self) -> None:
        """Saves what waits, until all is saved, a write fails, or the time for it is over."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while True:
                    await self._write_next()
        except LoopFinished:
            pass
        except Exception as error:  # noqa: BLE001 - the border of `save`: closing must go on
            _log.warning("%s could not all be written at the end: %s", self._what, error)

    async def _save_batch(self, batch: Sequence[Record]) -> None:
        self._saving = True
        try:
            await self._save(batch)
        except asyncio.CancelledError:
            self._drop(len(batch), "the database is too slow to close")
            raise
        except Exception as error:
            self._drop(len(batch), str(error) or type(error).__name__)
            raise
        finally:
            self._saving = False
        self._counter.labels("stored").inc(len(batch))
        self._failing = False

    def _drop(self, count: int, reason: str) -> None:
        self.dropped += count
        self._counter.labels("dropped").inc(count)
        if not self._failing:
            self._failing = True
            _log.warning("%s are not being recorded: %s", self._what, reason)
