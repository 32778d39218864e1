"""Estimated echo labels: the downlink frame that was playing while a device recorded an uplink frame. Pure.

A device that wants its echo cancelled here labels each frame of its microphone with the timestamp of the
frame that it was playing; without room for a timestamp in its packets it can't (WebSocket versions 1 and 3,
device contract, section 5). But it plays a reply from the moment it comes, without a pause, and records by
the same clock: one label is estimated from the times at which packets left and came, and those behind it are
counted. The way through network and buffers stays unknown, and is what `echo_alignment` searches for.
"""

from typing import Final

_WAY_MS: Final = 50
"""The least time that network, loudspeaker and microphone take; the canceller finds echoes up to 200 ms later
than that, and none much earlier."""

_DRY_S: Final = 0.03
"""A frame that leaves so long after its turn, in seconds, finds a device that has stopped to play."""


class EchoLabels:
    """The labels of one session; frames of the microphone have `frame_ms`. Times are seconds of any steady
    clock."""

    __slots__ = ("_began", "_begin", "_end", "_first", "_frame_ms", "_last")

    def __init__(self, frame_ms: int) -> None:
        self._frame_ms = frame_ms
        self._begin = self._end = self._last = 0  # timestamps of the speech that plays, in ms
        self._began = 0.0  # when its first frame left
        self._first: tuple[int, int] | None = None  # sequence and label of the first frame recorded with it

    def sent(self, timestamp: int, now: float) -> None:
        """The frame `timestamp` (ms) left for the device."""
        length, self._last = timestamp - self._last, timestamp
        if not self._begin or now > self._began + (timestamp - self._begin) / 1000 + _DRY_S:
            self._begin, self._began, self._first = timestamp, now, None
        self._end = timestamp + length

    def label(self, sequence: int, now: float) -> int:
        """The label of packet `sequence`, which came at `now`; 0 when nothing was playing."""
        if self._first is None:
            # Its recording began a frame's length before it came.
            played_ms = round((now - self._began) * 1000) - self._frame_ms - _WAY_MS
            if not self._begin or not 0 <= played_ms < self._end - self._begin:
                return 0
            self._first = sequence, self._begin + played_ms
        first, label = self._first
        label += (sequence - first) * self._frame_ms
        return label if self._begin <= label < self._end else 0
