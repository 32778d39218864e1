"""Where the speech is in an utterance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.audio import Pcm
from mimi_mqtt.providers.vendors.offline.sphinx.span import FRAME, LONGEST_WHOLE_S, SpeechSpan, pieces
from tests.unit.providers.vendors.offline.spoken import RATE, noise, said, silence, utterance, with_noise


def span_of(pcm: Pcm) -> SpeechSpan:
    span = SpeechSpan()
    span.push(pcm)
    return span


def test_silence_around_speech_is_cut_to_a_margin() -> None:
    spoken = said("what time is it")
    first, last = span_of(np.concatenate([silence(2000), spoken, silence(3000)])).bounds()
    assert 1600 <= first * 1000 / RATE <= 2100
    assert abs(last - (2 * RATE + spoken.size)) < RATE // 2


def test_one_word_in_half_a_minute_of_silence_is_found() -> None:
    pcm = np.concatenate([silence(10_000), said("hello"), silence(20_000)])
    first, last = span_of(pcm).bounds()
    assert 9 * RATE < first < 10 * RATE
    assert last < 12 * RATE


def test_speech_in_noise_is_found_too() -> None:
    pcm = with_noise(utterance("what time is it", lead_ms=1500, tail_ms=1500), 20)
    first, last = span_of(pcm).bounds()
    assert first > RATE // 2
    assert last < pcm.size - RATE // 2


@pytest.mark.parametrize("pcm", [silence(1000), noise(1000, 500), noise(1000, 2), noise(60, 9000)])
def test_what_has_no_speech_is_kept_whole(pcm: Pcm) -> None:
    assert span_of(pcm).bounds() == (0, pcm.size)
    assert span_of(pcm).pause is None


@pytest.mark.parametrize(
    ("pcm", "silent"), [(silence(500), True), (noise(500, 1), True), (noise(500, 50), False)]
)
def test_only_nothing_at_all_is_silent(pcm: Pcm, silent: bool) -> None:
    assert span_of(pcm).silent is silent


def test_no_audio_is_silent() -> None:
    assert SpeechSpan().silent
    assert SpeechSpan().bounds() == (0, 0)


def test_a_pause_begins_a_fifth_of_a_second_after_speech_and_ends_with_more() -> None:
    span = SpeechSpan()
    pauses = []
    for part in (
        np.concatenate([silence(300), said("what time is it")]),
        silence(140),
        silence(100),
        silence(400),
        said("now"),
        silence(400),
    ):
        span.push(part)
        pauses.append(span.pause)
    assert pauses[:2] == [None, None]
    assert pauses[2] is not None
    assert pauses[3] == pauses[2]
    assert pauses[4] is None
    assert pauses[5] is not None
    assert pauses[5] > pauses[2]


@given(st.lists(st.integers(0, 3000), max_size=20))
def test_it_does_not_matter_how_the_audio_is_cut(sizes: list[int]) -> None:
    pcm = utterance("what time is it")
    whole, cut = span_of(pcm), SpeechSpan()
    start = 0
    for size in [*sizes, pcm.size]:
        cut.push(pcm[start : start + size])
        start += size
    assert cut.bounds() == whole.bounds()
    assert cut.pause == whole.pause


def test_bounds_are_inside_the_audio() -> None:
    for size in (1, FRAME - 1, FRAME, 10 * FRAME + 1):
        first, last = span_of(noise(1000, 5000)[:size]).bounds()
        assert 0 <= first <= last <= size


@given(st.integers(0, 300 * RATE))
def test_pieces_are_the_whole_audio_and_short_enough_to_let_others_in(samples: int) -> None:
    pcm = np.zeros(samples, np.int16)
    parts = pieces(pcm)
    assert sum(part.size for part in parts) == samples
    if samples <= LONGEST_WHOLE_S * RATE:
        assert len(parts) == 1
    else:
        assert all(2.5 * RATE <= part.size <= 7 * RATE + FRAME for part in parts)


def test_a_long_utterance_is_cut_in_its_pauses() -> None:
    words = np.full(int(5.5 * RATE), 5000, np.int16)
    pcm = np.concatenate([words, silence(400)] * 3)
    ends = np.cumsum([part.size for part in pieces(pcm)])[:-1]
    assert len(ends) == 2
    for number, end in enumerate(ends, 1):
        pause_ends = number * (words.size + silence(400).size)
        assert pause_ends - silence(400).size < end < pause_ends
