"""Completeness by the last words, where the recogniser punctuates."""

import pytest

from mimi_mqtt.voice.utterance.endpointing.clauses import Clause, clause


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the weather like?", "en"),
        ("Where are you from?", "en"),
        ("What are you thinking about?", "en"),
        ("Who is that for?", "en"),
        ("How old is this?", "en"),
        ("What should we do with her?", "en"),
        ("Do you know where it is?", "en"),
        ("Woher kommst du?", "de"),
        ("Wo kommt der Zug her und wer sind wir?", "de"),
        ("De quoi parles tu?", "fr"),
        ("¿De dónde es?", "es"),
        ("Para onde vai você?", "pt"),
        ("Куда едем мы?", "ru"),
        ("今日の天気は？", "ja"),
        ("お名前は?", "ja"),
        ("電車はどこから？", "ja"),
        ("这是谁的？", "zh"),
        ("他在不在?", "zh"),
        ("이름은?", "ko"),
        ("어디 가?", "ko"),
        ("뭐라고?", "ko"),
        ("Bạn đi với ai là của ai vậy là sao, là gì của?", "vi"),
    ],
)
def test_a_question_mark_makes_a_question_of_words_that_are_usually_not_the_last(
    text: str, language: str
) -> None:
    assert clause(text, language) is Clause.QUESTION


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Do you want the?", "en"),
        ("Is it red or?", "en"),
        ("What about my?", "en"),
        ("What if?", "en"),
        ("Willst du den roten oder?", "de"),
        ("¿Quieres pan y?", "es"),
        ("コーヒーが？", "ja"),
        ("苹果和？", "zh"),
        ("사과와?", "ko"),
    ],
)
def test_no_mark_makes_a_question_of_a_word_that_joins(text: str, language: str) -> None:
    assert clause(text, language) is Clause.UNFINISHED


@pytest.mark.parametrize("text", ["What is the weather like", "Where are you from.", "Tell me about,"])
def test_without_a_question_mark_the_last_word_decides(text: str) -> None:
    assert clause(text, "en") is Clause.UNFINISHED


def test_a_mark_in_the_middle_tells_nothing_of_the_end() -> None:
    assert clause("Are you there? Then turn on the", "en") is Clause.UNFINISHED


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("今日の天気は", "ja"),
        ("お名前は。", "ja"),
        ("这是谁的", "zh"),
        ("이름은.", "ko"),
        ("불을 켜고 어", "ko"),
    ],
)
def test_without_a_question_mark_the_last_particle_decides(text: str, language: str) -> None:
    assert clause(text, language) is Clause.UNFINISHED


@pytest.mark.parametrize("text", ["불이 꺼졌어", "나 집에 왔어.", "숙제 다 했어"])
def test_a_korean_verb_in_the_past_is_no_hesitation(text: str) -> None:
    assert clause(text, "ko") is not Clause.UNFINISHED


@pytest.mark.parametrize("text", ["What is 5 +", "What is 12 ×", "7 *", "What's 3 ="])
def test_a_sum_that_is_written_in_signs_may_be_unfinished(text: str) -> None:
    assert clause(text, "en") is Clause.UNFINISHED


@pytest.mark.parametrize("text", ["What’s the time?", "That’s all."])
def test_an_apostrophe_may_be_of_either_kind(text: str) -> None:
    assert clause(text, "en") is Clause.FINAL
