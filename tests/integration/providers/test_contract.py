"""The behaviour of every provider, whatever the vendor: good answers, and each way to fail."""

import asyncio
from collections.abc import Callable
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
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import Provider, Role
from mimi_mqtt.providers.contract.recording import Recording
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import TextToSpeech
from tests.integration.providers.conftest import Connect
from tests.integration.providers.row import Vendor
from tests.integration.providers.vendors import VENDORS
from tests.servers.edge_server import heard_tones
from tests.servers.vendor import Call, Cut, FakeVendor, Nonsense, Silence, Status, VendorServer

IMPATIENT_S = 0.1
QUESTION = (ChatMessage("system", "Be brief."), ChatMessage("user", "hello"))
TOOLS = (
    ToolSpec("light", "Switches a light", {"type": "object", "properties": {"on": {"type": "boolean"}}}),
)


def rows(*roles: Role, where: Callable[[Vendor], object] = lambda vendor: True) -> pytest.MarkDecorator:
    """One test per vendor of `roles`, if it is one `where` the test applies."""
    cases = [(role, vendor) for role in roles for vendor in VENDORS[role] if where(vendor)]
    return pytest.mark.parametrize(
        ("role", "vendor"), cases, ids=[f"{role}-{vendor.name}" for role, vendor in cases]
    )


async def request(provider: Provider) -> str:
    """One small request of whatever the provider's role is; what came of it, in words."""
    match provider:
        case SpeechToText():
            utterance = provider.open(language="en")
            try:
                utterance.push(np.arange(1600, dtype=np.int16))
                return (await utterance.finish()).text
            finally:
                await utterance.aclose()
        case LanguageModel():
            async with aclosing(provider.chat(QUESTION)) as events:
                return "".join([event.text async for event in events if isinstance(event, TextDelta)])
        case TextToSpeech():
            async with aclosing(provider.speak("hello")) as chunks:
                samples = [int(sample) async for chunk in chunks for sample in chunk.pcm]
            # A lossy codec keeps no sample; those who have one say tones instead.
            return heard_tones(samples) if len(samples) > 3 else " ".join(map(str, samples))
    raise AssertionError(provider)


EXPECTED: dict[Role, str] = {"stt": "hello world", "llm": "good day", "tts": "1 2 3"}


async def asked_again(provider: Provider, role: Role, server: FakeVendor) -> None:
    """After a fault that may have come too late: only who does nothing by being asked is asked twice."""
    if provider.has_side_effects:
        with pytest.raises(ProviderUnavailable):
            await request(provider)
        assert len(server.asked) == 1
    else:
        assert await request(provider) == EXPECTED[role]


@rows("stt", "llm", "tts")
class TestEveryRole:
    async def test_answers(self, role: Role, connect: Connect) -> None:
        assert await request(await connect()) == EXPECTED[role]

    async def test_answers_many_at_once(self, role: Role, connect: Connect) -> None:
        provider = await connect()
        assert await asyncio.gather(*(request(provider) for _ in range(5))) == [EXPECTED[role]] * 5

    async def test_check_answers(self, connect: Connect) -> None:
        assert await (await connect()).check()

    async def test_closing_twice_is_harmless(self, connect: Connect) -> None:
        provider = await connect()
        await provider.aclose()
        await provider.aclose()


@rows("stt", "llm", "tts", where=lambda vendor: vendor.wrong_key)
class TestKeys:
    async def test_a_wrong_key_is_refused_and_not_shown(self, connect: Connect, vendor: Vendor) -> None:
        with pytest.raises(ProviderRefused) as caught:
            await request(await connect(retries=1, **vendor.wrong_key))
        assert all(str(value) not in str(caught.value) for value in vendor.wrong_key.values())


