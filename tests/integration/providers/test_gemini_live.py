"""The wire protocol of Gemini's Live API, and the events made of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import (
    ConfigError,
    ProviderBadAnswer,
    ProviderError,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, ToolSpec, Usage
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.realtime.provider import S2sEvent, SpeechSession, SpeechSetup, SpeechToSpeech
from mimi_mqtt.providers.vendors.gemini import live_duplex
from tests.servers.gemini_live_server import (
    ANSWER,
    KEY,
    GeminiLiveServer,
    content,
    said,
    speech,
    tool_call,
    words_heard,
)
from tests.servers.tls import authority
from tests.servers.vendor import Call

LIGHT = ToolSpec("light", "Switches a light", {"type": "object", "properties": {"on": {"type": "boolean"}}})
OLD = "gemini-3.1-flash-live-preview"
OLDEST = "gemini-2.5-flash-native-audio-preview-12-2025"
SECOND = live_duplex.INPUT_RATE
PATIENCE_S = 10.0

Open = Callable[..., Awaitable[SpeechSession]]


class World:
    """The answers to a session's callbacks."""

    prompt = "Be brief."
    tools: tuple[ToolSpec, ...] = ()
    history: tuple[ChatMessage, ...] = ()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GeminiLiveServer]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority()))
    running = GeminiLiveServer()
    await running.start()
    yield running
    await running.aclose()


def build(**options: Any) -> SpeechToSpeech:
    settings = ProviderSettings.model_validate(
        {"s2s": "gemini_live", "options": {"gemini_live": options}, "retries": 1}
    )
    return registry.build("s2s", settings, {})


@pytest.fixture
async def open_session(server: GeminiLiveServer, world: World) -> AsyncIterator[Open]:
    """Opens a conversation: `await open_session(voice=…, options={…})`."""
    opened: list[tuple[SpeechToSpeech, SpeechSession]] = []

    async def build_and_open(options: dict[str, Any] | None = None, **setup: Any) -> SpeechSession:
        provider = build(**{"base_url": server.url, "api_key": KEY, **(options or {})})
        await provider.start()
        asked = SpeechSetup(
            lambda: world.prompt, tools=lambda: world.tools, history=lambda: world.history, **setup
        )
        opened.append((provider, provider.open(asked)))
        return opened[-1][1]

    yield build_and_open
    for provider, session in opened:
        await session.aclose()
        await provider.aclose()


@pytest.fixture
async def session(open_session: Open) -> SpeechSession:
    return await open_session()


