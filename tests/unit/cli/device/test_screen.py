"""The simulated device's screen: what it takes, keeps, and can't show."""

import json
from typing import Any

import pytest

from mimi_mqtt.cli.device.actions import Action, GlyphsPushed, GlyphsRefused, Heard, Sentence, Unreadable
from mimi_mqtt.cli.device.firmware import Firmware
from mimi_mqtt.cli.device.profiles import PROFILES
from mimi_mqtt.cli.device.screen import Screen, picture
from mimi_mqtt.wire.glyphs import Glyph, GlyphPush, TextFont
from mimi_mqtt.wire.messages import Stt, Tts, encode

FONT = TextFont("noto-v1", "basic", 20, 4)
GLYPH = Glyph(ord("Ж"), 205, 2, 2, 1, 0, bytes.fromhex("0f8f"))


def push(*glyphs: Glyph, font: TextFont = FONT) -> dict[str, Any]:
    return {"glyph_push": json.loads(GlyphPush(font, glyphs).json)}


def test_glyphs_make_a_text_readable_for_good() -> None:
    screen = Screen(FONT)
    assert screen.show("a Ж", {}) == [Unreadable("Ж")]
    assert screen.show("a Ж", push(GLYPH)) == [GlyphsPushed((GLYPH,), 4)]
    assert screen.show("ЖЖ", {}) == []


def test_glyphs_of_another_font_are_refused_and_the_text_is_shown() -> None:
    refused, boxes = Screen(FONT).show("Ж", push(GLYPH, font=TextFont("noto-v1", "basic", 16, 4)))
    assert isinstance(refused, GlyphsRefused)
    assert "16" in refused.reason
    assert boxes == Unreadable("Ж")


def test_the_oldest_glyphs_are_dropped() -> None:
    screen = Screen(FONT)
    glyphs = [Glyph(0x4E00 + index, 320, 2, 2, 0, 0, bytes(2)) for index in range(300)]
    for first in range(0, 300, 50):
        screen.show("", push(*glyphs[first : first + 50]))
    assert screen.show(chr(0x4E00 + 299) + chr(0x4E00 + 44), {}) == []
    assert screen.show(chr(0x4E00 + 43), {}) == [Unreadable(chr(0x4E00 + 43))]


def test_a_device_without_glyphs_has_no_boxes_to_tell_of() -> None:
    assert Screen(None).show("Ж", push(GLYPH)) == []


@pytest.mark.parametrize("carrier", [Stt, lambda *parts: Tts("sentence_start", *parts)])
def test_glyphs_come_with_texts_and_ahead_of_them(carrier: Any) -> None:
    device = Firmware(font=FONT)

    def says(text: str, *glyphs: Glyph) -> list[Action]:
        message = carrier(text, GlyphPush(FONT, glyphs)) if glyphs else carrier(text)
        return device.control(encode(message), 0.0)

    assert says("", GLYPH) == [GlyphsPushed((GLYPH,), 4)]
    shown = Heard if carrier is Stt else Sentence
    assert says("Ж") == [shown("Ж")]
    assert says("Ы") == [Unreadable("Ы"), shown("Ы")]


def test_only_the_firmware_that_takes_glyphs_tells_its_font() -> None:
    for name, profile in PROFILES.items():
        (hello,) = Firmware(profile=profile).open_channel(0.0)
        told = json.loads(getattr(hello, "payload", b"null"))
        assert told["features"].get("glyph_push", False) == ("text_font" in told) == (name == "stock-2.5")


def test_a_picture_of_letters() -> None:
    assert picture(GLYPH, 4) == [" @", "=@"]
    assert picture(Glyph(65, 16, 3, 1, 0, 0, b"\xa0"), 1) == ["@ @"]
    assert picture(Glyph(65, 16, 0, 0, 0, 0, b""), 8) == []
