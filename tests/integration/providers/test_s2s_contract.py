"""The behaviour of every speech-to-speech provider: good answers, and each way to fail."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import numpy as np
import pytest

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, ToolSpec, Usage
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.realtime.provider import (
    S2sEvent,
    SpeechSession,
    SpeechSetup,
    SpeechToSpeech,
    SpeechUtterance,
)
from tests.integration.providers.conftest import Connect
from tests.integration.providers.row import Vendor
from tests.integration.providers.vendors import VENDORS
from tests.servers.s2s_service import S2sService, until
from tests.servers.vendor import Call, Cut, Nonsense, Silence, Status

pytestmark = [
    pytest.mark.parametrize("role", ["s2s"]),
    pytest.mark.parametrize("vendor", VENDORS["s2s"], ids=lambda vendor: vendor.name),
]

IMPATIENT_S = 0.3
LIGHT = ToolSpec("light", "Switches a light", {"type": "object", "properties": {"on": {"type": "boolean"}}})
BEFORE = (ChatMessage("user", "my name is Ann"), ChatMessage("assistant", "hello Ann"))

Talk = Callable[..., Awaitable[SpeechSession]]


@pytest.fixture
async def talk(connect: Connect) -> AsyncIterator[Talk]:
    """A conversation with the vendor: `await talk(retries=…, history=…, tools=…, **options)`."""
    opened: list[SpeechSession] = []

    async def begin(
        *, history: tuple[ChatMessage, ...] = (), tools: tuple[ToolSpec, ...] = (), **options: object
    ) -> SpeechSession:
        provider = await connect(**options)
        assert isinstance(provider, SpeechToSpeech)
        opened.append(provider.open(SpeechSetup(lambda: "Be brief.", lambda: tools, lambda: history)))
        return opened[-1]

    yield begin
    for session in opened:
        await session.aclose()


def speak(session: SpeechSession, samples: int = 4800) -> SpeechUtterance:
    """An utterance of `samples`."""
    utterance = session.open()
    for begin in range(0, samples, 1200):
        utterance.push(np.ones(min(1200, samples - begin), np.int16))
    return utterance


async def events(stream: AsyncGenerator[S2sEvent, None]) -> list[S2sEvent]:
    async with aclosing(stream) as parts:
        return [part async for part in parts]


def said(found: list[S2sEvent]) -> tuple[str, list[int]]:
    """The words and the samples of an answer."""
    words = "".join(part.text for part in found if isinstance(part, TextDelta))
    return words, [int(sample) for part in found if isinstance(part, SpeechChunk) for sample in part.pcm]


GOOD = ("good day", [1, 2, 3])


class TestAnswers:
    async def test_an_utterance_is_answered(self, talk: Talk, server: S2sService) -> None:
        session = await talk(tools=(LIGHT,))
        utterance = speak(session)
        found = await events(session.answer(utterance))
        assert said(found) == GOOD
        assert {part.sample_rate for part in found if isinstance(part, SpeechChunk)} == {24_000}
        assert [part for part in found if isinstance(part, Usage)]
        assert (await utterance.finish()).text == "hello world"
        assert server.memory == ["audio 4800", "assistant good day"]
        assert (server.prompt, server.tools) == ("Be brief.", ["light"])

    async def test_one_connection_remembers(self, talk: Talk, server: S2sService) -> None:
        session = await talk()
        await events(session.answer(speak(session)))
        assert said(await events(session.answer(speak(session, 3600)))) == GOOD
        assert server.memory == ["audio 4800", "assistant good day", "audio 3600", "assistant good day"]
        assert len(server.asked) == 1

    async def test_a_written_question_is_answered(self, talk: Talk, server: S2sService) -> None:
        session = await talk()
        assert said(await events(session.ask("hello"))) == GOOD
        assert server.memory == ["user hello", "assistant good day"]

    async def test_what_is_recited_is_no_question(
        self, talk: Talk, server: S2sService, vendor: Vendor
    ) -> None:
        session = await talk()
        assert said(await events(session.say("Welcome!"))) == GOOD
        await events(session.ask("hello"))
        *recited, question, answered = server.memory
        assert [question, answered] == ["user hello", "assistant good day"]
        if vendor.recites_aside:
            assert recited == ["assistant Welcome!"]
        else:
            order, spoken = recited
            assert order.endswith("Welcome!")
            assert spoken == "assistant good day"

    async def test_late_words_hold_nothing_up(self, talk: Talk, server: S2sService) -> None:
        server.words.clear()
        session = await talk()
        utterance = speak(session)
        found = await events(session.answer(utterance))
        assert said(found) == GOOD
        assert not [part for part in found if isinstance(part, Transcript)]
        server.words.set()
        assert (await utterance.finish()).text == "hello world"

    async def test_the_words_come_without_an_answer(self, talk: Talk) -> None:
        session = await talk()
        utterance = speak(session)
        assert (await utterance.finish()).text == "hello world"
        await utterance.aclose()

    async def test_a_tool_is_called_and_its_result_answered(self, talk: Talk, server: S2sService) -> None:
        server.answer_with_calls(Call("call-1", "light", '{"on": true}'), Call("call-2", "light", "{}"))
        session = await talk(tools=(LIGHT,))
        found = await events(session.ask("light on"))
        made = [part for part in found if isinstance(part, ToolCall)]
        assert [(call.name, dict(call.arguments)) for call in made] == [
            ("light", {"on": True}),
            ("light", {}),
        ]
        results = [ChatMessage("tool", f"done {n}", tool_call_id=call.id) for n, call in enumerate(made)]
        assert said(await events(session.tool_results(results))) == GOOD
        assert server.memory[-3:] == ["result done 0", "result done 1", "assistant good day"]

    async def test_many_talk_at_once(self, talk: Talk) -> None:
        first = await talk()
        others = [await talk() for _ in range(3)]
        asked = [events(session.answer(speak(session))) for session in (first, *others)]
        assert [said(found) for found in await asyncio.gather(*asked)] == [GOOD] * 4

    async def test_check_hears_a_word(self, connect: Connect) -> None:
        assert "of speech at 24000 Hz" in await (await connect()).check()

    async def test_closing_twice_is_harmless(self, talk: Talk, connect: Connect) -> None:
        session = await talk()
        await session.connect()
        await session.aclose()
        await session.aclose()
        provider = await connect()
        await provider.aclose()
        await provider.aclose()


class TestForgetting:
    async def test_an_interrupted_answer_is_forgotten_from_there(
        self, talk: Talk, server: S2sService
    ) -> None:
        server.talks_on = True
        session = await talk()
        async with aclosing(session.ask("hello")) as parts:
            async for part in parts:
                if isinstance(part, SpeechChunk):
                    break
            await session.interrupted(0)
        server.talks_on = False
        assert said(await events(session.ask("again"))) == GOOD
        assert "assistant good day" not in server.memory[:-1]
        assert server.memory[-2:] == ["user again", "assistant good day"]

    @pytest.mark.parametrize("ended", [False, True])
    async def test_a_discarded_utterance_leaves_no_trace(
        self, talk: Talk, server: S2sService, ended: bool
    ) -> None:
        session = await talk()
        noise = speak(session, 6000)
        if ended:
            await noise.finish()
        await noise.aclose()
        await events(session.answer(speak(session, 3600)))
        assert server.memory == ["audio 3600", "assistant good day"]

    async def test_an_answered_utterance_can_be_discarded_with_its_answer(
        self, talk: Talk, server: S2sService
    ) -> None:
        server.talks_on = True
        session = await talk()
        echo = speak(session, 6000)
        async with aclosing(session.answer(echo)) as parts:
            async for part in parts:
                if isinstance(part, SpeechChunk):
                    break
            await session.interrupted(0)
        await echo.discard()
        server.talks_on = False
        await events(session.answer(speak(session, 3600)))
        assert server.memory == ["audio 3600", "assistant good day"]


class TestConnections:
    async def test_one_cut_while_idle_is_made_again_with_the_history(
        self, talk: Talk, server: S2sService
    ) -> None:
        session = await talk(history=BEFORE)
        await events(session.ask("hello"))
        server.hang_up()
        await until(lambda: not session.connected)
        assert said(await events(session.answer(speak(session)))) == GOOD
        assert server.memory == [
            "user my name is Ann",
            "assistant hello Ann",
            "audio 4800",
            "assistant good day",
        ]

    async def test_one_cut_at_the_question_is_made_again_with_the_same_audio(
        self, talk: Talk, server: S2sService
    ) -> None:
        server.faults.append(Cut(0))
        session = await talk(retries=1)
        assert said(await events(session.answer(speak(session)))) == GOOD
        assert server.memory == ["audio 4800", "assistant good day"]
        assert len(server.asked) == 2

    async def test_one_cut_in_the_middle_is_an_error(self, talk: Talk, server: S2sService) -> None:
        server.faults.append(Cut(4))
        session = await talk(retries=1)
        with pytest.raises(ProviderUnavailable):
            await events(session.answer(speak(session)))
        assert said(await events(session.ask("again"))) == GOOD


class TestFailures:
    async def test_a_wrong_key_is_refused_and_not_shown(self, talk: Talk, vendor: Vendor) -> None:
        session = await talk(retries=1, **vendor.wrong_key)
        with pytest.raises(ProviderRefused) as caught:
            await events(session.answer(speak(session)))
        assert all(str(value) not in str(caught.value) for value in vendor.wrong_key.values())

    async def test_too_many_requests_carries_the_vendors_own_time(
        self, talk: Talk, server: S2sService
    ) -> None:
        server.faults.append(Status(429, "slow down", retry_after="7"))
        session = await talk()
        with pytest.raises(ProviderRateLimited, match="slow down") as caught:
            await session.connect()
        assert caught.value.retry_after_s == 7

    async def test_a_failing_server_is_asked_again(self, talk: Talk, server: S2sService) -> None:
        server.faults += [Status(500, "broken"), Status(503, "broken")]
        session = await talk(retries=2)
        assert said(await events(session.ask("hello"))) == GOOD
        server.faults.append(Status(500, "broken"))
        with pytest.raises(ProviderUnavailable, match="broken"):
            await (await talk()).connect()

    async def test_silence_times_out(self, talk: Talk, server: S2sService) -> None:
        server.faults.append(Silence(after=0))
        session = await talk(timeout_s=IMPATIENT_S)
        with pytest.raises(ProviderTimeout):
            await events(session.ask("hello"))

    async def test_silence_in_the_middle_times_out(self, talk: Talk, server: S2sService) -> None:
        server.faults.append(Silence(after=4))
        session = await talk(timeout_s=IMPATIENT_S)
        with pytest.raises(ProviderTimeout):
            await events(session.ask("hello"))

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"no": "type"}', b"null"])
    async def test_nonsense_is_a_bad_answer(self, talk: Talk, server: S2sService, body: bytes) -> None:
        server.faults.append(Nonsense(body))
        session = await talk()
        with pytest.raises(ProviderBadAnswer):
            await events(session.ask("hello"))
        assert said(await events(session.ask("again"))) == GOOD

    async def test_a_message_without_end_is_a_bad_answer(self, talk: Talk, server: S2sService) -> None:
        server.faults.append(Nonsense(b'{"type": "' + bytes(b"x" * (1 << 20)) + b'"}'))
        session = await talk()
        with pytest.raises(ProviderBadAnswer, match="1 MiB"):
            await events(session.ask("hello"))

    async def test_nobody_there_is_an_unavailable_service(self, talk: Talk, server: S2sService) -> None:
        session = await talk()
        await server.aclose()
        with pytest.raises(ProviderUnavailable):
            await session.connect()
