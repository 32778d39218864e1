"""Sentences for a timer that is due, in ten languages."""

import pytest

from mimi_mqtt.providers.durations import spoken_duration
from mimi_mqtt.tools.builtin.timer_texts import LANGUAGES, due_sentence, missed_sentence


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_timer_is_told_by_its_name_or_its_duration(language: str) -> None:
    assert "Pasta" in due_sentence(language, "Pasta", 300)
    assert spoken_duration(300, language) in due_sentence(language, "", 300)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_missed_timer_is_told_with_the_time_since(language: str) -> None:
    for label in ("", "Pasta"):
        sentence = missed_sentence(language, label, 300, 7_200)
        assert spoken_duration(7_200, language) in sentence
        assert (label or spoken_duration(300, language)) in sentence


def test_the_language_of_a_region_is_that_of_the_language() -> None:
    assert due_sentence("de-AT", "", 60) == "Dein Timer für 1 Minute ist abgelaufen."


def test_other_languages_are_told_in_english() -> None:
    assert due_sentence("it", "pasta", 60) == "Your pasta timer is done."
    assert due_sentence("it", "7:30 am alarm", 60) == "Your 7:30 am alarm is done."
