"""When text to speech fails, an apology that was made before is heard instead of silence."""

import asyncio

import pytest

from mimi_mqtt.config import AgentSettings
from mimi_mqtt.errors import ProviderNotConfigured, ProviderUnavailable
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.speech.phrases import apologies, fixed_phrases, language_of
from mimi_mqtt.voice.speech.prepared import SpokenApologies
from tests.fakes.scene import scene
from tests.fakes.voice import ScriptedLlm, ToneTts, services
from tests.unit.providers.fakes import HANG, FakeTts, chunk

pytestmark = pytest.mark.virtual_time

DOWN = ProviderUnavailable("x", "down")
SORRY, MOMENT = apologies("en").failed, apologies("en").moment
WORDS = "The weather is fine today. It will rain tomorrow, they say. Bye!"


async def with_apology(broken: ToneTts, *, llm: ScriptedLlm | None = None) -> VoiceServices:
    """Services whose text to speech worked once, and then became `broken`."""
    made = services(llm=llm or ScriptedLlm([WORDS]), tts=broken)
    made.spoken_apologies = SpokenApologies(ToneTts(), None, AgentSettings())
    made.spoken_apologies.prepare("en")
    await made.spoken_apologies.prepared()
    return made


async def test_a_dead_voice_is_heard_as_an_apology() -> None:
    async with scene(await with_apology(ToneTts(error=DOWN))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("alert")
        assert s.device.said(audio=True)[-5:] == ["llm", "sentence", "audio", "stop", "alert"]
        assert s.device.texts("sentence") == [SORRY]
        assert s.device.texts("llm")[-1] == "sad"
        assert WORDS in s.device.texts("alert")[0]
        await s.idle()
        assert s.records == [("failed", "hello", "")]


async def test_a_voice_that_dies_in_the_middle_is_apologised_for_once() -> None:
    async with scene(await with_apology(ToneTts(error=DOWN, fails_on="tomorrow"))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("alert")
        assert s.device.texts("sentence") == ["The weather is fine today.", SORRY]
        await s.idle()
        assert s.records == [("failed", "hello", "The weather is fine today.")]


async def test_the_apology_for_a_dead_model_is_heard_without_a_voice_too() -> None:
    made = await with_apology(ToneTts(error=DOWN), llm=ScriptedLlm([DOWN]))
    async with scene(made) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert s.device.texts("sentence") == [SORRY]
        assert "audio" in s.device.said(audio=True)


async def test_the_language_of_a_reply_is_prepared_for_the_next() -> None:
    made = services()
    made.spoken_apologies = SpokenApologies(tts := ToneTts(), None, AgentSettings())
    async with scene(made) as s:
        s.conversation.announce("Good morning!")
        await s.device.until("stop")
        await made.spoken_apologies.prepared()
    assert tts.texts == [SORRY, MOMENT]


async def test_each_language_is_made_once() -> None:
    spoken = SpokenApologies(tts := FakeTts([chunk(1)]), None, AgentSettings(voice="eva", speed=1.2))
    for tag in ("vi", "vi-VN", "vi_VN", "de"):
        spoken.prepare(tag)
    await spoken.prepared()
    spoken.prepare("vi")
    await spoken.prepared()
    assert sorted((text, voice.language) for text, voice in tts.asked) == sorted(
        [
            (apologies("vi").failed, "vi"),
            (apologies("vi").moment, "vi"),
            (apologies("de").failed, "de"),
            (apologies("de").moment, "de"),
        ]
    )
    assert {(voice.voice, voice.speed) for _, voice in tts.asked} == {("eva", 1.2)}


async def test_another_language_is_better_than_silence() -> None:
    spoken = SpokenApologies(FakeTts([chunk(1)], [DOWN]), None, AgentSettings())
    assert spoken.speech("de") == ()
    spoken.prepare("ru")
    await spoken.prepared()
    assert spoken.speech("ru") == spoken.speech("de") == spoken.speech("xx") != ()


async def test_the_spare_voice_makes_what_nobody_else_can() -> None:
    spare = FakeTts([chunk(7)], name="spare")
    spoken = SpokenApologies(FakeTts([DOWN]), spare, AgentSettings(voice="eva"))
    spoken.prepare("en")
    await spoken.prepared()
    assert [list(part.pcm) for part in spoken.speech("en")] == [[7]]
    assert spare.started == 1
    assert spare.asked[0][1].voice is None


async def test_when_nobody_can_speak_it_is_tried_again_after_a_while() -> None:
    spare = FakeTts([chunk(7)], name="spare")
    spare.start_errors = [ProviderNotConfigured("spare", "no package")] * 2
    tts = FakeTts([DOWN], [DOWN], [chunk(1)])
    spoken = SpokenApologies(tts, spare, AgentSettings())
    for _ in range(3):
        spoken.prepare("en")
        await spoken.prepared()
    assert spoken.speech("en") == ()
    assert spare.started == 1
    await asyncio.sleep(61)
    spoken.prepare("en")
    await spoken.prepared()
    assert spoken.speech("en") != ()


async def test_closing_ends_what_is_being_made() -> None:
    tts = FakeTts([HANG])
    spoken = SpokenApologies(tts, None, AgentSettings())
    spoken.prepare("en")
    await tts.script.hanging.wait()
    await spoken.aclose()
    await spoken.aclose()
    assert tts.script.closed == 1
    assert spoken.speech("en") == ()


def test_every_tag_has_a_language_to_apologise_in() -> None:
    assert [language_of(tag) for tag in ("zh-CN", "zh_TW", "PT-br", "xx", "")] == [
        "zh",
        "zh",
        "pt",
        "en",
        "en",
    ]
    assert {apologies(tag).failed for tag in ("zh", "pt", "en")} <= fixed_phrases([])
