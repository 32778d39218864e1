"""Words compared and joined, in scripts with and without spaces."""

from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.voice.language.words import join, resembles


def test_words_strewn_over_a_long_reply_are_a_coincidence() -> None:
    said = "The light in the hall is on and the one in the kitchen is off but I can turn the other one on"
    assert not resembles("the kitchen light on", said)


def test_languages_without_spaces_are_compared_by_characters() -> None:
    assert resembles("明天会下雨吧", "今天天气很好，明天会下雨。")
    assert not resembles("好的", "今天天气很好的")


@given(st.text(), st.text())
def test_any_text_is_judged(heard: str, said: str) -> None:
    assert resembles(heard, said) in (True, False)


def test_parts_are_joined_as_their_language_is_written() -> None:
    assert join("turn on", "the light") == "turn on the light"
    assert join("把灯", "打开") == "把灯打开"
    assert join("把灯。", "打开") == "把灯。打开"
    assert join("", "the light") == "the light"
    assert join("turn on", "") == "turn on"
