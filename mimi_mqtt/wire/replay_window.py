"""Which sequence numbers of one audio stream were seen: a sliding window after RFC 4303, section 3.4.3.

Looking and believing are two steps, because a packet has no authentication tag: `check` changes nothing, and
`accept` is called only once the decrypted payload was found plausible.
"""

from enum import Enum


class Verdict(Enum):
    """What a sequence number is to a stream."""

    NEW = "new"
    """Ahead of all accepted so far, and not too far."""
    LATE = "late"
    """Behind the newest, inside the window, not seen yet."""
    DUPLICATE = "duplicate"
    """Seen before."""
    TOO_OLD = "too old"
    """Behind the window: seen or not, nobody knows any more."""
    TOO_FAR = "too far"
    """Further ahead than the largest believable jump."""


class ReplayWindow:
    """Remembers the last `size` sequence numbers; a stream begins at 1. `max_jump` is in packets."""

    __slots__ = ("_mask", "_seen", "_size", "highest", "max_jump")

    def __init__(self, size: int = 128, max_jump: int = 250) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        self._seen = 1  # bit n: highest - n was accepted; 0 itself never is a packet
        self.highest = 0
        self.max_jump = max_jump

    def check(self, sequence: int) -> Verdict:
        """What `sequence` would be; changes nothing."""
        ahead = sequence - self.highest
        if ahead > 0:
            return Verdict.NEW if ahead <= self.max_jump else Verdict.TOO_FAR
        if sequence <= 0 or -ahead >= self._size:
            return Verdict.TOO_OLD
        return Verdict.DUPLICATE if self._seen >> -ahead & 1 else Verdict.LATE

    def accept(self, sequence: int) -> None:
        """Marks `sequence` as seen. A caller with better proof may accept one that was TOO_FAR."""
        ahead = sequence - self.highest
        if ahead > 0:
            self._seen = (self._seen << ahead & self._mask) | 1 if ahead < self._size else 1
            self.highest = sequence
        elif -ahead < self._size:
            self._seen |= 1 << -ahead
