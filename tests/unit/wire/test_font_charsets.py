"""Characters that the fonts of devices surely have."""

import pytest

from mimi_mqtt.wire.font_charsets import has


@pytest.mark.parametrize("charset", ["basic", "common", "new", ""])
def test_every_font_has_ascii_and_latin_1(charset: str) -> None:
    assert all(has(charset, character) for character in "Hello, world! 12:30 ~ Grüße, señor, ça va? ÿ")


@pytest.mark.parametrize(
    "text",
    [
        "今天天气怎么样，明天会下雨吗？",
        "実気応広",
        "Привет, как дела?",
        "こんにちは",
        "지금 몇 시예요",
        "ế",
        "؟",
        "สวัสดี",
        "→",
    ],
)
def test_common_has_what_people_write_most(text: str) -> None:
    assert all(has("common", character) for character in text)
    assert not any(has("basic", character) for character in text if character not in ", ?")


@pytest.mark.parametrize(
    "character", ["鱻", "𠮷", "佯", "Ắ", "😀", "뷁", "ぁ", "ヵ", "א", "\ufe0f", "\x07", "\ud800", "\ue000"]
)
def test_what_a_font_may_lack_is_not_told_to_be_there(character: str) -> None:
    assert not has("common", character)
    assert not has("basic", character)


def test_the_common_set_has_the_size_its_source_tells() -> None:
    """6,845 characters, of which 18 are there only for the firmware's translations."""
    assert sum(has("common", chr(codepoint)) for codepoint in range(0x110000)) == 6_845 - 18
