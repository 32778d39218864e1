"""The absolute clock of a device's playback: when frames may leave, and when they have been heard. Pure.

Times are seconds of any steady clock. Frame n of a stream is due n frame lengths after its start, whatever
the sender's timers did, so delays don't add up. A sender that runs dry shifts the clock: the device paused
too.
"""

from typing import Final

_ROUNDING: Final = 1e-6  # of a frame


class PlayoutClock:
    """One device's downlink. `ahead` is how many frames may be on their way before their time."""

    __slots__ = ("_ahead_s", "_frame_s", "_next_due", "_started", "_timestamp", "frame_ms", "frames_sent")

    def __init__(self, frame_ms: int, ahead: int) -> None:
        self.frame_ms = frame_ms
        self.frames_sent = 0
        """Frames of the running stream."""
        self._frame_s = frame_ms / 1000
        self._ahead_s = ahead * self._frame_s
        self._next_due = 0.0
        self._started = 0.0
        self._timestamp = 0

    def begin(self, at: float) -> None:
        """Starts a stream whose first frame leaves no earlier than `at`, and is heard then."""
        self._started = at
        self._next_due = at
        self.frames_sent = 0

    @property
    def next_send_at(self) -> float:
        """When the next frame may leave."""
        return max(self._started, self._next_due - self._ahead_s)

    def sendable(self, now: float) -> int:
        """How many frames may leave at `now`."""
        if now < self._started:
            return 0
        due = max(self._next_due, now)  # a sender that ran dry: the next frame is heard when it comes
        return max(0, int((now - due + self._ahead_s) / self._frame_s + 1 + _ROUNDING))

    def sent(self, now: float) -> int:
        """Counts one frame sent at `now`; its timestamp in ms, greater than any before it on this clock."""
        self._next_due = max(self._next_due, now) + self._frame_s
        self.frames_sent += 1
        self._timestamp += self.frame_ms
        return self._timestamp

    @property
    def played_at(self) -> float:
        """When the last frame sent will have been heard; the start of the stream if none was."""
        return self._next_due
