"""MP3 decoded as it comes, cut anywhere."""

import itertools

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.http.mp3 import Mp3Decoder
from tests.servers.edge_server import heard_tones, tones


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
    assert decoded([tones()[a:b] for a, b in itertools.pairwise(edges)]) == WHOLE


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
