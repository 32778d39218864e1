"""Glyphs in a session: with which device, over which transport, when its connection is well."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mimi_mqtt.session.glyphs.push import MAX_BACKLOG_BYTES, GlyphPusher
from mimi_mqtt.session.glyphs.source import GlyphSource
from mimi_mqtt.wire.glyphs import TextFont, read_glyph_push
from tests.fakes.session import DEVICE, FakeControlChannel
from tests.fonts import make_font
from tests.unit.session.conftest import House
from tests.unit.session.glyphs.conftest import source_of

FONT = {"bundle": "noto-v1", "charset": "common", "size": 20, "bpp": 4}
WANTS: dict[str, Any] = {"features": {"glyph_push": True}, "text_font": FONT}
WITH_MEMORY, WITHOUT = "esp32-s3-box", "xmini-c3"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    source: GlyphSource = source_of(make_font(tmp_path / "blocks.ttf"))
    source.warm()
    await source.settled()
    house = House(glyphs=GlyphPusher(source))
    house.devices[DEVICE] = replace(house.devices[DEVICE], board=WITH_MEMORY, firmware_version="2.5.0")
    yield house
    await house.manager.aclose()


def pushed(message: dict[str, Any]) -> str:
    push = message.get("glyph_push")
    return (
        "".join(chr(each.codepoint) for each in read_glyph_push(push, TextFont("noto-v1", "common", 20, 4)))
        if push
        else ""
    )


def shows(house: House, channel: FakeControlChannel, session_id: str, text: str) -> str:
    """The glyphs that come with a transcript."""
    house.listen(channel, session_id).output.show_transcript(text)
    message = channel.of_type("stt")[-1]
    assert message["text"] == text
    return pushed(message)


async def speaks(house: House, channel: FakeControlChannel, session_id: str, text: str) -> str:
    """The glyphs that come with a spoken sentence."""
    output = house.listen(channel, session_id).output
    output.begin_speech()
    await output.play_sentence(text)
    await output.play(b"\x78opus")
    await output.finish_speech()
    message = next(each for each in channel.of_type("tts") if each.get("text") == text)
    return pushed(message)


@pytest.mark.virtual_time
@pytest.mark.parametrize("transport", ["mqtt", "websocket"])
async def test_transcripts_and_sentences_have_what_the_font_lacks(house: House, transport: str) -> None:
    house.manager._audio_transports = {"udp": house.audio, "websocket": house.audio}
    channel = house.connect(transport=transport)
    session_id = house.hello(channel, transport="udp" if transport == "mqtt" else transport, **WANTS)
    assert shows(house, channel, session_id, "Ж has no 😀") == "😀"
    assert await speaks(house, channel, session_id, "Nor has it 😀 or \ufe0f.") == "\ufe0f"
    assert [part for part in channel.story() if part != "hello"][:2] == ["stt", "tts start"]


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "hello", [{}, {"features": {"glyph_push": False}, "text_font": FONT}, {"features": {"glyph_push": True}},
              WANTS | {"text_font": FONT | {"bpp": 3}}, WANTS | {"text_font": FONT | {"size": 10_000}}],
)  # fmt: skip
async def test_a_device_that_can_not_take_glyphs_is_answered_and_sent_none(
    house: House, hello: dict[str, Any]
) -> None:
    channel = house.connect()
    assert shows(house, channel, house.hello(channel, **hello), "😀") == ""


async def test_a_device_is_sent_a_glyph_once_until_it_starts_anew(house: House) -> None:
    channel = house.connect()
    first = house.hello(channel, **WANTS)
    assert shows(house, channel, first, "😀") == "😀"
    again = house.hello(channel, **WANTS)
    assert shows(house, channel, again, "😀") == ""
    house.manager.booted(DEVICE)
    assert shows(house, channel, house.hello(channel, **WANTS), "😀") == "😀"


async def test_a_board_without_external_memory_is_sent_it_each_time(house: House) -> None:
    house.devices[DEVICE] = replace(house.devices[DEVICE], board=WITHOUT)
    channel = house.connect()
    session_id = house.hello(channel, **WANTS)
    assert [shows(house, channel, session_id, "😀") for _ in range(2)] == ["😀", "😀"]


@pytest.mark.parametrize(("lost", "sent"), [(0, ""), (1, "😀")])
async def test_glyphs_that_may_be_lost_with_a_connection_are_sent_again(
    house: House, lost: int, sent: str
) -> None:
    channel = house.connect()
    shows(house, channel, house.hello(channel, **WANTS), "😀")
    channel.lost = lost
    house.manager.control_closed(channel, "cut")
    channel = house.connect()
    assert shows(house, channel, house.hello(channel, **WANTS), "😀") == sent


@pytest.mark.parametrize("speaks", [True, False])
async def test_what_is_cut_off_in_a_turn_may_have_missed_some(house: House, speaks: bool) -> None:
    channel = house.connect()
    session_id = house.hello(channel, **WANTS)
    shows(house, channel, session_id, "😀")
    if speaks:
        house.conversations[-1].output.begin_speech()
    else:
        house.conversations[-1].busy = True
    house.manager.control_closed(channel, "cut")
    channel = house.connect()
    assert shows(house, channel, house.hello(channel, **WANTS), "😀") == "😀"


async def test_no_glyphs_wait_for_a_connection_or_behind_a_slow_one(house: House) -> None:
    """What waits for a connection is bounded: a session whose messages are too many ends."""
    channel = house.connect()
    session_id = house.hello(channel, **WANTS)
    channel.unacknowledged_bytes = MAX_BACKLOG_BYTES + 1
    assert shows(house, channel, session_id, "😀") == ""
    channel.unacknowledged_bytes = 0
    output = house.conversations[-1].output
    house.manager.control_closed(channel, "cut")
    output.show_transcript("😀")
    back = house.connect()
    house.say(back, {"type": "abort", "session_id": session_id})
    assert [pushed(each) for each in back.of_type("stt")] == [""]
    assert shows(house, back, session_id, "😀") == "😀"


@pytest.mark.parametrize(("spare", "sent"), [(None, "😀"), (10_000, "😀"), (100, ""), (0, "")])
async def test_glyphs_have_the_bytes_that_speech_on_the_same_connection_leaves(
    house: House, spare: int | None, sent: str
) -> None:
    channel = house.connect()
    session_id = house.hello(channel, **WANTS)
    house.last_audio.spare_bytes = spare
    assert shows(house, channel, session_id, "😀") == sent


async def test_a_tester_does_not_take_the_glyphs_of_the_device(house: House) -> None:
    tester = house.connect(is_tester=True)
    assert shows(house, tester, house.hello(tester, **WANTS), "😀") == "😀"
    channel = house.connect()
    assert shows(house, channel, house.hello(channel, **WANTS), "😀") == "😀"