@rows("stt", "llm", "tts", where=lambda vendor: vendor.speaks_http)
class TestHttpErrors:
    async def test_an_unknown_model_is_refused(
        self, connect: Connect, vendor: Vendor, server: FakeVendor
    ) -> None:
        server.faults.append(Status(404, "no such model"))
        with pytest.raises(ProviderRefused, match="no such model" if vendor.says_why else None):
            await request(await connect(retries=1))

    async def test_too_many_requests_carries_the_vendors_own_time(
        self, connect: Connect, server: FakeVendor
    ) -> None:
        server.faults.append(Status(429, "slow down", retry_after="60"))
        with pytest.raises(ProviderRateLimited) as caught:
            await request(await connect(retries=1))
        assert caught.value.retry_after_s == 60

    async def test_too_many_requests_is_tried_again_when_it_pays(
        self, role: Role, connect: Connect, server: FakeVendor
    ) -> None:
        server.faults.append(Status(429, "slow down", retry_after="0"))
        assert await request(await connect(retries=1)) == EXPECTED[role]
        assert len(server.asked) == 2


@rows("llm")
@pytest.mark.parametrize("after", [None, 1], ids=["before its answer", "within its answer"])
async def test_a_language_model_that_is_not_listened_to_any_more_loses_its_connection(
    connect: Connect, server: FakeVendor, after: int | None
) -> None:
    """Else it would go on making an answer that nobody hears, and that is paid for."""
    assert isinstance(server, VendorServer)
    server.faults.append(Silence(after))
    provider = await connect(timeout_s=60)
    asking = asyncio.create_task(request(provider))
    await server.hung.wait()
    asking.cancel()
    async with asyncio.timeout(10):
        await server.all_left()


@rows("stt", "llm", "tts", where=lambda vendor: vendor.remote)
class TestConnections:
    async def test_check_really_asks(self, connect: Connect, server: FakeVendor) -> None:
        assert await (await connect()).check()
        assert len(server.asked) == 1

    @pytest.mark.parametrize("code", [500, 503])
    async def test_a_server_error_is_unavailability(
        self, connect: Connect, server: FakeVendor, code: int
    ) -> None:
        server.faults.append(Status(code, "overloaded"))
        with pytest.raises(ProviderUnavailable):
            await request(await connect())

    async def test_a_server_error_is_tried_again_unless_that_may_act_twice(
        self, role: Role, connect: Connect, server: FakeVendor
    ) -> None:
        server.faults.append(Status(500, "overloaded"))
        await asked_again(await connect(retries=1), role, server)

    async def test_silence_times_out(self, connect: Connect, server: FakeVendor) -> None:
        server.faults.append(Silence())
        with pytest.raises(ProviderTimeout):
            await request(await connect(timeout_s=IMPATIENT_S))

    async def test_a_cancelled_request_leaves_a_working_provider(
        self, role: Role, connect: Connect, server: FakeVendor
    ) -> None:
        server.faults.append(Silence())
        provider = await connect()
        asking = asyncio.create_task(request(provider))
        await server.hung.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await request(provider) == EXPECTED[role]

    async def test_falling_silent_in_the_middle_times_out(self, connect: Connect, server: FakeVendor) -> None:
        server.faults.append(Silence(after=1))
        with pytest.raises(ProviderTimeout):
            await request(await connect(timeout_s=IMPATIENT_S))

    @pytest.mark.parametrize("after", [0, 1])
    async def test_a_cut_connection_is_unavailability(
        self, connect: Connect, server: FakeVendor, after: int
    ) -> None:
        server.faults.append(Cut(after))
        with pytest.raises(ProviderUnavailable):
            await request(await connect())

    async def test_a_connection_cut_before_the_first_part_is_tried_again_unless_that_may_act_twice(
        self, role: Role, connect: Connect, server: FakeVendor
    ) -> None:
        server.faults.append(Cut(0))
        await asked_again(await connect(retries=1), role, server)

    @pytest.mark.parametrize(
        "answer",
        [
            Nonsense(),
            Nonsense(b"", "application/octet-stream"),
            Nonsense(b"data: {broken\n\n", "text/event-stream"),
            Nonsense(b'data: {"choices": 5}\n\ndata: [DONE]\n\n', "text/event-stream"),
            Nonsense(b'data: {"choices": [{}]}\n\ndata: [DONE]\n\n', "text/event-stream"),
            Nonsense(b"data: 7\n\ndata: [DONE]\n\n", "text/event-stream"),
            Nonsense(b"{", "application/json"),
            Nonsense(b"[1]", "application/json"),
        ],
        ids=["html", "empty", "broken-event", "wrong-type", "missing-field", "number", "broken", "list"],
    )
    async def test_nonsense_is_a_bad_answer(
        self, connect: Connect, server: FakeVendor, answer: Nonsense
    ) -> None:
        server.faults.append(answer)
        with pytest.raises(ProviderBadAnswer):
            await request(await connect())

    async def test_nobody_there_is_unavailability(self, connect: Connect, server: FakeVendor) -> None:
        provider = await connect()
        await server.aclose()
        with pytest.raises(ProviderUnavailable):
            await request(provider)


