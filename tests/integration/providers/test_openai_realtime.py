"""OpenAI's Realtime API: what is said over the wire, in which order, and what its events mean."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, ToolSpec, Usage
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.realtime.provider import (
    S2sEvent,
    SpeechSession,
    SpeechSetup,
    SpeechUtterance,
)
from mimi_mqtt.providers.vendors.openai.realtime_wire import MAX_KEPT
from tests.servers.openai_realtime_server import OpenAiRealtimeServer
from tests.servers.openai_server import KEY
from tests.servers.s2s_service import until
from tests.servers.vendor import Call

GOOD = ("good day", [1, 2, 3])
SETUP = SpeechSetup(prompt=lambda: "Be brief.")


@pytest.fixture
async def server() -> AsyncIterator[OpenAiRealtimeServer]:
    running = OpenAiRealtimeServer()
    await running.start()
    yield running
    await running.aclose()


@asynccontextmanager
async def talking(
    server: OpenAiRealtimeServer, setup: SpeechSetup = SETUP, **options: Any
) -> AsyncIterator[SpeechSession]:
    """A conversation with `server`; options as in the configuration."""
    given = {"base_url": f"{server.url}/v1", "api_key": KEY, **options}
    settings = ProviderSettings(s2s="openai_realtime", retries=0, options={"openai_realtime": given})
    provider = registry.build("s2s", settings, {})
    await provider.start()
    session = provider.open(setup)
    try:
        yield session
    finally:
        await session.aclose()
        await provider.aclose()


def speak(session: SpeechSession, samples: int = 4800) -> SpeechUtterance:
    utterance = session.open()
    utterance.push(np.ones(samples, np.int16))
    return utterance


async def events(stream: AsyncGenerator[S2sEvent, None]) -> list[S2sEvent]:
    async with aclosing(stream) as parts:
        return [part async for part in parts]


def said(found: list[S2sEvent]) -> tuple[str, list[int]]:
    words = "".join(part.text for part in found if isinstance(part, TextDelta))
    return words, [int(sample) for part in found if isinstance(part, SpeechChunk) for sample in part.pcm]


async def settled(server: OpenAiRealtimeServer, kind: str) -> Mapping[str, Any]:
    """The event of `kind`, when the server has done what it asks for."""
    event = await server.told(kind)
    await asyncio.sleep(0.01)
    return event


# ── how a conversation begins ────────────────────────────────────────────────────────────────────────────


async def test_events_come_in_order(server: OpenAiRealtimeServer) -> None:
    async with talking(server) as session:
        await events(session.answer(speak(session)))
        await events(session.answer(speak(session)))
    turn = ["input_audio_buffer.append", "input_audio_buffer.commit", "response.create"]
    assert server.kinds == ["session.update", *turn, *turn]


async def test_the_session_is_set_up_before_anything_else(server: OpenAiRealtimeServer) -> None:
    light = ToolSpec("light", "Switches a light", {"type": "object"})
    setup = replace(SETUP, tools=lambda: (light,), language="de-DE", voice="cedar", speed=1.25)
    async with talking(server, setup, model="gpt-x", max_output_tokens=500) as session:
        await session.connect()
    assert server.asked[0].path == "/v1/realtime?model=gpt-x"
    assert server.session == {
        "type": "realtime",
        "instructions": "Be brief.",
        "tools": [
            {
                "type": "function",
                "name": "light",
                "description": "Switches a light",
                "parameters": {"type": "object"},
            }
        ],
        "tool_choice": "auto",
        "output_modalities": ["audio"],
        "max_output_tokens": 500,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "gpt-transcribe", "languages": ["de"]},
                "turn_detection": None,
                "noise_reduction": {"type": "far_field"},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "cedar", "speed": 1.25},
        },
    }


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ({"transcription_model": "x"}, "transcription", {"model": "x", "language": "en"}),
        ({"noise_reduction": "near_field"}, "noise_reduction", {"type": "near_field"}),
        ({"noise_reduction": "off"}, "noise_reduction", None),
        (
            {"end_detection": "server_vad", "end_silence_ms": 300},
            "turn_detection",
            {
                "type": "server_vad",
                "silence_duration_ms": 300,
                "create_response": False,
                "interrupt_response": False,
            },
        ),
        (
            {"end_eagerness": "high"},
            "turn_detection",
            {
                "type": "semantic_vad",
                "eagerness": "high",
                "create_response": False,
                "interrupt_response": False,
            },
        ),
    ],
)
async def test_options_of_hearing_are_obeyed(
    server: OpenAiRealtimeServer, options: dict[str, Any], key: str, value: object
) -> None:
    async with talking(server, replace(SETUP, end_by_vendor=True), **options) as session:
        await session.connect()
    assert server.session["audio"]["input"].get(key) == value


async def test_options_of_speaking_are_obeyed(server: OpenAiRealtimeServer) -> None:
    setup = replace(SETUP, speed=2.0)
    async with talking(server, setup, voice="ash", reasoning_effort="low") as session:
        await session.connect()
    assert server.session["audio"]["output"]["voice"] == "ash"
    assert server.session["audio"]["output"]["speed"] == 1.5
    assert server.session["reasoning"] == {"effort": "low"}


async def test_all_kinds_of_messages_are_remembered(server: OpenAiRealtimeServer) -> None:
    call = ToolCall("c", "light", {"on": True})
    history = (
        ChatMessage("user", "look: ", images=(b"jpeg",)),
        ChatMessage("assistant", "nice", tool_calls=(call,)),
        ChatMessage("tool", "done", tool_call_id="c"),
        ChatMessage("system", "it is dark"),
    )
    async with talking(server, replace(SETUP, history=lambda: history)) as session:
        await events(session.ask("hello"))
    assert server.memory == [
        "user look: [image]",
        "assistant nice",
        'call light {"on": true}',
        "result done",
        "system it is dark",
        "user hello",
        "assistant good day",
    ]


async def test_a_new_prompt_is_told_on_the_same_connection(server: OpenAiRealtimeServer) -> None:
    prompts = ["Be brief."]
    async with talking(server, SpeechSetup(prompt=lambda: prompts[-1])) as session:
        await events(session.ask("hello"))
        prompts.append("Be kind.")
        await events(session.ask("hello"))
    assert server.prompt == "Be kind."
    assert len(server.asked) == 1


async def test_a_refused_set_up_is_explained(server: OpenAiRealtimeServer) -> None:
    server.refuses_setup = "invalid_value"
    async with talking(server, voice="nobody") as session:
        with pytest.raises(ProviderRefused, match="it was invalid_value"):
            await session.connect()
        await server.left.wait()


async def test_without_a_key_it_says_how_to_mend_it() -> None:
    provider = registry.build("s2s", ProviderSettings(s2s="openai_realtime"), {})
    with pytest.raises(ProviderNotConfigured, match="OPENAI_API_KEY"):
        await provider.start()
    settings = ProviderSettings(s2s="openai_realtime")
    assert registry.lacking("s2s", "openai_realtime", settings, {"OPENAI_API_KEY": "k"}) == []


# ── what is heard ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_very_short_utterance_is_filled_up(server: OpenAiRealtimeServer) -> None:
    async with talking(server) as session:
        await events(session.answer(speak(session, samples=10)))
    assert server.memory[0] == "audio 10"


async def test_words_that_fail_leave_the_answer_alone(server: OpenAiRealtimeServer) -> None:
    server.words_fail = True
    async with talking(server) as session:
        utterance = speak(session)
        assert said(await events(session.answer(utterance))) == GOOD
        with pytest.raises(ProviderUnavailable, match="unintelligible"):
            await utterance.finish()


async def test_noise_that_was_ended_is_deleted_when_its_item_is_known(server: OpenAiRealtimeServer) -> None:
    async with talking(server) as session:
        await session.connect()
        noise = speak(session)
        noise.end()
        await server.told("input_audio_buffer.commit")
        await noise.aclose()
        await events(session.ask("hello"))
        await settled(server, "conversation.item.delete")
    assert server.memory == ["user hello", "assistant good day"]


DETECTING = replace(SETUP, end_by_vendor=True)


async def test_the_services_own_detection_marks_ends_and_its_parts_are_one_utterance(
    server: OpenAiRealtimeServer,
) -> None:
    async with talking(server, DETECTING) as session:
        utterance = speak(session)
        await server.told("input_audio_buffer.append")
        await server.detect("started")
        await server.detect("stopped")
        await server.detect_item("one")
        await until(lambda: utterance.endpoint)
        utterance.push(np.ones(4800, np.int16))
        await server.detect("started")
        await until(lambda: not utterance.endpoint)
        await server.detect("stopped")
        await server.detect_item("two")
        await until(lambda: utterance.interim == "one two")
        assert said(await events(session.answer(utterance))) == GOOD
        assert (await utterance.finish()).text == "one two"
    assert "input_audio_buffer.commit" not in server.kinds
    assert "input_audio_buffer.clear" in server.kinds


async def test_speech_that_the_service_has_not_ended_is_ended_by_us(server: OpenAiRealtimeServer) -> None:
    async with talking(server, DETECTING) as session:
        utterance = speak(session)
        await server.told("input_audio_buffer.append")
        await server.detect("started")
        await asyncio.sleep(0.01)
        assert said(await events(session.answer(utterance))) == GOOD
        assert (await utterance.finish()).text == "hello world"
    assert "input_audio_buffer.commit" in server.kinds


async def test_parts_of_noise_are_deleted(server: OpenAiRealtimeServer) -> None:
    async with talking(server, DETECTING) as session:
        noise = speak(session)
        await server.told("input_audio_buffer.append")
        await server.detect("started")
        await server.detect("stopped")
        await server.detect_item("knock")
        await until(lambda: noise.interim == "knock")
        await noise.aclose()
        await events(session.ask("hello"))
    assert server.memory == ["user hello", "assistant good day"]


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────────


async def test_audio_may_be_split_within_a_sample(server: OpenAiRealtimeServer) -> None:
    speech = np.array([256, -2, 300], "<i2").tobytes()
    server.speech = [base64.b64encode(speech[n : n + 1]).decode() for n in range(6)]
    async with talking(server) as session:
        assert said(await events(session.ask("hello")))[1] == [256, -2, 300]


async def test_audio_that_is_none_is_a_bad_answer(server: OpenAiRealtimeServer) -> None:
    server.speech = ["!!!!"]
    async with talking(server) as session:
        with pytest.raises(ProviderBadAnswer):
            await events(session.ask("hello"))


async def test_tokens_are_told_by_kind(server: OpenAiRealtimeServer) -> None:
    async with talking(server) as session:
        assert (await events(session.ask("hello")))[-1] == Usage(100, 50, 80, 40)


async def test_arguments_that_are_none_are_a_bad_answer(server: OpenAiRealtimeServer) -> None:
    server.answer_with_calls(Call("c", "light", "{on"))
    async with talking(server) as session:
        with pytest.raises(ProviderBadAnswer, match="JSON"):
            await events(session.ask("hello"))


async def test_an_interruption_is_truncated_to_what_was_heard(server: OpenAiRealtimeServer) -> None:
    server.speech = [base64.b64encode(np.ones(24_000, "<i2").tobytes()).decode()] * 2
    async with talking(server) as session:
        assert len(said(await events(session.ask("hello")))[1]) == 48_000
        await session.interrupted(1234)
        await settled(server, "conversation.item.truncate")
        assert server.memory == ["user hello", "assistant cut at 1234 ms"]


async def test_an_answer_that_is_being_made_is_cancelled_and_truncated(server: OpenAiRealtimeServer) -> None:
    server.talks_on = True
    server.speech = [base64.b64encode(np.ones(24_000, "<i2").tobytes()).decode()]
    async with talking(server) as session:
        async with aclosing(session.ask("hello")) as parts:
            async for part in parts:
                if isinstance(part, SpeechChunk):
                    break
            await session.interrupted(500)
        server.talks_on = False
        found = await events(session.ask("again"))
        assert said(found)[0] == "good "
    assert server.kinds[3:5] == ["response.cancel", "conversation.item.truncate"]
    assert server.memory[1] == "assistant cut at 500 ms"


async def test_a_recital_is_not_truncated(server: OpenAiRealtimeServer) -> None:
    async with talking(server) as session:
        await events(session.say("Hello there!"))
        await session.interrupted(0)
        await events(session.ask("hello"))
    assert "conversation.item.truncate" not in server.kinds
    recital = (await server.told("response.create"))["response"]
    assert (recital["conversation"], recital["input"]) == ("none", [])
    assert recital["instructions"].endswith("Hello there!")


@pytest.mark.parametrize("metadata", [True, False])
async def test_an_answer_stopped_before_it_began_is_stopped_when_it_begins(
    server: OpenAiRealtimeServer, metadata: bool
) -> None:
    server.says_metadata = metadata
    server.begins.clear()
    server.talks_on = True
    async with talking(server) as session:
        first = asyncio.create_task(events(session.ask("one")))
        await server.told("response.create")
        await session.interrupted(0)
        assert await first == []
        second = asyncio.create_task(events(session.ask("two")))
        server.begins.set()
        await server.stopped.wait()
        server.talks_on = False
        assert said(await second) == GOOD
    cancel = await server.told("response.cancel")
    assert cancel["response_id"].startswith("resp_")


async def test_an_answer_nobody_asked_for_is_stopped(server: OpenAiRealtimeServer) -> None:
    server.at_end = ({"type": "response.created", "response": {"id": "resp_own", "metadata": None}},)
    async with talking(server) as session:
        utterance = speak(session)
        await utterance.finish()
        cancel = await server.told("response.cancel")
        assert said(await events(session.answer(utterance))) == GOOD
    assert cancel["response_id"] == "resp_own"


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ({"status": "failed"}, ProviderUnavailable),
        (
            {
                "status": "failed",
                "status_details": {
                    "error": {"type": "server_error", "code": "rate_limit_exceeded", "message": "slow"}
                },
            },
            ProviderRateLimited,
        ),
        (
            {
                "status": "failed",
                "status_details": {"error": {"type": "x", "code": "insufficient_quota", "message": "poor"}},
            },
            ProviderRefused,
        ),
        ({"status": "incomplete", "status_details": {"reason": "content_filter"}}, ProviderRefused),
        ({"status": "cancelled", "status_details": {"reason": "turn_detected"}}, ProviderUnavailable),
    ],
)
async def test_an_answer_that_ends_badly_is_an_error(
    server: OpenAiRealtimeServer, ending: dict[str, Any], error: type[ProviderError]
) -> None:
    server.ending = ending
    async with talking(server) as session:
        with pytest.raises(error):
            await events(session.ask("hello"))


async def test_an_answer_cut_at_its_longest_is_an_answer(server: OpenAiRealtimeServer) -> None:
    server.ending = {"status": "incomplete", "status_details": {"reason": "max_output_tokens"}}
    async with talking(server) as session:
        assert said(await events(session.ask("hello"))) == GOOD


# ── errors as events ─────────────────────────────────────────────────────────────────────────────────────


def error(kind: str, code: str) -> Mapping[str, Any]:
    about = {"type": kind, "code": code, "message": f"because of {KEY}", "param": None, "event_id": None}
    return {"type": "error", "error": about}


@pytest.mark.parametrize("named", [True, False])
async def test_a_request_that_is_refused_is_an_error(server: OpenAiRealtimeServer, named: bool) -> None:
    server.names_events = named
    server.busy = True
    async with talking(server) as session:
        with pytest.raises(ProviderRefused, match="active_response"):
            await events(session.ask("hello"))
        server.busy = False
        assert said(await events(session.ask("again"))) == GOOD


@pytest.mark.parametrize("named", [True, False])
async def test_what_was_over_already_is_no_error(server: OpenAiRealtimeServer, named: bool) -> None:
    server.names_events = named
    async with talking(server) as session:
        await events(session.ask("hello"))
        server.forget()
        await session.interrupted(0)
        await settled(server, "conversation.item.delete")
        assert said(await events(session.ask("again"))) == GOOD
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("kind", "code"), [("invalid_request_error", "session_expired"), ("server_error", "overloaded")]
)
async def test_an_expired_session_is_continued_on_another(
    server: OpenAiRealtimeServer, kind: str, code: str
) -> None:
    async with talking(server) as session:
        await events(session.ask("hello"))
        await server.say(error(kind, code))
        await until(lambda: not session.connected)
        assert said(await events(session.ask("again"))) == GOOD
    assert len(server.asked) == 2


async def test_no_error_shows_the_key(server: OpenAiRealtimeServer) -> None:
    server.at_end = (error("invalid_request_error", "something_new"),)
    async with talking(server) as session:
        with pytest.raises(ProviderRefused) as caught:
            await events(session.answer(speak(session)))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.done"},
        {"type": "response.created", "response": []},
        {"type": "error"},
        {"type": 7},
    ],
)
async def test_malformed_events_end_one_answer(
    server: OpenAiRealtimeServer, event: Mapping[str, Any]
) -> None:
    server.at_end = (event,)
    async with talking(server) as session:
        with pytest.raises(ProviderBadAnswer):
            await events(session.answer(speak(session)))
        server.at_end = ()
        assert said(await events(session.answer(speak(session)))) == GOOD


async def test_events_of_no_interest_are_passed_over(server: OpenAiRealtimeServer) -> None:
    server.at_end = ({"type": "rate_limits.updated", "rate_limits": []}, {"type": "something.new"})
    async with talking(server) as session:
        assert said(await events(session.answer(speak(session)))) == GOOD


async def test_a_long_conversation_keeps_only_its_latest_names(server: OpenAiRealtimeServer) -> None:
    async with talking(server) as session:
        for _ in range(MAX_KEPT + 5):
            assert said(await events(session.ask("hello"))) == GOOD
    assert len(server.asked) == 1
