"""Conversations that are over leave nothing behind that only the garbage collector could free."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.voice.services import VoiceServices
from tests.fakes.duplex import FakeS2s
from tests.fakes.scene import Scene
from tests.fakes.voice import FakeHearing, FakeTools, ScriptedLlm, ScriptedStt, services

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("no_collector")]

WORDS = "The weather is fine today. It will rain tomorrow, they say."


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def spoken_with(made: VoiceServices, mode: str, turns: int, rest_s: float) -> weakref.ref[object]:
    """A conversation of some turns, closed in the middle of what follows."""
    s = Scene(made, FakeTools(lamp="on"))
    s.conversation.listen("realtime" if mode == "realtime" else "auto")
    for _ in range(turns):
        await s.say()
        await asyncio.sleep(rest_s)
    await s.conversation.aclose()
    s.device.on_played = lambda opus, timestamp: None
    assert isinstance(made.hearing, FakeHearing)
    made.hearing.ears.clear()
    return weakref.ref(s.conversation)


@pytest.mark.parametrize("mode", ["auto", "realtime"])
@pytest.mark.parametrize("rest_s", [0.3, 8.0])
@pytest.mark.parametrize("eager", [0, 240])
async def test_a_conversation_that_is_over_is_gone(mode: str, rest_s: float, eager: int) -> None:
    llm = ScriptedLlm([ToolCall("1", "lamp", {})], [WORDS], [WORDS])
    voice = VoiceSettings(preemptive_silence_ms=eager)
    made = services(stt=ScriptedStt("how is the weather"), llm=llm, voice=voice)
    conversation = await spoken_with(made, mode, 2, rest_s)
    await asyncio.sleep(10)
    assert conversation() is None
    made.encoders.close()


async def test_a_conversation_by_speech_to_speech_that_is_over_is_gone() -> None:
    made = services(s2s=FakeS2s())
    conversation = await spoken_with(made, "auto", 2, 3.0)
    await asyncio.sleep(10)
    assert conversation() is None
    made.encoders.close()
