"""Capacity of a WebSocket beside speech: the bytes that may be sent without delaying the audio behind. Pure.

Control messages and audio share the connection, so each byte of a message delays the audio that follows it.
Only the device itself tells how fast its connection is: a proxy in between acknowledges and buffers. So a
ping follows a message now and then, and the time until its pong is that of the message and of the way. A slow
answer can't be told from a long way; it leaves the rate at its least.
"""

from typing import Final

MAX_DELAY_S: Final = 0.1
"""The longest delay of audio by what is sent beside it, in seconds."""
LEAST_BYTES_PER_S: Final = 12_000.0
"""The rate that every connection is taken to have, in bytes a second; speech takes a third of it."""
MOST_BYTES_PER_S: Final = 160_000.0
"""The highest rate that is counted on, in bytes a second."""
PROBE_INTERVAL_S: Final = 1.0
"""The least time between two pings that measure, in seconds."""
_MIN_PROBE_BYTES: Final = 150  # a shorter message says nothing of the rate
_MIN_ANSWER_S: Final = 0.001


class WebSocketCapacity:
    """Estimate for one connection. All times are of one clock, in seconds."""

    __slots__ = ("_backlog", "_drained_at", "_probe", "_probed_at", "_rate")

    def __init__(self, now: float) -> None:
        self._rate = LEAST_BYTES_PER_S
        self._backlog = 0.0  # bytes that are still on their way, at that rate
        self._drained_at = now
        self._probe: tuple[int, float] | None = None  # bytes before the ping, and when they were sent
        self._probed_at = now - PROBE_INTERVAL_S

    def sent(self, size: int, now: float) -> None:
        """`size` bytes were sent, of a message or of audio."""
        self._drain(now)
        self._backlog += size

    def spare(self, now: float) -> int:
        """The number of bytes that may be sent now."""
        self._drain(now)
        rate = self._rate
        if self._probe is not None and now - self._probe[1] > MAX_DELAY_S:
            rate = LEAST_BYTES_PER_S  # the connection stalls, or has become slow
        return max(0, int(rate * MAX_DELAY_S - self._backlog))

    def begin_probe(self, size: int, now: float) -> bool:
        """True when a ping is to follow the message of `size` bytes that was just sent."""
        if size < _MIN_PROBE_BYTES or self._probe is not None or now - self._probed_at < PROBE_INTERVAL_S:
            return False
        self._probe = size, now
        self._probed_at = now
        return True

    def answered(self, now: float) -> None:
        """The pong came; one that was not asked for changes nothing."""
        if self._probe is None:
            return
        (size, sent_at), self._probe = self._probe, None
        measured = size / max(now - sent_at, _MIN_ANSWER_S)
        if measured > self._rate:
            # Some connections let a burst pass: doubled at most, a wrong estimate costs one late sentence.
            self._rate = min(measured, 2 * self._rate, MOST_BYTES_PER_S)
        elif size >= self._rate * MAX_DELAY_S / 2:  # a short message measures the way, not the rate
            self._rate = max(measured, LEAST_BYTES_PER_S)

    def _drain(self, now: float) -> None:
        self._backlog = max(0.0, self._backlog - (now - self._drained_at) * self._rate)
        self._drained_at = now
