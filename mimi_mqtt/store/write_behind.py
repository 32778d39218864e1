"""Writes behind the caller's back: a bounded queue, and one task that saves what waits in batches."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from prometheus_client import Counter

from mimi_mqtt.errors import StoreError

_logger = logging.getLogger(__name__)

_BATCH = 100
_CLOSE_TIMEOUT_S = 5.0


Record = TypeVar("Record")


class WriteBehind(Generic[Record]):
    """Takes records at once and hands them to `save` when the database has time.

    Nobody ever waits for or fails with the database: past `max_waiting` records, and when `save` raises
    StoreError, records are dropped and counted. `what` names them in the log; `counter` has one label, which
    is `stored` or `dropped`.
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
        self._writer: asyncio.Task[None] | None = None
        self._failing = False
        self.dropped = 0
        """Records that will never be in the database."""

    @property
    def healthy(self) -> bool:
        """Whether the last write succeeded."""
        return not self._failing

    async def start(self) -> None:
        """Starts the writer."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name=f"write-behind: {self._what}")

    async def aclose(self) -> None:
        """Writes what waits, bounded to a few seconds, and ends; safe to call twice."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._waiting.put_nowait(None)
        _, late = await asyncio.wait({writer}, timeout=_CLOSE_TIMEOUT_S)
        if late:
            writer.cancel()
            await asyncio.wait({writer})
            self._drop(self._waiting.qsize(), "the database is too slow to close")

    def add(self, record: Record) -> None:
        """Queues a record; never blocks, never raises."""
        if self._waiting.qsize() >= self._max_waiting:
            self._drop(1, "the database is too slow")
        else:
            self._waiting.put_nowait(record)

    async def _write(self) -> None:
        while True:
            record = await self._waiting.get()
            batch: list[Record] = []
            while record is not None:
                batch.append(record)
                if len(batch) >= _BATCH or self._waiting.empty():
                    break
                record = self._waiting.get_nowait()
            if batch:
                await self._save_batch(batch)
            if record is None:
                return

    async def _save_batch(self, batch: Sequence[Record]) -> None:
        try:
            await self._save(batch)
        except StoreError as error:
            self._drop(len(batch), str(error))
            return
        self._counter.labels("stored").inc(len(batch))
        self._failing = False

    def _drop(self, count: int, reason: str) -> None:
        self.dropped += count
        self._counter.labels("dropped").inc(count)
        if not self._failing:
            self._failing = True
            _logger.warning("%s are not being recorded: %s", self._what, reason)
