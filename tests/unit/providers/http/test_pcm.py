"""The forms in which vendors take samples."""

import io
import wave
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.audio import Pcm
from mimi_mqtt.providers.http.pcm import as_bytes, blocks, byte_chunks, wav_file
from tests.virtual_time import run


async def play(sizes: Sequence[int]) -> AsyncIterator[Pcm]:
    start = 0
    for size in sizes:
        yield np.arange(start, start + size, dtype=np.int16)
        start += size


def test_samples_are_little_endian() -> None:
    assert as_bytes(np.array([1, -2], np.int16)) == b"\x01\x00\xfe\xff"


async def test_chunks_stay_as_they_are() -> None:
    assert [len(chunk) async for chunk in byte_chunks(play([3, 1]))] == [6, 2]


@given(sizes=st.lists(st.integers(0, 500), max_size=20), block=st.integers(1, 200))
def test_blocks_are_of_one_size_and_lose_nothing(sizes: list[int], block: int) -> None:
    async def cut() -> list[bytes]:
        return [piece async for piece in blocks(play(sizes), block)]

    pieces = run(cut())
    assert b"".join(pieces) == as_bytes(np.arange(sum(sizes), dtype=np.int16))
    assert all(len(piece) == 2 * block for piece in pieces[:-1])
    assert all(0 < len(piece) <= 2 * block for piece in pieces[-1:])


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_a_wav_file_holds_the_samples(rate: int) -> None:
    with wave.open(io.BytesIO(wav_file(np.array([5, 6], np.int16), rate))) as file:
        assert (file.getframerate(), file.getnchannels(), file.readframes(9)) == (
            rate,
            1,
            b"\x05\x00\x06\x00",
        )
