"""Glyphs in messages: once, within every limit, the text's own message last."""

import json
import string
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from mimi_mqtt.session.glyphs.push import MAX_DEVICES, MAX_MESSAGES, GlyphPusher, TextGlyphs
from mimi_mqtt.session.glyphs.source import GlyphSource
from mimi_mqtt.wire.glyphs import TextFont, read_glyph_push
from mimi_mqtt.wire.messages import AudioParams, DeviceHello, Stt, Tts, encode
from tests.unit.session.glyphs.conftest import FONT, source_of

HELLO = DeviceHello(3, "udp", AudioParams(), glyph_push=True, text_font=FONT)
WIFI, CELLULAR = 8_000, 2_000


@pytest.fixture
async def source(font_path: Path) -> AsyncIterator[GlyphSource]:
    made = source_of(font_path)
    made.warm()
    await made.settled()
    yield made
    made.close()


@pytest.fixture
def pusher(source: GlyphSource) -> GlyphPusher:
    return GlyphPusher(source)


def session(
    pusher: GlyphPusher,
    *,
    keeps: bool = True,
    device: str = "d",
    font: TextFont | None = FONT,
    tester: bool = False,
) -> TextGlyphs:
    made = pusher.session(device, replace(HELLO, text_font=font), keeps=keeps, tester=tester)
    assert made is not None
    return made


def sent(glyphs: TextGlyphs, message: Stt | Tts, most: int = WIFI) -> list[dict[str, Any]]:
    payloads = glyphs.messages(message, "s1", most)
    assert all(len(payload) <= most for payload in payloads)
    return [json.loads(payload) for payload in payloads]


def characters(message: dict[str, Any], font: TextFont = FONT) -> str:
    push = message.get("glyph_push")
    return "".join(chr(glyph.codepoint) for glyph in read_glyph_push(push, font)) if push else ""


def test_a_text_that_the_font_has_is_sent_as_ever(pusher: GlyphPusher) -> None:
    assert sent(session(pusher), Stt("Hello!")) == [{"type": "stt", "session_id": "s1", "text": "Hello!"}]


def test_a_character_is_sent_once_with_the_text(pusher: GlyphPusher) -> None:
    glyphs = session(pusher)
    (first,) = sent(glyphs, Stt("a Ж?"))
    assert (first["text"], characters(first)) == ("a Ж?", "Ж")
    (second,) = sent(glyphs, Tts("sentence_start", "Ж, ế!"))
    assert (second["state"], second["text"], characters(second)) == ("sentence_start", "Ж, ế!", "ế")
    assert "glyph_push" not in sent(glyphs, Stt("Жế"))[0]


def test_a_device_is_remembered_between_its_sessions(pusher: GlyphPusher) -> None:
    sent(session(pusher), Stt("Ж"))
    assert characters(sent(session(pusher), Stt("Ж"))[0]) == ""
    assert characters(sent(session(pusher, device="other"), Stt("Ж"))[0]) == "Ж"


def test_a_device_that_started_anew_is_sent_them_again(pusher: GlyphPusher) -> None:
    running = session(pusher)
    sent(running, Stt("Ж"))
    pusher.forget("d")
    pusher.forget("never seen")
    assert characters(sent(running, Stt("Ж"))[0]) == "Ж"


def test_another_font_of_the_device_has_none_of_them(pusher: GlyphPusher) -> None:
    sent(session(pusher), Stt("Ж"))
    for change in ({"bundle": "noto-v2"}, {"size": 30}, {"bpp": 1}, {"charset": "none"}):
        font = replace(FONT, **change)
        assert characters(sent(session(pusher, font=font), Stt("Ж"))[0], font) == "Ж"


def test_what_a_tester_is_sent_the_device_has_not(pusher: GlyphPusher) -> None:
    sent(session(pusher, tester=True), Stt("Ж"))
    assert characters(sent(session(pusher), Stt("Ж"))[0]) == "Ж"


def test_a_device_without_external_memory_is_sent_them_with_each_text_and_none_ahead(
    pusher: GlyphPusher,
) -> None:
    glyphs = session(pusher, keeps=False)
    for _ in range(2):
        assert characters(sent(glyphs, Stt("Ж"))[0]) == "Ж"
    han = "".join(map(chr, range(0x4E00, 0x4E00 + 60)))
    (only,) = sent(glyphs, Stt(han))
    assert only["text"] == han
    assert han.startswith(characters(only))
    assert 10 < len(characters(only)) < 60


@pytest.mark.parametrize("most", [WIFI, CELLULAR])
@pytest.mark.parametrize("make", [Stt, lambda text: Tts("sentence_start", text)])
def test_what_does_not_fit_goes_ahead_with_an_empty_text(pusher: GlyphPusher, most: int, make: Any) -> None:
    han = "".join(map(chr, range(0x4E00, 0x4E00 + 40)))
    *ahead, own = sent(session(pusher), make(han), most)
    assert own["text"] == han
    assert 1 <= len(ahead) <= MAX_MESSAGES - 1
    assert all(message["text"] == "" and message["type"] == own["type"] for message in ahead)
    assert all(message.get("state") == own.get("state") for message in ahead)
    received = characters(own) + "".join(map(characters, ahead))
    assert len(set(received)) == len(received)
    assert received == han[: len(received)]  # the first of the text are in its own message
    if most == WIFI:
        assert received == han


