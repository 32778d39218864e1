"""Bounds on what the control frames and fragments of one WebSocket may cost. Pure."""

from typing import Final

from mimi_mqtt.limits import TokenBucket

CONTROL_FRAMES_PER_S: Final = 5.0
"""Pings, pongs and close frames of one connection in a second, in the long run."""
CONTROL_FRAMES_BURST: Final = 50.0
"""Control frames of one connection at once."""
FRAGMENTS_PER_S: Final = 200.0
"""Fragments of messages of one connection in a second, in the long run."""
FRAGMENTS_BURST: Final = 1_024.0
"""Fragments of one connection at once."""
MAX_FRAGMENTS: Final = 512
"""Fragments of one message."""
MAX_EMPTY_FRAGMENTS: Final = 8
"""Fragments of one message that hold nothing."""


class FrameBounds:
    """Counts the frames of one connection. All times are of one clock, in seconds."""

    __slots__ = ("_control", "_empty", "_fragments", "_rate")

    def __init__(self, now: float) -> None:
        self._control = TokenBucket(CONTROL_FRAMES_PER_S, CONTROL_FRAMES_BURST, now)
        self._rate = TokenBucket(FRAGMENTS_PER_S, FRAGMENTS_BURST, now)
        self._fragments = self._empty = 0

    def control(self, now: float) -> bool:
        """Counts a control frame; False beyond the rate."""
        return self._control.take(now)

    def begin(self) -> None:
        """A message of several frames begins; its first one is counted by `fragment`."""
        self._fragments = self._empty = 0

    def fragment(self, size: int, now: float) -> bool:
        """Counts a fragment of `size` bytes; False beyond the bounds of a message, or the rate."""
        self._fragments += 1
        self._empty += not size
        within = self._fragments <= MAX_FRAGMENTS and self._empty <= MAX_EMPTY_FRAGMENTS
        return within and self._rate.take(now)
