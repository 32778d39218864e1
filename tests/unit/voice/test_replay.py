"""A recorded turn asked again: what is heard, asked, said and timed, on virtual time."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.errors import ProviderTimeout
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.voice.replay import DOWNLINK, MAX_SPOKEN_S, Question, decoded, replay, trimmed
from mimi_mqtt.voice.services import VoiceServices
from tests.fakes.voice import ScriptedLlm, ScriptedStt, ToneTts, Wait, services

pytestmark = pytest.mark.virtual_time

RATE = 16_000
STAGES = {"endpoint": 600.0, "transcript": 800.0, "first_audio": 1500.0}
SPEECH = (8000 * np.sin(np.arange(2 * RATE) / 9)).astype(np.int16)
QUESTION = Question(
    heard="lights on", audio=SPEECH, mode="auto", language="en", device=DeviceFacts(), user=UserFacts(),
    stages_ms=STAGES,
)  # fmt: skip


async def asked(made: VoiceServices, question: Question = QUESTION):  # type: ignore[no-untyped-def]
    try:
        return await replay(made, question)
    finally:
        made.encoders.close()


async def test_times_go_on_from_the_recorded_end_of_the_utterance() -> None:
    found = await asked(
        services(
            stt=ScriptedStt(Wait(0.25), "lights on", streaming=False),
            llm=ScriptedLlm([Wait(0.5), "They are on."]),
            tts=ToneTts(delay_s=0.125),
        )
    )
    assert (found.heard, found.reply, found.outcome, found.error) == (
        "lights on",
        "They are on.",
        "answered",
        "",
    )
    assert found.as_recorded == ("endpoint",)
    stages = found.stages_ms
    assert (stages["endpoint"], stages["transcript"], stages["first_token"]) == (600.0, 850.0, 1350.0)
    assert stages["first_audio"] == pytest.approx(1475, abs=5)
    # As a device would play it: in its own time.
    assert stages["stop"] - stages["first_audio"] == pytest.approx(found.spoken_s * 1000, abs=5)
    assert found.heard_s == 2.0
    assert len(found.packets) * DOWNLINK.frame_ms == pytest.approx(found.spoken_s * 1000)


async def test_a_recogniser_that_streams_hears_at_the_pace_of_speech() -> None:
    began = asyncio.get_running_loop().time()
    stt = ScriptedStt("lights on", streaming=True)
    found = await asked(services(stt=stt))
    assert asyncio.get_running_loop().time() - began >= 2.0
    assert stt.heard_samples == [SPEECH.size]
    assert found.stages_ms["transcript"] == pytest.approx(600, abs=5)


async def test_without_sound_the_recorded_words_are_asked() -> None:
    stt, llm = ScriptedStt("something else"), ScriptedLlm(["On."])
    found = await asked(services(stt=stt, llm=llm), replace(QUESTION, audio=None))
    assert stt.heard_samples == []
    assert llm.requests[0][-1].content == "lights on"
    assert found.as_recorded == ("transcript", "endpoint")
    assert found.stages_ms["transcript"] == 800.0
    assert found.heard_s == 0.0


async def test_the_conversation_before_is_told_and_no_tools() -> None:
    llm = ScriptedLlm(["Yes."])
    earlier = (("who are you", "I am mimi", True), ("and", "I was cut", False))
    await asked(services(llm=llm), replace(QUESTION, earlier=earlier))
    told = [(message.role, message.content) for message in llm.requests[0]]
    assert told[-5:] == [
        ("user", "who are you"), ("assistant", "I am mimi"), ("user", "and"), ("assistant", "I was cut…"),
        ("user", "hello"),
    ]  # fmt: skip
    assert llm.offered == [()]


async def test_a_tool_that_a_model_asks_for_all_the_same_is_not_run() -> None:
    llm = ScriptedLlm([ToolCall("1", "door.open", {})], ["I can't."])
    found = await asked(services(llm=llm))
    assert found.reply == "I can't."
    assert llm.requests[1][-1].content == "error: not available"


async def test_a_provider_that_fails_is_told() -> None:
    found = await asked(services(llm=ScriptedLlm([ProviderTimeout("scripted-llm", "too slow")])))
    assert (found.outcome, found.error, found.error_role) == ("failed", "timeout", "llm")
    assert "too slow" in found.problem
    found = await asked(services(stt=ScriptedStt(ProviderTimeout("scripted-stt", "deaf"), streaming=False)))
    assert (found.outcome, found.error, found.error_role) == ("failed", "timeout", "stt")
    assert found.packets == []


async def test_nothing_heard_is_not_answered() -> None:
    llm = ScriptedLlm(["What?"])
    found = await asked(services(stt=ScriptedStt(""), llm=llm))
    assert (found.outcome, llm.requests) == ("nothing heard", [])


async def test_sound_is_bounded() -> None:
    long = "a" * 90
    found = await asked(services(llm=ScriptedLlm([long]), tts=ToneTts(ms_per_char=3000)))
    assert found.spoken_s > MAX_SPOKEN_S
    assert len(found.packets) * DOWNLINK.frame_ms <= MAX_SPOKEN_S * 1000


async def test_the_agents_prompt_is_used() -> None:
    llm = ScriptedLlm(["Arr."])
    await asked(services(llm=llm, agent=AgentSettings(prompt="You are a pirate.")))
    assert llm.requests[0][0].content == "You are a pirate."


def test_silence_around_the_words_is_cut() -> None:
    silence = np.zeros(2 * RATE, np.int16)
    cut = trimmed(np.concatenate([silence, SPEECH, silence]))
    assert SPEECH.size < cut.size < SPEECH.size + RATE
    assert trimmed(silence).size == silence.size
    assert trimmed(SPEECH[:100]).size == 100


def test_broken_packets_are_left_out() -> None:
    encoder = OpusEncoder(RATE, bitrate=24_000, complexity=0)
    frame = RATE * 60 // 1000
    packets = [encoder.encode(SPEECH[at : at + frame]) for at in range(0, 10 * frame, frame)]
    assert decoded([*packets, b"", b"\xff\xff\xff"]).size == 10 * frame
    assert decoded([]).size == 0
