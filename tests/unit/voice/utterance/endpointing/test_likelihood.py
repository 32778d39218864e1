"""The silence that follows the odds: words, this speaker's pauses, the silence itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.voice.utterance.endpointing import Spoken
from mimi_mqtt.voice.utterance.endpointing.adaptive import Pauses
from mimi_mqtt.voice.utterance.endpointing.likelihood import LikelyEnd

NORMAL_MS = 700.0
LONGEST_MS = 1.5 * NORMAL_MS
SETTLED_MS = 300.0
"""Silence after which words are believed, with a recogniser of which nothing is known yet."""


def end(language: str = "en") -> LikelyEnd:
    return LikelyEnd(NORMAL_MS, lambda: language)


def waits(strategy: LikelyEnd, text: str = "", *, whole: bool = False, after_ms: float = SETTLED_MS) -> float:
    return strategy.end_silence_ms(Spoken(text, whole=whole), after_ms)


def test_nothing_known_is_the_configured_silence() -> None:
    assert waits(end()) == NORMAL_MS
    assert waits(end(), "light") == pytest.approx(NORMAL_MS)


def test_without_words_the_pauses_decide() -> None:
    silent, pauses = end(), Pauses(NORMAL_MS)
    for pause_ms in (200, 250, 300, 220):
        silent.paused(pause_ms)
        pauses.add(pause_ms)
        assert waits(silent) == pauses.end_silence_ms


def test_the_surer_the_words_the_shorter_the_wait() -> None:
    texts = ("turn on the light in the", "light", "turn on the light", "where is the light", "thank you")
    waited = [waits(end(), text) for text in texts]
    assert waited == sorted(waited, reverse=True)
    assert waited[0] == LONGEST_MS
    assert waited[-1] < 250


def test_a_speaker_with_short_pauses_is_answered_sooner_and_one_with_long_ones_later() -> None:
    quick, slow = end(), end()
    for _ in range(8):
        quick.paused(200)
        quick.ended()
        slow.paused(700)
        slow.ended()
    assert waits(quick, "light") < NORMAL_MS * 0.7
    assert waits(slow, "light") > NORMAL_MS * 1.2


def test_a_speaker_who_goes_on_not_pausing_is_answered_sooner_and_sooner() -> None:
    fluent = end()
    waited = []
    for _ in range(5):
        waited.append(waits(fluent, "turn on the light"))
        for _ in range(4):
            fluent.ended()
    assert waited == sorted(waited, reverse=True)
    assert len(set(waited)) == len(waited)
    assert waited[-1] < 0.6 * waited[0]


def test_a_speaker_who_begins_to_pause_after_many_utterances_is_soon_waited_for() -> None:
    lately, always = end(), end()
    for _ in range(500):
        lately.ended()
    fluent_ms = waits(lately, "turn on the light")
    for _ in range(10):
        lately.paused(500)
        lately.ended()
    for _ in range(500):
        always.paused(500)
        always.ended()
    waited = waits(lately, "turn on the light")
    assert waited > 1.5 * fluent_ms
    assert waited > 0.8 * waits(always, "turn on the light")


def test_a_speaker_who_never_pauses_is_answered_sooner() -> None:
    fluent = end()
    for _ in range(8):
        fluent.ended()
    assert waits(fluent, "light") < NORMAL_MS


def test_words_that_may_still_be_on_their_way_are_waited_for() -> None:
    strategy = end()
    assert waits(strategy, "thank you", after_ms=180) == LONGEST_MS
    assert waits(strategy, "thank you", after_ms=240) < 250


def test_words_that_are_the_whole_are_believed_at_once() -> None:
    assert waits(end(), "thank you", whole=True, after_ms=180) < 250


def test_how_late_the_words_come_is_learnt() -> None:
    late = end()
    waits(late, "thank", after_ms=60)
    waits(late, "thank you", after_ms=480)
    late.paused(600)
    assert waits(late, "thank you", after_ms=420) == LONGEST_MS
    assert waits(late, "thank you", after_ms=480) < 250
    for _ in range(30):
        waits(late, "stop", after_ms=60)
        waits(late, "stop it", after_ms=120)
        late.ended()
    assert waits(late, "thank you", after_ms=240) < 250


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 60_000)), max_size=60),
    st.text(max_size=20),
    st.floats(200, 5_000),
    st.floats(0, 60_000),
)
def test_the_wait_is_bounded_whatever_was_learnt(
    heard: list[float | None], text: str, normal: float, after_ms: float
) -> None:
    strategy = LikelyEnd(normal, lambda: "en")
    for pause_ms in heard:
        if pause_ms is None:
            strategy.ended()
        else:
            strategy.paused(pause_ms)
    assert 180 <= strategy.end_silence_ms(Spoken(text), after_ms) <= 1.5 * normal
