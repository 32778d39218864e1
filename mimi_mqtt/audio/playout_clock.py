"""The absolute clock of a device's playback: when frames may leave, and when they have been heard. Pure.

Times are seconds of any steady clock. Frame n of a stream is heard n frame lengths after its start, whatever
the sender's timers did, so delays don't add up. A sender that runs dry shifts the clock: the device paused
too. The lead over the device is built up gradually: frames that leave together overtake each other on a
jittery network, and the device drops every frame whose sequence is not greater than the last.
"""

from typing import Final

LEAD_GAIN: Final = 3
"""While its lead grows, every frame gains this part of a frame length: frames leave 2/3 of one apart."""

_ROUNDING_S: Final = 1e-9


class PlayoutClock:
    """One device's downlink. `ahead` is how many frames may be on their way before their time."""

    __slots__ = (
        "_ahead_s", "_earliest", "_frame_s", "_gap_s", "_next_due", "_timestamp", "frame_ms", "frames_sent",
    )  # fmt: skip

    def __init__(self, frame_ms: int, ahead: int) -> None:
        self.frame_ms = frame_ms
        self.frames_sent = 0
        """Frames of the running stream."""
        self._frame_s = frame_ms / 1000
        self._gap_s = self._frame_s * (LEAD_GAIN - 1) / LEAD_GAIN
        self._ahead_s = ahead * self._frame_s
        self._next_due = 0.0
        self._earliest = 0.0
        self._timestamp = 0

    def begin(self, at: float) -> None:
        """Starts a stream whose first frame leaves no earlier than `at`, and is heard then."""
        self._earliest = at
        self._next_due = at
        self.frames_sent = 0

    @property
    def next_send_at(self) -> float:
        """The time at which the next frame may leave: `ahead` frames early, never close behind the last."""
        return max(self._earliest, self._next_due - self._ahead_s)

    def may_send(self, now: float) -> bool:
        """True when a frame may leave at `now`: one at a time, never several together."""
        return now >= self.next_send_at - _ROUNDING_S

    def sent(self, now: float) -> int:
        """Counts one frame sent at `now`; its timestamp in ms, greater than any before it on this clock."""
        self._next_due = max(self._next_due, now) + self._frame_s
        self._earliest = now + self._gap_s
        self.frames_sent += 1
        self._timestamp += self.frame_ms
        return self._timestamp

    @property
    def played_at(self) -> float:
        """The time at which the last sent frame has been played; the start of the stream if there is none."""
        return self._next_due
