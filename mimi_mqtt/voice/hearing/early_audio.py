"""Audio that overtook the message announcing it: kept for a moment, as it belongs to what follows. Pure."""

from collections import deque
from collections.abc import Iterator
from typing import Final

_EARLY_S: Final = 1.0
"""What came so shortly before still belongs to it."""
_MAX_PACKETS: Final = 50


class EarlyAudio:
    """The latest packets nobody has listened to, as (Opus, sequence, loop time in s)."""

    def __init__(self) -> None:
        self._packets: deque[tuple[bytes, int, float]] = deque(maxlen=_MAX_PACKETS)

    def keep(self, opus: bytes, sequence: int, now: float) -> None:
        """Keeps one; the oldest goes when there are too many."""
        self._packets.append((opus, sequence, now))

    def take(self, now: float) -> Iterator[tuple[bytes, int, float]]:
        """Those that belong to what is announced now; none is kept."""
        packets = list(self._packets)
        self._packets.clear()
        return (packet for packet in packets if packet[2] >= now - _EARLY_S)

    def clear(self) -> None:
        """Forgets all: they belonged to something else."""
        self._packets.clear()
