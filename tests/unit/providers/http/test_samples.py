"""Samples from bytes in any pieces, raw or behind a WAV header."""

import io
import wave
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.http.samples import SampleReader

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
    ],
    ids=["stereo", "8-bit", "too-fast", "cut-short", "endless", "one-byte"],
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