async def until(server: GeminiLiveServer, condition: Callable[[], object]) -> None:
    """Waits for what the service is told to make `condition` true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            server.changed.clear()
            await server.changed.wait()


def noise(samples: int) -> Pcm:
    return np.arange(samples, dtype=np.int16)


async def answer(session: SpeechSession, pcm: Pcm | None = None) -> list[S2sEvent]:
    """All of the answer to an utterance."""
    utterance = session.open()
    utterance.push(noise(1600) if pcm is None else pcm)
    return [event async for event in session.answer(utterance)]


def spoken(events: list[S2sEvent]) -> list[int]:
    return [int(sample) for event in events if isinstance(event, SpeechChunk) for sample in event.pcm]


def text(events: list[S2sEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def roles(server: GeminiLiveServer) -> list[str]:
    return [turn["role"] for turn in server.sessions[-1].memory]


class TestSetup:
    async def test_our_endpointing_decides_and_both_sides_are_written_down(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        await session.connect()
        setup = server.sessions[0].setup
        assert setup["model"] == "models/gemini-3.8-live"
        assert setup["generationConfig"] == {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}},
        }
        assert setup["systemInstruction"]["parts"] == [{"text": "Be brief."}]
        assert setup["realtimeInputConfig"] == {"automatic_activity_detection": {"disabled": True}}
        assert setup["inputAudioTranscription"] == {"language_codes": ["en"]}
        assert setup["outputAudioTranscription"] == {}
        # A quarter of an hour would be its end otherwise.
        assert setup["contextWindowCompression"] == {"sliding_window": {}}
        assert not setup.keys() & {"tools", "historyConfig", "sessionResumption"}
        assert session.capabilities.sample_rate == 16_000

    async def test_options_are_obeyed(self, open_session: Open, server: GeminiLiveServer) -> None:
        options = {
            "model": "gemini-live-of-tomorrow",
            "language_code": "de-DE",
            "temperature": 0.5,
            "thinking_level": "low",
            "thinking_budget": 100,
        }
        await (await open_session(options, voice="Puck", speed=1.5, language="de")).connect()
        setup = server.sessions[0].setup
        assert setup["model"] == "models/gemini-live-of-tomorrow"
        assert setup["generationConfig"] == {
            "responseModalities": ["AUDIO"],
            "temperature": 0.5,
            "thinkingConfig": {"thinking_level": "LOW", "thinking_budget": 100},
            "speechConfig": {
                "voice_config": {"prebuilt_voice_config": {"voice_name": "Puck"}},
                "language_code": "de-DE",
            },
        }
        assert "very fast-paced" in setup["systemInstruction"]["parts"][0]["text"]
        assert setup["inputAudioTranscription"] == {"language_codes": ["de"]}

    async def test_the_voice_of_the_options_is_used_where_nobody_has_another(
        self, open_session: Open, server: GeminiLiveServer
    ) -> None:
        await (await open_session({"voice": "Leda"})).connect()
        voice = server.sessions[0].setup["generationConfig"]["speechConfig"]["voice_config"]
        assert voice == {"prebuilt_voice_config": {"voice_name": "Leda"}}

    async def test_a_call_holds_up_the_answer(
        self, session: SpeechSession, server: GeminiLiveServer, world: World
    ) -> None:
        world.tools = (LIGHT,)
        await session.connect()
        ((function,),) = (tool["functionDeclarations"] for tool in server.sessions[0].setup["tools"])
        assert function["name"] == "light"
        assert function["description"] == "Switches a light"
        assert function["behavior"] == "BLOCKING"
        assert function["parameters_json_schema"] == dict(LIGHT.parameters)

    @pytest.mark.parametrize("model", [OLD, OLDEST])
    async def test_older_models_wait_by_themselves(
        self, open_session: Open, server: GeminiLiveServer, world: World, model: str
    ) -> None:
        world.tools = (LIGHT,)
        await (await open_session({"model": model})).connect()
        ((function,),) = (tool["functionDeclarations"] for tool in server.sessions[0].setup["tools"])
        assert "behavior" not in function

    async def test_a_conversation_begins_with_its_history(
        self, session: SpeechSession, server: GeminiLiveServer, world: World
    ) -> None:
        call = ToolCall("c1", "light", {"on": True})
        world.history = (
            ChatMessage("user", "light on", images=(b"\xff\xd8\xff",)),
            ChatMessage("assistant", "", (call,)),
            ChatMessage("tool", "done", tool_call_id="c1"),
            ChatMessage("assistant", "It is on."),
        )
        assert spoken(await answer(session)) == [1, 2, 3]
        (only,) = server.sessions
        assert only.setup["historyConfig"] == {"initial_history_in_client_content": True}
        assert roles(server) == ["user", "user", "model", "user", "model"]
        question, note, reply = (turn["parts"] for turn in only.memory[:3])
        assert question[0] == {"text": "light on"}
        assert question[1]["inlineData"]["mime_type"] == "image/jpeg"
        assert note == [{"text": '(The tool light with {"on": true} has answered: done)'}]
        assert reply == [{"text": "It is on."}]

    async def test_the_oldest_models_do_not_wait_for_a_history(
        self, open_session: Open, server: GeminiLiveServer, world: World
    ) -> None:
        world.history = (ChatMessage("user", "hello"), ChatMessage("assistant", "good day"))
        assert spoken(await answer(await open_session({"model": OLDEST}))) == [1, 2, 3]
        (only,) = server.sessions
        assert "historyConfig" not in only.setup
        assert only.setup["inputAudioTranscription"] == {}
        assert roles(server) == ["user", "model", "user", "model"]

    async def test_a_new_prompt_and_new_tools_are_told_on_the_way(
        self, session: SpeechSession, server: GeminiLiveServer, world: World
    ) -> None:
        await answer(session)
        world.prompt, world.tools = "Be long.", (LIGHT,)
        assert spoken(await answer(session)) == [1, 2, 3]
        (only,) = server.sessions
        (update,) = only.updates
        assert update["systemInstruction"]["parts"] == [{"text": "Be long."}]
        (tool,) = update["tools"]["tools"]
        assert tool["functionDeclarations"][0]["behavior"] == "BLOCKING"

    async def test_older_models_learn_of_it_by_a_new_connection(
        self, open_session: Open, server: GeminiLiveServer, world: World
    ) -> None:
        session = await open_session({"model": OLD})
        await answer(session)
        world.prompt = "Be long."
        assert spoken(await answer(session)) == [1, 2, 3]
        assert server.sessions[1].setup["systemInstruction"]["parts"] == [{"text": "Be long."}]

    async def test_only_an_encrypted_address_will_do(self) -> None:
        with pytest.raises(ConfigError, match=r"gemini_live\.base_url"):
            build(base_url="http://127.0.0.1:1", api_key=KEY)

    async def test_a_missing_key_is_named(self) -> None:
        with pytest.raises(ProviderNotConfigured, match="GEMINI_API_KEY"):
            await build().start()


class TestHearing:
    async def test_speech_goes_up_while_it_is_spoken(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        utterance = session.open()
        utterance.push(noise(SECOND))
        utterance.push(noise(1600))
        await until(server, lambda: server.sessions and len(server.sessions[0].heard) == 2 * (SECOND + 1600))
        utterance.push(noise(1600))
        await until(server, lambda: len(server.sessions[0].heard) == 2 * (SECOND + 3200))
        assert server.sessions[0].memory == []
        assert spoken([event async for event in session.answer(utterance)]) == [1, 2, 3]

    async def test_a_short_utterance_goes_up_at_its_end(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        events = await answer(session, noise(800))
        assert server.sessions[0].memory[0]["audio"] == noise(800).astype("<i2").tobytes()
        assert spoken(events) == [1, 2, 3]
        assert text(events) == "good day"
        assert [event.text for event in events if isinstance(event, Transcript)] == ["hello world"]
        assert Usage(7, 2, input_audio_tokens=5, output_audio_tokens=2) in events

    async def test_a_short_noise_leaves_no_trace(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        await session.connect()
        utterance = session.open()
        utterance.push(noise(SECOND // 2))
        await utterance.aclose()
        assert spoken(await answer(session)) == [1, 2, 3]
        (only,) = server.sessions
        assert len(only.activities) == 1

    async def test_what_was_heard_but_not_meant_is_forgotten_with_the_connection(
        self, session: SpeechSession, server: GeminiLiveServer, world: World
    ) -> None:
        world.history = (ChatMessage("user", "hello"), ChatMessage("assistant", "good day"))
        utterance = session.open()
        utterance.push(noise(2 * SECOND))
        await until(server, lambda: server.sessions and server.sessions[0].heard)
        await utterance.aclose()
        assert spoken(await answer(session, noise(800))) == [1, 2, 3]
        assert len(server.sessions) == 2
        assert roles(server) == ["user", "model", "user", "model"]
        assert server.sessions[1].activities == [noise(800).astype("<i2").tobytes()]

    async def test_a_noise_during_an_answer_does_not_interrupt_it(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        go_on = asyncio.Event()
        server.scripts.append([ANSWER[0], go_on, *ANSWER[1:]])
        utterance = session.open()
        utterance.push(noise(800))
        async with aclosing(session.answer(utterance)) as parts:
            assert isinstance(first := await anext(parts), SpeechChunk)
            noisy = session.open()
            noisy.push(noise(2 * SECOND))
            await noisy.aclose()
            go_on.set()
            rest = [event async for event in parts]
        assert spoken([first, *rest]) == [1, 2, 3]
        (only,) = server.sessions
        assert only.interruptions == 0

    async def test_the_text_can_be_had_before_the_answer(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        utterance = session.open(language="en")
        utterance.push(noise(800))
        assert await utterance.finish() == Transcript("hello world", final=True, language="en")
        assert spoken([event async for event in session.answer(utterance)]) == [1, 2, 3]

    async def test_late_words_come_after_the_answer(
        self, session: SpeechSession, server: GeminiLiveServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live_duplex, "SETTLE_S", 0.01)
        server.hears = ()
        utterance = session.open()
        utterance.push(noise(800))
        events = [event async for event in session.answer(utterance)]
        assert not any(isinstance(event, Transcript) for event in events)
        for message in words_heard():
            await server.say(message)
        assert (await utterance.finish()).text == "hello world"

    async def test_the_services_word_for_the_language_counts(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        server.hears = [content(inputTranscription={"text": "hallo", "languageCode": "de", "finished": True})]
        utterance = session.open(language="en")
        utterance.push(noise(800))
        assert await utterance.finish() == Transcript("hallo", final=True, language="de")


class TestAnswering:
    async def test_an_answer_is_over_when_it_is_made(
        self, session: SpeechSession, server: GeminiLiveServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The service announces the end of a turn only when it thinks that it was played."""
        monkeypatch.setattr(live_duplex, "SETTLE_S", 0.01)
        played = asyncio.Event()
        server.scripts.append([*ANSWER, played])
        assert spoken(await answer(session)) == [1, 2, 3]
        played.set()
        assert spoken(await answer(session)) == [1, 2, 3]
        assert len(server.sessions) == 1

    async def test_a_question_while_the_service_thinks_that_it_still_plays(
        self, session: SpeechSession, server: GeminiLiveServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live_duplex, "SETTLE_S", 0.01)
        server.scripts += [[*ANSWER, asyncio.Event()], [content(**speech(4, 5, 6)), ANSWER[-1]]]
        assert spoken(await answer(session)) == [1, 2, 3]
        assert spoken(await answer(session)) == [4, 5, 6]
        (only,) = server.sessions
        assert only.interruptions == 1

    async def test_a_turn_that_goes_on_thinking_is_not_over(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        pause = content(generationComplete=True, turnComplete=True, interactionStatus="IN_PROGRESS")
        server.scripts.append([said("Let me see. "), content(**speech(7, 8)), pause, *ANSWER])
        events = await answer(session)
        assert spoken(events) == [7, 8, 1, 2, 3]
        assert text(events) == "Let me see. good day"

    async def test_thoughts_are_not_spoken(self, session: SpeechSession, server: GeminiLiveServer) -> None:
        thought = content(modelTurn={"role": "model", "parts": [{"text": "Hm.", "thought": True}]})
        server.scripts.append([thought, *ANSWER])
        assert text(await answer(session)) == "good day"

    async def test_a_written_question_is_answered(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        assert spoken([event async for event in session.ask("What time is it?")]) == [1, 2, 3]
        assert server.sessions[0].memory[0] == {"role": "user", "parts": [{"text": "What time is it?"}]}

    async def test_words_are_spoken_as_they_are_and_remembered_once(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        assert spoken([event async for event in session.say("Good morning!")]) == [1, 2, 3]
        await answer(session)
        order = server.sessions[0].memory[0]
        assert order["role"] == "user"
        assert order["parts"][0]["text"].endswith("\nGood morning!")
        assert roles(server) == ["user", "model", "user", "model"]

    async def test_a_question_replaces_one_that_is_being_answered(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        server.scripts.append([ANSWER[0], asyncio.Event()])
        utterance = session.open()
        utterance.push(noise(800))
        parts = session.answer(utterance)
        await anext(parts)
        assert spoken([event async for event in session.ask("No: what time is it?")]) == [1, 2, 3]
        await parts.aclose()
        assert len(server.sessions) == 2
        assert roles(server) == ["user", "model"]

    async def test_an_answer_that_was_half_heard_is_told_so_on_a_new_connection(
        self, session: SpeechSession, server: GeminiLiveServer, world: World
    ) -> None:
        await answer(session)
        world.history = (ChatMessage("user", "hello world"), ChatMessage("assistant", "good…"))
        await session.interrupted(heard_ms=0)
        assert spoken(await answer(session)) == [1, 2, 3]
        assert len(server.sessions) == 2
        assert server.sessions[1].memory[1]["parts"] == [{"text": "good…"}]

    async def test_an_answer_that_the_service_breaks_off_is_not_whole(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        server.scripts.append([ANSWER[0], content(interrupted=True)])
        with pytest.raises(ProviderUnavailable, match="broke off"):
            await answer(session)

    @pytest.mark.parametrize(
        ("reason", "error"),
        [("MALFORMED_FUNCTION_CALL", ProviderBadAnswer), ("PROHIBITED_INPUT_CONTENT", ProviderRefused)],
    )
    async def test_the_reason_for_no_answer_is_told(
        self,
        session: SpeechSession,
        server: GeminiLiveServer,
        reason: str,
        error: type[ProviderError],
    ) -> None:
        server.scripts.append([content(turnComplete=True, turnCompleteReason=reason)])
        with pytest.raises(error, match=reason):
            await answer(session)

    async def test_it_may_choose_to_say_nothing(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        server.scripts.append([content(turnComplete=True, turnCompleteReason="NEED_MORE_INPUT")])
        assert [part for part in await answer(session) if not isinstance(part, Transcript)] == []
        assert len(server.sessions) == 1

    async def test_an_error_in_a_message_is_told(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        server.scripts += [[{"code": 503, "message": "overloaded"}]] * 2
        with pytest.raises(ProviderUnavailable, match="overloaded"):
            await answer(session)

    async def test_speech_that_is_not_pcm_is_a_bad_answer(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        server.scripts.append([content(**speech(1, 2, kind="audio/ogg"))])
        with pytest.raises(ProviderBadAnswer, match="audio/ogg"):
            await answer(session)


class TestTools:
    async def test_a_call_is_answered_where_it_was_made(
        self, session: SpeechSession, server: GeminiLiveServer, world: World
    ) -> None:
        world.tools = (LIGHT,)
        server.scripts.append([said("Wait."), tool_call(Call("c1", "light", '{"on": true}'))])
        events = await answer(session)
        assert ToolCall("c1", "light", {"on": True}) in events
        results = (ChatMessage("tool", "done", tool_call_id="c1"),)
        assert spoken([event async for event in session.tool_results(results)]) == [1, 2, 3]
        (only,) = server.sessions
        (response,) = only.tool_responses
        assert response == {"id": "c1", "name": "light", "response": {"result": "done"}}

    async def test_further_calls_before_the_results_are_made_next(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        more = asyncio.Event()
        one, two = (tool_call(Call(name, "light", "{}")) for name in ("c1", "c2"))
        server.scripts.append([one, more, two])
        assert ToolCall("c1", "light", {}) in await answer(session)
        more.set()
        first = (ChatMessage("tool", "done", tool_call_id="c1"),)
        assert ToolCall("c2", "light", {}) in [event async for event in session.tool_results(first)]
        second = (ChatMessage("tool", "done", tool_call_id="c2"),)
        assert spoken([event async for event in session.tool_results(second)]) == [1, 2, 3]

    async def test_results_are_told_in_words_where_the_connection_was_lost_meanwhile(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        server.scripts.append([tool_call(Call("c1", "light", '{"on": true}'))])
        await answer(session)
        await server.close_with(1011, "Internal error encountered.")
        results = (ChatMessage("tool", "done", tool_call_id="c1"),)
        assert spoken([event async for event in session.tool_results(results)]) == [1, 2, 3]
        assert len(server.sessions) == 2
        notes = [part for turn in server.sessions[1].memory for part in turn.get("parts", ())]
        assert {"text": '(The tool light with {"on": true} has answered: done)'} in notes

    async def test_a_call_without_a_name_is_a_bad_answer(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        server.scripts.append([{"toolCall": {"functionCalls": [{"id": "c1"}]}}])
        with pytest.raises(ProviderBadAnswer):
            await answer(session)


class TestConnections:
    async def test_before_it_is_closed_a_connection_is_given_up_between_turns(
        self, session: SpeechSession, server: GeminiLiveServer, world: World
    ) -> None:
        await answer(session)
        world.history = (ChatMessage("user", "hello world"), ChatMessage("assistant", "good day"))
        await server.say({"goAway": {"timeLeft": "60s"}})
        await server.gone.wait()
        assert spoken(await answer(session)) == [1, 2, 3]
        assert len(server.sessions) == 2
        assert roles(server) == ["user", "model", "user", "model"]

    async def test_an_answer_is_ended_before_a_connection_is_given_up(
        self, session: SpeechSession, server: GeminiLiveServer
    ) -> None:
        server.scripts.append([ANSWER[0], {"goAway": {"timeLeft": "60s"}}, *ANSWER[1:]])
        assert spoken(await answer(session)) == [1, 2, 3]
        await server.gone.wait()
        assert spoken(await answer(session)) == [1, 2, 3]
        assert len(server.sessions) == 2

    @pytest.mark.parametrize(
        ("code", "reason", "error", "told"),
        [
            (1007, "Request contains an invalid argument.", ProviderRefused, "invalid argument"),
            (1008, "models/x is not found for API version v1beta", ProviderRefused, "models/x"),
            (1011, "You exceeded your current quota.", ProviderRateLimited, "quota"),
            (1011, "Resource has been exhausted (RESOURCE_EXHAUSTED).", ProviderRateLimited, "exhausted"),
            (1011, "Internal error encountered.", ProviderUnavailable, "Internal error"),
            (1008, f"The key {KEY} was reported as leaked.", ProviderRefused, r"The key \*\*\*"),
        ],
    )
    async def test_the_reason_for_hanging_up_is_told(
        self,
        open_session: Open,
        server: GeminiLiveServer,
        code: int,
        reason: str,
        error: type[ProviderError],
        told: str,
    ) -> None:
        server.refuses = (code, reason)
        with pytest.raises(error, match=told):
            await (await open_session()).connect()

    async def test_a_wrong_key_has_its_cure(self, open_session: Open) -> None:
        session = await open_session({"api_key": "AIza-wrong"})
        with pytest.raises(ProviderRefused, match=r"not valid.*gemini_live\.api_key") as caught:
            await session.connect()
        assert "AIza-wrong" not in str(caught.value)

    async def test_a_certificate_of_nobody_known_is_not_trusted(
        self, open_session: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(ProviderUnavailable):
            await (await open_session()).connect()

    async def test_a_service_without_confirmation_is_a_bad_answer(
        self, open_session: Open, server: GeminiLiveServer
    ) -> None:
        server.confirmation = {"goAway": {}}
        with pytest.raises(ProviderBadAnswer, match="set-up"):
            await (await open_session()).connect()
