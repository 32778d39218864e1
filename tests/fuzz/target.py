"""What a fuzz target is made of, and tools for its check."""

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One parser with its invariants.

    `check` takes any bytes, raises when an invariant is broken, and returns True when the parser accepted the
    input. `seeds` are inputs that it accepts. `tokens` are words of its language for the fuzzer to try.
    """

    name: str
    check: Callable[[bytes], bool]
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...] = ()
    max_bytes: int = 2_048

    @property
    def summary(self) -> str:
        """The first line of the check's docstring."""
        return (self.check.__doc__ or "").strip().partition("\n")[0]


def pieces(data: bytes, most: int = 8) -> Iterator[bytes]:
    """`data` cut into up to `most` pieces, at places that depend on `data` alone; some pieces are empty."""
    rng = random.Random(zlib.crc32(data))
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(most)))
    start = 0
    for cut in (*cuts, len(data)):
        yield data[start:cut]
        start = cut


def told_briefly(error: Exception, most: int = 400) -> None:
    """Holds the message of an error to `most` characters: what is sent does not fill the log."""
    assert len(str(error)) <= most, "the message of an error grows with the input"


class Source:
    """Numbers and bytes drawn from a fuzzer's input, zeros when it is used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """The next `count` bytes, or what is left."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, size: int) -> int:
        """The next `size` bytes as a number, big-endian."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "big")
