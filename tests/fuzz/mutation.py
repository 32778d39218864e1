"""Inputs for a target without a coverage-guided fuzzer: its seeds, changed at random from a fixed seed."""

import random
from collections.abc import Iterator

from tests.fuzz.target import Target

_INTERESTING = b"\x00\x01\x02\x04\x10\x7f\x80\xff\"'\\/{}[]:,;#+.\r\n \xc3\xed\xf4"


def inputs(target: Target, count: int) -> Iterator[bytes]:
    """`count` inputs for `target`, the same in each run."""
    rng = random.Random(target.name)
    for _ in range(count):
        data = bytearray(rng.choice(target.seeds))
        for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
            _change(data, rng, target)
        yield bytes(data[: target.max_bytes])


def _change(data: bytearray, rng: random.Random, target: Target) -> None:
    at = rng.randrange(len(data) + 1)
    length = rng.choice((1, 1, 2, 4, 16))
    match rng.randrange(8):
        case 0:
            del data[at : at + length]
        case 1:
            data[at:at] = rng.randbytes(length)
        case 2:
            data[at : at + 1] = bytes((rng.choice(_INTERESTING),))
        case 3:
            data[at : at + length] = rng.randbytes(len(data[at : at + length]))
        case 4 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 5:
            data[at:at] = data[at : at + length * 8] * rng.randrange(1, 4)
        case 6:
            other = rng.choice(target.seeds)
            data[at:] = other[rng.randrange(len(other) + 1) :]
        case _:
            data[at:at] = rng.choice(target.tokens) if target.tokens else b"\0"
