"""Which of Whisper's words somebody has said."""

import math
from types import SimpleNamespace

import pytest

from mimi_mqtt.providers.vendors.whisper.segments import Segment, segments_of, spoken


@pytest.mark.parametrize(
    ("no_speech", "sure", "compression", "invented"),
    [
        (0.01, -0.2, 0.9, False),  # clearly spoken
        (0.01, -1.2, 0.9, False),  # spoken, hard to understand
        (0.01, -1.7, 0.9, True),  # breath, taken for "I'm sorry."
        (0.7, -0.2, 0.9, False),  # quiet, yet the words are likely
        (0.7, -0.8, 0.9, True),  # noise, made into words
        (0.95, -0.2, 0.7, True),  # "Thank you." of nothing
        (0.01, -0.1, 8.0, True),  # one word over and over
        (math.nan, math.nan, math.nan, False),
    ],
)
def test_what_is_invented_by_its_measures(
    no_speech: float, sure: float, compression: float, invented: bool
) -> None:
    segment = Segment(text="x", no_speech_prob=no_speech, avg_logprob=sure, compression_ratio=compression)
    assert segment.invented is invented
    assert [*spoken([segment])] == ([] if invented else [segment])


def test_segments_are_read_from_objects_and_from_json() -> None:
    wanted = [Segment(text="a", no_speech_prob=0.5)]
    assert segments_of([SimpleNamespace(text="a", no_speech_prob=0.5, tokens=[1])]) == wanted
    assert segments_of([{"text": "a", "no_speech_prob": 0.5, "tokens": [1]}]) == wanted


@pytest.mark.parametrize("told", [None, "x", {"text": "a"}, [None], [{"no_speech_prob": "?"}], [3]])
def test_what_makes_no_sense_is_no_segment(told: object) -> None:
    assert not segments_of(told)
