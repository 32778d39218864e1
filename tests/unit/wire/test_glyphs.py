"""Glyphs on the wire: packing, limits, and a device's own checks."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import MessageError
from mimi_mqtt.wire import glyphs
from mimi_mqtt.wire.glyphs import (
    Glyph,
    GlyphPush,
    TextFont,
    bitmap_bytes,
    pack,
    read_glyph_push,
    take_fitting,
)
from mimi_mqtt.wire.messages import Stt, Tts, encode

FONT = TextFont("noto-v1", "common", 20, 4)
GLYPH = Glyph(0x9C7B, 320, 3, 2, -1, -4, bytes.fromhex("f08000"))


def pixels_of(bitmap: bytes, width: int, height: int, bpp: int) -> list[list[int]]:
    """As the contract tells it: pixels follow each other from the most significant bit on, without gaps."""
    stream = "".join(f"{byte:08b}" for byte in bitmap)
    values = [int(stream[at : at + bpp], 2) for at in range(0, width * height * bpp, bpp)]
    return [values[row * width : (row + 1) * width] for row in range(height)]


# ── bitmaps ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("bpp", "bits"),
    [
        (1, "1 1 0 0 1 1  00"),
        (2, "11 10 01 00 10 11  0000"),
        (4, "1111 1010 0101 0000 1000 1111"),
        (8, "11111111 10100000 01010000 00000000 10001111 11110000"),
    ],
)
def test_pixels_follow_each_other_from_the_most_significant_bit_on(bpp: int, bits: str) -> None:
    packed = pack(bytes((0xFF, 0xA0, 0x50, 0x00, 0x8F, 0xF0)), bpp)
    assert "".join(f"{byte:08b}" for byte in packed) == bits.replace(" ", "")


@given(st.sampled_from((1, 2, 4, 8)), st.integers(0, 9), st.integers(0, 9), st.data())
def test_a_bitmap_has_the_exact_length_and_its_pixels(bpp: int, width: int, height: int, data: Any) -> None:
    opacities = data.draw(st.binary(min_size=width * height, max_size=width * height))
    bitmap = pack(opacities, bpp)
    assert len(bitmap) == -(-width * height * bpp // 8) == bitmap_bytes(width, height, bpp)
    flat = [value for row in pixels_of(bitmap, width, height, bpp) for value in row]
    assert flat == [opacity >> (8 - bpp) for opacity in opacities]
    assert glyphs.unpack(bitmap, width, height, bpp) == pixels_of(bitmap, width, height, bpp)


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_push_has_the_fields_of_the_contract() -> None:
    message = json.loads(encode(Stt("鱻", GlyphPush(FONT, (GLYPH,))), "s"))
    assert message == {
        "type": "stt",
        "session_id": "s",
        "text": "鱻",
        "glyph_push": {
            "v": 1, "bundle": "noto-v1", "size": 20, "bpp": 4,
            "glyphs": [{"codepoint": 0x9C7B, "adv_w": 320, "box_w": 3, "box_h": 2, "ofs_x": -1, "ofs_y": -4,
                        "bitmap": base64.b64encode(bytes.fromhex("f08000")).decode()}],
        },
    }  # fmt: skip


def test_glyphs_ahead_of_a_sentence_have_an_empty_text() -> None:
    """Without `text` the firmware ignores the message, and its glyphs."""
    message = json.loads(encode(Tts("sentence_start", "", GlyphPush(FONT, (GLYPH,)))))
    assert message["text"] == ""
    assert "text" not in json.loads(encode(Tts("start")))


def test_a_bundle_with_quotes_stays_one_string() -> None:
    font = replace(FONT, bundle='a"b\\c')
    assert json.loads(encode(Stt("x", GlyphPush(font, ()))))["glyph_push"]["bundle"] == 'a"b\\c'


def test_a_message_takes_64_glyphs_64_kib_of_bitmaps_and_what_fits() -> None:
    small = [replace(GLYPH, codepoint=0x4E00 + index) for index in range(70)]
    assert take_fitting(small, 1_000_000) == small[:64]
    large = [Glyph(0x4E00 + index, 1024, 64, 64, 0, 0, bytes(4096)) for index in range(20)]
    assert len(take_fitting(large, 1_000_000)) == 16
    mixed = [small[0], large[0], small[1]]
    room = len(small[0].json) + len(small[1].json) + 2
    assert take_fitting(mixed, room) == [small[0], small[1]]
    assert take_fitting(mixed, room - 1) == [small[0]]
    assert take_fitting(mixed, -5) == []


# ── the device ───────────────────────────────────────────────────────────────────────────────────────────


def pushed(**changes: Any) -> dict[str, Any]:
    push = json.loads(GlyphPush(FONT, (GLYPH,)).json)
    head = {name: value for name, value in changes.items() if name in push}
    push["glyphs"][0] |= {name: value for name, value in changes.items() if name not in push}
    return dict(push | head)


def test_a_device_reads_what_was_written() -> None:
    assert read_glyph_push(pushed(), FONT) == (GLYPH,)
    assert read_glyph_push(pushed(box_w=0, bitmap=""), FONT)[0].bitmap == b""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"v": 2}, "v 2"), ({"v": True}, "v True"), ({"bundle": "noto-v2"}, "noto-v2"),
        ({"size": 16}, "size 16"),
        ({"bpp": 1}, "bpp 1"), ({"glyphs": {}}, "list"), ({"glyphs": [7]}, "object"),
        ({"glyphs": [{}] * 65}, "64"),
        ({"codepoint": 0}, "codepoint"), ({"codepoint": 0x110000}, "codepoint"),
        ({"codepoint": "x"}, "codepoint"),
        ({"adv_w": -1}, "adv_w"), ({"adv_w": 1.5}, "adv_w"), ({"box_w": 65}, "box_w"),
        ({"box_h": -1}, "box_h"),
        ({"ofs_x": 40_000}, "ofs_x"), ({"ofs_y": None}, "ofs_y"), ({"ofs_y": True}, "ofs_y"),
        ({"bitmap": 5}, "3 bytes"), ({"bitmap": "A" * 100}, "3 bytes"), ({"bitmap": "8IA="}, "2 bytes"),
        ({"bitmap": "8I*A"}, "base64"), ({"bitmap": "é"}, "base64"), ({"box_w": 4}, "bytes"),
    ],
)  # fmt: skip
def test_a_device_refuses_all_glyphs_of_a_message_for_one_fault(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(MessageError, match=named):
        read_glyph_push(pushed(**changes), FONT)


def test_a_device_refuses_more_than_64_kib_of_bitmaps() -> None:
    font = replace(FONT, bpp=8)
    large = tuple(Glyph(0x4E00 + index, 1024, 64, 64, 0, 0, bytes(4096)) for index in range(17))
    with pytest.raises(MessageError, match="65536"):
        read_glyph_push(json.loads(GlyphPush(font, large).json), font)
    assert len(read_glyph_push(json.loads(GlyphPush(font, large[:16]).json), font)) == 16


# ── text_font ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0}, {"size": 10_000}, {"size": 20.0}, {"size": True}, {"size": "20"}, {"bpp": 3},
        {"bpp": 16},
        {"bpp": None}, {"bundle": "x" * 1_000_000}, {"bundle": ""}, {"bundle": 7}, {"bundle": "a\nb"},
        {"charset": "\ud800"}, {"charset": ["common"]},
    ],
)  # fmt: skip
def test_a_font_that_can_not_be_is_none(changes: dict[str, Any]) -> None:
    right = {"bundle": "noto-v1", "charset": "common", "size": 20, "bpp": 4}
    assert glyphs.read_text_font(right) == FONT
    assert glyphs.read_text_font(right | changes) is None