@pytest.mark.parametrize("most", [WIFI, CELLULAR])
@pytest.mark.parametrize("spare", [-1, 0, 100, 1_200, 5_000, 9_000, 1_000_000])
@pytest.mark.parametrize("text", ["", "short "])
def test_glyphs_add_no_more_than_the_spare_bytes(
    pusher: GlyphPusher, spare: int, most: int, text: str
) -> None:
    text += "".join(map(chr, range(0x4E00, 0x4E00 + 60)))
    plain = len(encode(Stt(text), "s1"))
    payloads = session(pusher).messages(Stt(text), "s1", most, spare)
    assert all(len(payload) <= most for payload in payloads)
    total = sum(map(len, payloads))
    assert plain <= total <= min(plain + max(0, spare), 16_000)
    assert (total > plain) == (spare >= 1_200)
    if 1_200 <= spare <= 5_000:
        assert total > plain + spare - 800  # it is used


def test_what_was_left_out_comes_with_the_next_text(pusher: GlyphPusher) -> None:
    han = "".join(map(chr, range(0x4E00, 0x4E00 + 60)))
    glyphs = session(pusher)
    received = "".join("".join(map(characters, sent(glyphs, Stt(han), CELLULAR))) for _ in range(6))
    assert sorted(received) == sorted(han)


def test_a_text_of_ten_thousand_characters_costs_a_bounded_number_of_bytes(pusher: GlyphPusher) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 10_000)))
    for most in (WIFI, CELLULAR):
        payloads = session(pusher).messages(Stt(text), "s1", most)
        assert len(payloads) <= MAX_MESSAGES
        assert sum(map(len, payloads)) <= 16_000
        assert all(len(payload) <= most for payload in payloads)


@pytest.mark.parametrize(
    "text",
    [
        "a\u0301" * 4_000,
        "\x00\x01\n",
        "\ud800\udfff",
        "\ue000\uf8ff",
        "😀\ufe0f\u200d👩\U0001f3fd",
        "",
        "؀ذژ",
    ],
)
def test_strange_texts_are_shown_all_the_same(pusher: GlyphPusher, text: str) -> None:
    *_, own = sent(session(pusher), Stt(text))
    assert own["type"] == "stt"
    characters(own)


@pytest.mark.parametrize("bpp", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [1, 14, 20, 64])
def test_every_font_gets_what_it_accepts(pusher: GlyphPusher, size: int, bpp: int) -> None:
    font = TextFont('b"\\', "basic", size, bpp)
    glyphs = session(pusher, font=font)
    message = sent(glyphs, Stt("Жế界😀"))[-1]
    assert set(characters(message, font)) <= set("Жế界😀")
    assert characters(message, font)


def test_devices_that_come_with_ever_new_fonts_take_bounded_memory(pusher: GlyphPusher) -> None:
    for number in range(50):
        sent(session(pusher, font=replace(FONT, bundle=f"b{number}")), Stt("Ж"))
    assert pusher.remembered == 1
    for number in range(MAX_DEVICES + 50):
        sent(session(pusher, device=f"d{number}"), Stt("Ж"))
    assert pusher.remembered == MAX_DEVICES


def test_a_device_that_wants_none_or_has_no_font_is_sent_none(pusher: GlyphPusher) -> None:
    for hello in (replace(HELLO, glyph_push=False), replace(HELLO, text_font=None)):
        assert pusher.session("d", hello, keeps=True, tester=False) is None


async def test_a_late_glyph_never_holds_its_text_back(font_path: Path) -> None:
    source = source_of(font_path, budget_s=0)
    glyphs = session(GlyphPusher(source))
    assert sent(glyphs, Stt("Ж"))[0]["text"] == "Ж"
    await source.settled()
    assert characters(sent(glyphs, Stt("Ж"))[0]) == "Ж"
    source.close()


async def test_what_the_device_holds_is_never_late(font_path: Path) -> None:
    source = source_of(font_path, budget_s=0)
    glyphs = session(GlyphPusher(source))
    glyphs.announce("Ж")
    await source.settled()
    assert characters(sent(glyphs, Stt("Ж"))[0]) == "Ж"
    before = REGISTRY.get_sample_value("mimi_glyphs_left_out_total", {"reason": "time"})
    source._kept.forget("416.20.4")
    assert sent(glyphs, Stt("Ж")) == [{"type": "stt", "session_id": "s1", "text": "Ж"}]
    assert REGISTRY.get_sample_value("mimi_glyphs_left_out_total", {"reason": "time"}) == before
    await source.settled()
    source.close()


async def test_an_announced_text_has_its_glyphs(font_path: Path) -> None:
    source = source_of(font_path, budget_s=0)
    glyphs = session(GlyphPusher(source))
    glyphs.announce("Ж ế")
    await source.settled()
    assert characters(sent(glyphs, Tts("sentence_start", "Ж ế"))[0]) == "Жế"
    source.close()


def test_a_text_is_cut_before_its_glyphs_are_chosen(pusher: GlyphPusher) -> None:
    text = (string.ascii_letters + " ") * 200 + "Ж"
    (own,) = sent(session(pusher), Stt(text), CELLULAR)
    assert "glyph_push" not in own
    assert len(own["text"]) < CELLULAR