@rows("stt")
class TestSpeechToText:
    async def test_interim_text_grows_to_the_final(self, connect: Connect, vendor: Vendor) -> None:
        provider = await connect()
        assert isinstance(provider, SpeechToText)

        recording = Recording(provider.capabilities.sample_rate, 1.0)
        recording.push(np.ones(160, np.int16))
        recording.end()
        transcripts = [transcript async for transcript in provider.listen(recording, "en")]
        interim = [transcript.text for transcript in transcripts if not transcript.final]
        assert interim == (["hello", "hello world"] if vendor.streams_transcripts else [])
        assert [transcript.text for transcript in transcripts if transcript.final] == ["hello world"]
        assert transcripts[-1].language == ("en" if vendor.tells_language else None)


@rows("llm")
class TestLanguageModel:
    async def test_text_comes_in_pieces_and_usage_last(self, connect: Connect, vendor: Vendor) -> None:
        provider = await connect()
        assert isinstance(provider, LanguageModel)
        events = [event async for event in provider.chat(QUESTION)]
        if vendor.streams_answers:
            assert events == [TextDelta("good "), TextDelta("day"), Usage(7, 2)]
        else:
            assert events == [TextDelta("good day")]

    async def test_an_answer_can_be_left_early(self, connect: Connect) -> None:
        provider = await connect()
        assert isinstance(provider, LanguageModel)
        async with aclosing(provider.chat(QUESTION)) as events:
            assert isinstance(await anext(events), TextDelta)
        assert await request(provider) == "good day"


@rows("llm", where=lambda vendor: vendor.calls_tools)
class TestToolCalls:
    async def test_tool_calls_are_whole(self, connect: Connect, server: FakeVendor) -> None:
        server.answer_with_calls(
            Call("call_a", "light", '{"on": true, "room": "küche"}'), Call("call_b", "light", "{}")
        )
        provider = await connect()
        assert isinstance(provider, LanguageModel)
        events = [event async for event in provider.chat(QUESTION, TOOLS)]
        assert [event for event in events if isinstance(event, ToolCall)] == [
            ToolCall("call_a", "light", {"on": True, "room": "küche"}),
            ToolCall("call_b", "light", {}),
        ]

    @pytest.mark.parametrize("arguments", ['{"on": tr', "[1]", "5"])
    async def test_broken_arguments_are_a_bad_answer(
        self, connect: Connect, server: FakeVendor, arguments: str
    ) -> None:
        server.answer_with_calls(Call("call_a", "light", arguments))
        with pytest.raises(ProviderBadAnswer):
            await request(await connect())


@rows("tts")
class TestTextToSpeech:
    async def test_speech_has_its_rate(self, connect: Connect) -> None:
        provider = await connect()
        assert isinstance(provider, TextToSpeech)
        chunks = [chunk async for chunk in provider.speak("hello")]
        assert {chunk.sample_rate for chunk in chunks} == {24_000}
        assert all(chunk.pcm.dtype == np.int16 for chunk in chunks)

    async def test_the_first_chunk_does_not_wait_for_the_rest(
        self, connect: Connect, server: FakeVendor
    ) -> None:
        server.faults.append(Silence(after=1))
        provider = await connect()
        assert isinstance(provider, TextToSpeech)
        async with aclosing(provider.speak("hello")) as chunks:
            assert (await anext(chunks)).pcm.size

    async def test_speech_can_be_left_early(self, connect: Connect) -> None:
        provider = await connect()
        assert isinstance(provider, TextToSpeech)
        async with aclosing(provider.speak("hello")) as chunks:
            await anext(chunks)
        assert await request(provider) == "1 2 3"
