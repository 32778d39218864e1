"""Text before espeak-ng reads it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.offline.espeak_text import (
    MAX_CHARS,
    pieces,
    readable,
    reading_language,
    runs,
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("It is 4:25, 21 °C and 50 %.", "It is 4:25, 21 °C and 50 %."),
        ("a < b and b > c", "a < b and b > c"),
        ("# Title\n- one", "Title - one"),
        ("we are #1", "we are #1"),
        ("see https://www.example.com/a?b=c now", "see example.com now"),
        ("Tiếng Việt đẹp", "Tiếng Việt đẹp"),
        ("नमस्ते", "नमस्ते"),
        ("1\ufe0f\u20e3 👍🏽 👨\u200d👩\u200d👧 🇻🇳 ok", "1 ok"),
        ("\u202eabc\u202c", "abc"),
    ],
)
def test_what_can_be_spoken_is_kept(text: str, clean: str) -> None:
    assert readable(text) == clean


@given(st.text(max_size=200))
def test_no_control_character_or_line_break_is_left(text: str) -> None:
    clean = readable(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") for character in clean)
    assert clean == clean.strip()
    assert not clean or any(character.isalnum() for character in clean)


def test_an_endless_text_is_bounded() -> None:
    assert len(readable("word " * MAX_CHARS)) <= MAX_CHARS


@given(st.text(alphabet="ab .,!?。，", max_size=3000))
def test_pieces_are_short_and_lose_nothing(text: str) -> None:
    cut = list(pieces(text))
    assert "".join(cut) == text
    assert all(0 < len(piece) <= 400 for piece in cut)


def test_pieces_end_between_words() -> None:
    for piece in list(pieces("some words " * 200))[:-1]:
        assert piece.endswith(" ")


@pytest.mark.parametrize(
    ("text", "language", "reader"),
    [
        ("Hello", "en", "en"),
        ("Hello", "en-us", "en-us"),
        ("Hello", "ru", "en"),
        ("Hello", "zh-cn", "en"),
        ("Привет", "en", "ru"),
        ("Привіт", "uk", "uk"),
        ("Добър ден", "bg", "bg"),
        ("你好", "en", "zh"),
        ("你好", "zh-tw", "zh-tw"),
        ("早晨", "yue", "yue"),
        ("日本", "ja", "ja"),
        ("これは日本", "zh", "ja"),
        ("안녕", "en", "ko"),
        ("Xin chào bạn", "en", "vi"),
        ("The volume is forty", "vi", "en"),
        ("Xin chao", "vi", "vi"),
        ("Guten Tag", "de", "de"),
        ("مرحبا", "en", "ar"),
        ("سلام", "fa", "fa"),
        ("42", "ru", "ru"),
    ],
)
def test_a_voice_that_knows_the_script_reads(text: str, language: str, reader: str) -> None:
    assert reading_language(text, language) == reader


@pytest.mark.parametrize(
    ("text", "language", "parts"),
    [
        ("In Japanese it is おはよう!", "en", [("en", "In Japanese it is "), ("ja", "おはよう!")]),
        ("日本語 OK です", "ja", [("ja", "日本語 "), ("en", "OK "), ("ja", "です")]),
        ("播放 Queen 的歌", "zh-tw", [("zh-tw", "播放 "), ("en", "Queen "), ("zh-tw", "的歌")]),
        ("Он сказал: hello, 5 раз", "ru", [("ru", "Он сказал: "), ("en", "hello, 5 "), ("ru", "раз")]),
        ("«Привет» heißt hallo", "de", [("ru", "«Привет» "), ("de", "heißt hallo")]),
        ("안녕은 你好 입니다", "ko", [("ko", "안녕은 "), ("zh", "你好 "), ("ko", "입니다")]),
        ("漢字とかな", "en", [("ja", "漢字とかな")]),
        ("Đà Nẵng 你好", "zh", [("vi", "Đà Nẵng "), ("zh", "你好")]),
        ("12:30", "vi", [("vi", "12:30")]),
        ("", "en", []),
    ],
)
def test_each_script_has_its_reader(text: str, language: str, parts: list[tuple[str, str]]) -> None:
    assert list(runs(text, language)) == parts


@given(st.text(max_size=60), st.sampled_from(["en", "ja", "zh", "ko", "ru", "vi"]))
def test_runs_lose_nothing(text: str, language: str) -> None:
    assert "".join(run for _, run in runs(text, language)) == text
