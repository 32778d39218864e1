"""Traces of devices' control messages, for people who look at what a device sends and is sent.

A device that nobody looks at costs one look into an empty dictionary a message. A reader holds a bounded
number of messages; one that reads too slowly is ended, and no device waits for it.
"""

import asyncio
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from prometheus_client import Counter, Gauge

from mimi_mqtt.errors import LimitReached

MAX_READERS: Final = 50
"""Readers at once."""
MAX_PER_CALLER: Final = 4
"""Readers of one caller at once."""
MAX_WAITING: Final = 500
"""Messages that wait for one reader."""
MAX_WAITING_BYTES: Final = 1_000_000
"""Bytes of the messages that wait for one reader."""

Direction = Literal["up", "down"]
"""`up`: from the device; `down`: to it."""

_reading = Gauge("mimi_trace_readers", "Readers of traces of control messages.")
_ended = Counter("mimi_trace_readers_ended_total", "Readers ended by the server, by reason.", ["reason"])


@dataclass(frozen=True, slots=True)
class Traced:
    """One control message, as it was on the wire: it may hold keys."""

    at: datetime
    direction: Direction
    payload: bytes


class TraceReader:
    """The messages of one device for one reader; made by `ControlTraces.watch`."""

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id
        self.ended = ""
        """The reason of its end; empty until then."""
        self.wake = asyncio.Event()
        self._waiting: deque[Traced] = deque()
        self._bytes = 0

    def add(self, traced: Traced) -> None:
        """Keeps a message; the end for a reader for which too many wait."""
        self._bytes += len(traced.payload)
        if len(self._waiting) >= MAX_WAITING or self._bytes > MAX_WAITING_BYTES:
            self.end("slow")
            return
        self._waiting.append(traced)
        self.wake.set()

    def take(self) -> list[Traced]:
        """The messages that wait, in their order; they wait no longer."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        self.wake.clear()
        return taken

    def end(self, reason: str) -> None:
        """Has the stream end soon, without the messages that wait."""
        if not self.ended:
            self.ended = reason
            self._waiting.clear()
            self.wake.set()


class ControlTraces:
    """All readers of traces. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._readers: dict[str, list[TraceReader]] = {}
        self._by_caller: Tally[str] = Tally()
        self._closed = False

    def __len__(self) -> int:
        """Readers."""
        return sum(map(len, self._readers.values()))

    def note(self, device_id: str, direction: Direction, payload: bytes) -> None:
        """Hands a message to those who look at its device. Never raises."""
        readers = self._readers.get(device_id)
        if readers is None:
            return
        traced = Traced(datetime.now(UTC), direction, payload)
        for reader in readers:
            if not reader.ended:
                reader.add(traced)

    @contextmanager
    def watch(self, device_id: str, holder: str) -> Iterator[TraceReader]:
        """A reader for the time of the block; `holder` names the caller. Raises LimitReached."""
        if self._closed:
            raise LimitReached("the server is being stopped", 10)
        if self._by_caller[holder] >= MAX_PER_CALLER:
            raise LimitReached(f"{MAX_PER_CALLER} traces of one caller are open, which is the most", 10)
        if len(self) >= MAX_READERS:
            raise LimitReached(f"{MAX_READERS} traces are open, which is the most", 10)
        reader = TraceReader(device_id)
        self._readers.setdefault(device_id, []).append(reader)
        self._by_caller[holder] += 1
        _reading.inc()
        try:
            yield reader
        finally:
            _reading.dec()
            self._readers[device_id].remove(reader)
            if not self._readers[device_id]:
                del self._readers[device_id]
            self._by_caller[holder] -= 1
            if not self._by_caller[holder]:
                del self._by_caller[holder]
            if reader.ended:
                _ended.labels(reader.ended).inc()

    def close(self) -> None:
        """Ends all readers; there are no new ones. Safe to call twice."""
        self._closed = True
        for readers in self._readers.values():
            for reader in readers:
                reader.end("stop")
