"""The queue between a device's audio socket and its decoder, drained at the pace of speech. No I/O, no clock.

It holds as many packets as the real one and drops the next without a trace; what was dropped, came too early
or came too late is counted (device contract, section 3). Times are seconds on the caller's clock.
"""

from collections import deque
from dataclasses import dataclass, fields
from typing import Final

from mimi_mqtt.cli.device.actions import Play

EARLY_S: Final = 0.5
"""Audio discarded this long before `tts start`, in seconds, is a beginning that was cut off; any other audio
discarded after a `tts stop` is an end that was."""
_MAX_DISCARDED: Final = 1_000


@dataclass(slots=True)
class Counters:
    """Counts of the downlink, in packets and, where the name says so, in ms of audio."""

    received: int = 0
    lost: int = 0
    """Sequences that never came, or came too late."""
    overflowed: int = 0
    """Came while the queue was full."""
    stale: int = 0
    """Came with a sequence that was not greater than the last."""
    malformed: int = 0
    played: int = 0
    clipped_start_ms: int = 0
    clipped_end_ms: int = 0

    def since(self, earlier: "Counters") -> "Counters":
        """The difference to `earlier`, a copy of this object."""
        names = [field.name for field in fields(self)]
        return Counters(**{name: getattr(self, name) - getattr(earlier, name) for name in names})


class DecodeQueue:
    """Packets that wait to be played; `frame_ms` is the duration of each."""

    def __init__(self, capacity: int, counters: Counters) -> None:
        self.frame_ms = 60
        self._capacity = capacity
        self._counters = counters
        self._waiting: deque[tuple[float, bytes]] = deque()  # with their time of arrival
        self._free_at = 0.0
        self._fresh = True
        self._discarded: deque[tuple[float, int]] = deque(maxlen=_MAX_DISCARDED)
        self._spoken_before = False

    @property
    def waiting(self) -> int:
        """Packets in the queue, without the one that sounds."""
        return len(self._waiting)

    def drained(self, now: float) -> bool:
        """True when the last packet has sounded."""
        return not self._waiting and now >= self._free_at

    @property
    def free_at(self) -> float:
        """The time at which the packet that is being played ends."""
        return self._free_at

    def push(self, opus: bytes, now: float) -> None:
        """A packet for the decoder; dropped and counted when the queue is full."""
        if len(self._waiting) >= self._capacity:
            self._counters.overflowed += 1
        else:
            self._waiting.append((now, opus))

    def advance(self, now: float) -> list[Play]:
        """The packets that began to sound up to `now`."""
        played = []
        while self._waiting and self._free_at <= now:
            arrived, opus = self._waiting.popleft()
            at = max(self._free_at, arrived)
            played.append(Play(opus, at, self._fresh))
            self._fresh = False
            self._counters.played += 1
            self._free_at = at + self.frame_ms / 1000
        return played

    def discard(self, now: float) -> None:
        """Counts a packet that came while the device was not speaking."""
        if self._spoken_before:
            self._discarded.append((now, self.frame_ms))
        else:
            self._counters.clipped_start_ms += self.frame_ms

    def begin(self, now: float) -> None:
        """Entering *speaking*: empties the queue and resets the decoder."""
        for at, ms in self._discarded:
            if now - at <= EARLY_S:
                self._counters.clipped_start_ms += ms
            else:
                self._counters.clipped_end_ms += ms
        self._discarded.clear()
        self.cut()
        self._fresh = True
        self._spoken_before = True

    def cut(self) -> None:
        """Empties the queue; what waited counts as a cut end."""
        self._counters.clipped_end_ms += len(self._waiting) * self.frame_ms
        self._waiting.clear()

    def settle(self) -> None:
        """Counts what was discarded since the last `tts stop` as a cut end: nothing more is expected."""
        self._counters.clipped_end_ms += sum(ms for _, ms in self._discarded)
        self._discarded.clear()
