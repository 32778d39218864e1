"""Sequence numbers seen in one audio stream: a sliding window after RFC 4303, section 3.4.3.

Looking and believing are two steps, because a packet has no authentication tag: `check` changes nothing, and
`accept` is called only once the decrypted payload was found plausible.
"""

from enum import Enum


class Verdict(Enum):
    """The place of a sequence number in a stream."""

    NEW = "new"
    """Ahead of all accepted so far, and not too far; or the first one, 0."""
    LATE = "late"
    """Behind the newest, inside the window, not seen yet."""
    DUPLICATE = "duplicate"
    """Seen before."""
    TOO_OLD = "too old"
    """Behind the window, which has forgotten whether it was seen."""
    TOO_FAR = "too far"
    """Further ahead than the largest believable jump."""


class ReplayWindow:
    """Remembers the last `size` sequence numbers; `max_jump` is in packets.

    A stream begins at 1, as stock firmware's does (device contract, section 4), or at 0, as QuecPython's.
    """

    __slots__ = ("_floor", "_mask", "_seen", "_size", "highest", "max_jump")

    def __init__(self, size: int = 128, max_jump: int = 250) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        self._seen = 0  # bit n: highest - n was accepted
        self._floor = 0  # after a rewind: what is below was forgotten
        self.highest = 0
        self.max_jump = max_jump

    def check(self, sequence: int) -> Verdict:
        """The verdict on `sequence`; changes nothing."""
        ahead = sequence - self.highest
        if ahead > 0:
            return Verdict.NEW if ahead <= self.max_jump else Verdict.TOO_FAR
        if sequence < self._floor or -ahead >= self._size:
            return Verdict.TOO_OLD
        if self._seen >> -ahead & 1:
            return Verdict.DUPLICATE
        return Verdict.LATE if self._seen or self.highest else Verdict.NEW

    def accept(self, sequence: int) -> None:
        """Marks `sequence` as seen. A caller with better proof may accept one that was TOO_FAR."""
        ahead = sequence - self.highest
        if ahead > 0:
            self._seen = (self._seen << ahead & self._mask) | 1 if ahead < self._size else 1
            self.highest = sequence
        elif -ahead < self._size:
            self._seen |= 1 << -ahead

    def rewind(self, sequence: int) -> None:
        """Forgets what was accepted above `sequence`, which is the highest one then; no effect when it isn't
        lower. What the window has forgotten stays too old."""
        behind = self.highest - sequence
        if behind > 0:
            self._floor = max(self._floor, self.highest - self._size + 1)
            self._seen >>= behind
            self.highest = sequence
