"""Choice of the characters of a text that glyphs are looked for."""

import pytest

from mimi_mqtt.session.glyphs.choice import MAX_WANTED, is_emoji, is_invisible, wanted


def chosen(text: str, charset: str = "basic") -> str:
    return "".join(map(chr, wanted(text, charset)))


def test_what_the_font_has_is_not_wanted() -> None:
    assert chosen("What is 5 · 3? Grüße!") == ""
    assert chosen("Chào buổi sáng, 鱻!", "common") == "鱻"


def test_the_most_used_come_first_then_the_first() -> None:
    assert chosen("жду же, поля") == "ждуеполя"
    assert chosen("да, дом") == "даом"
    assert chosen("мама") == "ма"


def test_a_character_is_wanted_once() -> None:
    assert chosen("ááắắắ" + "ặ" * 9) == "ặắ"


@pytest.mark.parametrize(
    "character", ["\n", "\x00", "\x7f", "\ud800", "\ue000", "\U000f0000", "\u0378", "\u2028"]
)
def test_what_is_never_drawn_is_not_wanted(character: str) -> None:
    assert chosen(f"a{character}ж") == "ж"


def test_ten_thousand_characters_are_bounded() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 10_000)))
    assert wanted(text, "basic") == list(range(0x4E00, 0x4E00 + MAX_WANTED))


def test_marks_on_marks_are_bounded() -> None:
    zalgo = "".join("a" + "".join(map(chr, range(0x300, 0x370))) for _ in range(500))
    assert len(wanted(zalgo, "basic")) == 0x370 - 0x300


@pytest.mark.parametrize(
    "character", ["\u200d", "\ufe0f", "\u200f", "\u2060", "\U000e0101", "\U000e0062", "\ufeff"]
)
def test_joiners_and_selectors_are_invisible(character: str) -> None:
    assert is_invisible(ord(character))


@pytest.mark.parametrize("character", ["a", "ж", "\u0301", "\u0600", "😀", "\u3000"])
def test_letters_marks_and_signs_are_not(character: str) -> None:
    assert not is_invisible(ord(character))


def test_emoji() -> None:
    assert all(is_emoji(ord(character)) for character in "😀👍🎉☀✂🚀🐶")
    assert not any(is_emoji(ord(character)) for character in "aж鱻→")
