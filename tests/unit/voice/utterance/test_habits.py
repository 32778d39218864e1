"""Habits of a device's speaker, remembered between sessions."""

import gc
import weakref

import pytest

from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.voice.utterance.endpointing import Spoken
from mimi_mqtt.voice.utterance.habits import MAX_DEVICES, HabitsCache, SpeakerHabits

VOICE = VoiceSettings()


def english() -> str:
    return "en"


def waits(habits: SpeakerHabits, text: str = "turn on the light") -> float:
    return habits.end_silence_ms(Spoken(text, whole=True), 300.0)


@pytest.fixture(name="cache")
def _cache() -> HabitsCache:
    return HabitsCache()


def test_a_device_that_comes_back_is_answered_as_soon_as_before(cache: HabitsCache) -> None:
    habits = cache.take("kitchen", VOICE, english)
    new_ms = waits(habits)
    for _ in range(12):
        habits.ended()
    learned_ms = waits(habits)
    assert learned_ms < new_ms
    cache.keep("kitchen", habits)
    assert waits(cache.take("kitchen", VOICE, english)) == learned_ms
    assert waits(cache.take("bedroom", VOICE, english)) == new_ms


def test_two_sessions_of_a_device_at_once_do_not_share(cache: HabitsCache) -> None:
    cache.keep("kitchen", cache.take("kitchen", VOICE, english))
    assert cache.take("kitchen", VOICE, english) is not cache.take("kitchen", VOICE, english)


def test_habits_under_other_settings_are_not_used_again(cache: HabitsCache) -> None:
    habits = cache.take("kitchen", VOICE, english)
    cache.keep("kitchen", habits)
    other = VOICE.model_copy(update={"end_silence_ms": VOICE.end_silence_ms + 300})
    assert cache.take("kitchen", other, english) is not habits


def test_one_noisy_utterance_does_not_outweigh_the_next_ones(cache: HabitsCache) -> None:
    habits = cache.take("kitchen", VOICE, english)
    for _ in range(100):
        habits.paused(400.0)
    habits.ended()
    noisy_ms = waits(habits)
    for _ in range(12):
        habits.ended()
    assert waits(habits) < noisy_ms


def test_nothing_is_kept_of_a_device_without_id(cache: HabitsCache) -> None:
    habits = cache.take("", VOICE, english)
    cache.keep("", habits)
    assert cache.take("", VOICE, english) is not habits


def test_devices_are_bounded(cache: HabitsCache) -> None:
    first = cache.take("0", VOICE, english)
    cache.keep("0", first)
    for number in range(1, MAX_DEVICES + 1):
        cache.keep(str(number), cache.take(str(number), VOICE, english))
    assert cache.take("0", VOICE, english) is not first


def test_the_language_is_that_of_the_present_conversation(cache: HabitsCache) -> None:
    habits = cache.take("kitchen", VOICE, english)
    assert waits(habits, "que horas são") > 400
    habits.ended()
    cache.keep("kitchen", habits)
    assert waits(cache.take("kitchen", VOICE, lambda: "pt"), "que horas são") < 300


def test_kept_habits_hold_no_conversation(cache: HabitsCache) -> None:
    class Conversation:
        def language(self) -> str:
            return "en"

    conversation = Conversation()
    gone = weakref.ref(conversation)
    cache.keep("kitchen", cache.take("kitchen", VOICE, conversation.language))
    del conversation
    gc.collect()
    assert gone() is None
