"""Sentences for what is due, in ten languages."""

from datetime import datetime

import pytest

from mimi_mqtt.providers.durations import spoken_duration
from mimi_mqtt.store.reminders import Kind, ReminderRecord
from mimi_mqtt.tools.reminders.texts import LANGUAGES, clock_time, sentence
from tests.fakes.reminders import NOW

AT = datetime(2026, 11, 27, 19, 30)


def record(kind: Kind, text: str = "", duration_s: int = 0) -> ReminderRecord:
    return ReminderRecord("1", "d", kind, text, NOW, NOW, 60, duration_s=duration_s)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_timer_is_told_by_its_name_or_its_duration(language: str) -> None:
    assert "Pasta" in sentence(record("timer", "Pasta", 300), language, None)
    assert spoken_duration(300, language) in sentence(record("timer", duration_s=300), language, None)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("text", ["", "Pasta"])
def test_what_was_missed_is_told_with_its_time_and_the_time_since(language: str, text: str) -> None:
    told = sentence(record("timer", text, 300), language, None, 7_200)
    assert spoken_duration(7_200, language) in told
    assert (text or spoken_duration(300, language)) in told
    told = sentence(record("alarm", text), language, AT, 1_210)
    assert spoken_duration(1_200, language) in told
    assert clock_time(AT.time(), language) in told
    assert text in told


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reminder_is_told_by_its_text(language: str) -> None:
    due = sentence(record("reminder", "Mum."), language, AT)
    assert "Mum" in due
    assert due.count(".") + due.count("。") <= 2
    missed = sentence(record("reminder", "Mum"), language, AT, 3 * 86_400)
    assert "Mum" in missed
    assert "3" in missed
    assert clock_time(AT.time(), language) in missed


def test_no_two_languages_say_the_same() -> None:
    told = {sentence(record("alarm"), language, AT) for language in LANGUAGES}
    assert len(told) == len(LANGUAGES) == 10


def test_english() -> None:
    assert sentence(record("timer", "tea", 60), "en", None) == "Your tea timer is done."
    assert sentence(record("alarm"), "en", AT) == "It is 7:30 pm. This is your alarm."
    assert sentence(record("alarm"), "en-GB", AT, 1_200) == "Your 7:30 pm alarm was due 20 minutes ago."
    assert sentence(record("reminder", "call mum"), "en", AT) == "Reminder: call mum."


def test_the_language_of_a_region_is_that_of_the_language() -> None:
    assert sentence(record("timer", "", 60), "de-AT", None) == "Dein Timer für 1 Minute ist abgelaufen."


def test_other_languages_are_told_in_english() -> None:
    assert sentence(record("timer", "pasta", 60), "it", None) == "Your pasta timer is done."
    assert sentence(record("timer", "egg timer", 60), "it", None) == "Your egg timer is done."
