"""The assistant's own words, come back through the microphone."""

import pytest

from mimi_mqtt.voice.turn.echo_guard import EchoGuard

REPLY = "😊 The weather is fine today. It will rain tomorrow, they say."


def guard(said: str = REPLY) -> EchoGuard:
    made = EchoGuard()
    made.said(said, 100.0)
    return made


@pytest.mark.parametrize(
    "heard", ["It will rain tomorrow, they say", "will rain tomorrow say", "rain tomorrow they say."]
)
def test_the_end_of_the_reply_come_back_is_an_echo(heard: str) -> None:
    assert guard().repeats(heard, 100.3)


@pytest.mark.parametrize(
    "heard", ["yes", "Tomorrow?", "they say", "no thanks", "will it be cold tomorrow then"]
)
def test_an_answer_is_no_echo(heard: str) -> None:
    assert not guard().repeats(heard, 100.3)


def test_later_the_same_words_are_the_speakers_own() -> None:
    assert not guard().repeats("It will rain tomorrow, they say", 102.1)


def test_the_answer_to_a_question_may_repeat_its_words() -> None:
    asked = guard("Shall I turn on the kitchen light?")
    assert not asked.repeats("turn on the kitchen light", 100.9)
    assert asked.repeats("turn on the kitchen light", 100.2)


def test_nothing_is_an_echo_before_anything_was_said() -> None:
    assert not EchoGuard().repeats("It will rain tomorrow", 0.0)
