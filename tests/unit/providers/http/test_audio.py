"""Audio to and from vendors: PCM, WAV and MP3 in pieces of any length."""

import io
import wave
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.http.audio import (
    Mp3Decoder,
    SampleReader,
    as_bytes,
    blocks,
    byte_chunks,
    wav_file,
)
from tests.servers.edge_server import heard_tones, tones
from tests.virtual_time import run

SAMPLES = st.lists(st.integers(-32768, 32767), min_size=2, max_size=60)
PLACES = st.lists(st.integers(0, 500))


def read(pieces: list[bytes]) -> tuple[list[int], set[int]]:
    reader = SampleReader("fake", 24_000)
    chunks = [chunk for piece in pieces if (chunk := reader.feed(piece)) is not None]
    reader.finish()
    return [int(sample) for chunk in chunks for sample in chunk.pcm], {chunk.sample_rate for chunk in chunks}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def wav(samples: list[int], *, rate: int = 22_050, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(np.array(samples, "<i2").tobytes())
    return file.getvalue()


@given(samples=SAMPLES, places=PLACES)
def test_raw_samples_survive_any_cut(samples: list[int], places: list[int]) -> None:
    data = np.array(samples, "<i2").tobytes()
    if data.startswith(b"RIFF"):
        return
    assert read(cut(data, places)) == (samples, {24_000})


@given(samples=SAMPLES, places=PLACES)
def test_a_wav_file_survives_any_cut_and_says_its_rate(samples: list[int], places: list[int]) -> None:
    assert read(cut(wav(samples), places)) == (samples, {22_050})


@given(samples=SAMPLES, places=PLACES, length=st.sampled_from([0, 0xFFFFFFFF, 0x7FFFFFFF]))
def test_a_wav_file_of_unknown_length_is_read_to_its_end(
    samples: list[int], places: list[int], length: int
) -> None:
    data = bytearray(wav(samples))
    data[40:44] = length.to_bytes(4, "little")
    assert read(cut(bytes(data), places)) == (samples, {22_050})


@given(samples=SAMPLES, places=PLACES)
def test_what_follows_the_samples_is_not_played(samples: list[int], places: list[int]) -> None:
    data = wav(samples) + b"LIST\x04\x00\x00\x00abcd"
    assert read(cut(data, places)) == (samples, {22_050})


def test_chunks_before_the_format_are_skipped() -> None:
    data = wav([1, 2, 3])
    with_list = data[:12] + b"LIST\x03\x00\x00\x00abc\x00" + data[12:]
    assert read([with_list]) == ([1, 2, 3], {22_050})


@pytest.mark.parametrize(
    "data",
    [
        wav([1, 2], channels=2),
        wav([1, 2], width=1),
        wav([1, 2], rate=96_000),
        wav([1, 2])[:30],
        b"RIFF" + bytes(5000),
        b"\x01",
        b"ID3\x04" + bytes(500),
        b"OggS\x00\x02" + bytes(500),
        b"fLaC" + bytes(500),
    ],
    ids=["stereo", "8-bit", "too-fast", "cut-short", "endless", "one-byte", "mp3", "ogg", "flac"],
)
def test_other_audio_is_a_bad_answer(data: bytes) -> None:
    with pytest.raises(ProviderBadAnswer):
        read([data])


@given(data=st.binary(max_size=300), riff=st.booleans(), places=PLACES)
def test_any_bytes_are_samples_or_a_bad_answer(data: bytes, riff: bool, places: list[int]) -> None:
    try:
        read(cut(b"RIFF" + data if riff else data, places))
    except ProviderBadAnswer:
        return


def decoded(pieces: list[bytes]) -> list[int]:
    decoder = Mp3Decoder("fake", av)
    chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
    chunks += decoder.finish()
    assert {chunk.sample_rate for chunk in chunks} <= {24_000}
    return [int(sample) for chunk in chunks for sample in chunk.pcm]


WHOLE = decoded([tones()])


def test_the_tones_come_out_in_order_and_at_their_length() -> None:
    assert heard_tones(WHOLE) == "1 2 3"
    assert 0.9 <= len(WHOLE) / 24_000 <= 1.0


@settings(max_examples=20)
@given(st.lists(st.integers(0, len(tones())), max_size=30))
def test_it_may_be_cut_anywhere(places: list[int]) -> None:
    edges = [0, *sorted(places), len(tones())]
    assert decoded([tones()[a:b] for a, b in pairwise(edges)]) == WHOLE


def test_speech_comes_out_before_the_end() -> None:
    decoder = Mp3Decoder("fake", av)
    assert sum(chunk.pcm.size for chunk in decoder.feed(tones()[:720])) >= 3 * 576


@settings(max_examples=50)
@given(junk=st.binary(max_size=2_000), place=st.integers(0, len(tones())))
def test_any_bytes_are_speech_or_a_bad_answer(junk: bytes, place: int) -> None:
    try:
        decoded([tones()[:place], junk, tones()[place:]])
    except ProviderBadAnswer:
        return


@pytest.mark.parametrize("data", [b"", b"<html>no</html>", bytes(3_000)], ids=["nothing", "text", "zeros"])
def test_what_is_not_mp3_is_a_bad_answer(data: bytes) -> None:
    with pytest.raises(ProviderBadAnswer):
        decoded([data])


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
