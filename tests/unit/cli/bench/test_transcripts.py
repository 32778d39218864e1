"""The pauses at which a real recogniser is asked in `bench turns`."""

import numpy as np

from mimi_mqtt.cli.bench._corpus import FRAME, FRAME_MS, Utterance
from mimi_mqtt.cli.bench._endpoints import bounds
from mimi_mqtt.cli.bench._recognisers import Heard
from mimi_mqtt.cli.bench._transcripts import pauses
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.voice.answer.pipeline.preemptive import MAX_PREEMPTIVE_REPLIES

_BOUNDS = bounds(VoiceSettings(preemptive_silence_ms=180, min_speech_ms=120, preroll_ms=60))


def _probabilities(pattern: str) -> list[float]:
    return [float(sign == "x") for sign in pattern]


def test_it_is_asked_at_each_pause_with_all_that_was_heard() -> None:
    pattern = "..xxxx...xx....xx.."
    pcm = np.repeat(np.arange(len(pattern)), FRAME).astype(np.int16)
    found = pauses(_BOUNDS, pcm, _probabilities(pattern))
    assert [frame for frame, _ in found] == [9, 14]
    for frame, heard in found:
        assert heard[-1] == frame - 1
        assert 0 <= heard[0] <= 1
        assert np.array_equal(np.unique(heard), np.arange(heard[0], frame))


def test_it_is_asked_no_more_often_than_by_the_server() -> None:
    pattern = "..xxx" + "...xxx" * (MAX_PREEMPTIVE_REPLIES + 3)
    pcm = np.zeros(len(pattern) * FRAME, np.int16)
    assert len(pauses(_BOUNDS, pcm, _probabilities(pattern))) == MAX_PREEMPTIVE_REPLIES


def test_its_answer_is_known_once_it_has_been_made() -> None:
    utterance = Utterance(0, "en", np.zeros(FRAME, np.int16), 1.0, False, ())
    asked = Heard(utterance, 0.2, np.random.default_rng(1), {20: "What time is it?"})
    paused_at = 20 * FRAME_MS / 1000
    asked.paused(paused_at)
    assert not asked.spoken(paused_at + 0.01).text
    known = asked.spoken(paused_at + 1.0)
    assert known.text == "What time is it?"
    assert known.whole
    asked.went_on()
    assert not asked.spoken(paused_at + 1.0).text
