"""Gemini: what it is given to hear, and what of its answer is what was said."""

import io
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.errors import ProviderBadAnswer, ProviderError, ProviderNotConfigured, ProviderRefused
from mimi_mqtt.providers.contract.stt import SpeechToText
from tests.integration.providers.stt.hearing import final, provider, transcripts
from tests.servers.gemini_asr import KEY, GeminiAsrServer, candidate


@pytest.fixture
async def server() -> AsyncIterator[GeminiAsrServer]:
    running = GeminiAsrServer()
    await running.start()
    yield running
    await running.aclose()


def gemini(server: GeminiAsrServer, **options: Any) -> SpeechToText:
    return provider("gemini", base_url=server.url, api_key=KEY, **options)


def instruction(server: GeminiAsrServer) -> str:
    return "".join(part["text"] for part in server.asked[-1].fields["systemInstruction"]["parts"])


async def test_the_utterance_is_given_as_a_wav_file(server: GeminiAsrServer) -> None:
    await final(gemini(server))
    with wave.open(io.BytesIO(server.heard[0])) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        assert [*np.frombuffer(file.readframes(2000), "<i2")] == [*range(1600)]


async def test_language_and_expected_words_are_told(server: GeminiAsrServer) -> None:
    await final(gemini(server, stt_words=["MiMi", "Küche"], stt_model="gemini-x"), language="de-DE")
    assert "de-DE" in instruction(server)
    assert "MiMi, Küche" in instruction(server)
    assert server.asked[0].path == "/v1beta/models/gemini-x:streamGenerateContent"
    assert "thinkingConfig" not in server.asked[0].fields.get("generationConfig", {})


@pytest.mark.parametrize(
    ("options", "told"),
    [({"stt_thinking_budget": 0}, 0), ({"stt_thinking_level": "minimal"}, "MINIMAL")],
)
async def test_thinking_can_be_limited(
    server: GeminiAsrServer, options: Mapping[str, Any], told: object
) -> None:
    await final(gemini(server, **options))
    assert [*server.asked[0].fields["generationConfig"]["thinkingConfig"].values()] == [told]


async def test_a_language_that_is_not_certain_is_asked_for(server: GeminiAsrServer) -> None:
    server.words = ("[d", "e] guten", " Tag")
    heard = await transcripts(gemini(server), language="en", certain=False)
    assert [transcript.text for transcript in heard] == ["guten", "guten Tag", "guten Tag"]
    assert heard[-1].language == "de"
    assert "most likely en" in instruction(server)
    assert "such as [en]" in instruction(server)


async def test_a_model_that_forgets_to_tell_the_language_is_believed_in_the_rest(
    server: GeminiAsrServer,
) -> None:
    transcript = await final(gemini(server), language="en", certain=False)
    assert (transcript.text, transcript.language) == ("hello world", None)


@pytest.mark.parametrize("certain", [True, False])
async def test_silence_is_no_text_and_never_shown(server: GeminiAsrServer, certain: bool) -> None:
    server.words = ("[sil", "ence]")
    heard = await transcripts(gemini(server), certain=certain)
    assert [(transcript.text, transcript.final) for transcript in heard] == [("", True)]


async def test_thoughts_are_not_what_was_said(server: GeminiAsrServer) -> None:
    server.chunks = [candidate("Hm.", thought=True), candidate("hello", "STOP")]
    assert (await final(gemini(server))).text == "hello"


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([candidate("hel", "SAFETY")], ProviderRefused),
        ([{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}], ProviderRefused),
        ([candidate("hello")], ProviderBadAnswer),
        ([], ProviderBadAnswer),
    ],
    ids=["withheld", "blocked", "without an end", "nothing"],
)
async def test_answers_without_the_whole_text_are_errors(
    server: GeminiAsrServer, chunks: Sequence[Mapping[str, Any]], expected: type[ProviderError]
) -> None:
    server.chunks = chunks
    with pytest.raises(expected):
        await final(gemini(server))


async def test_a_key_is_needed() -> None:
    with pytest.raises(ProviderNotConfigured, match="GEMINI_API_KEY"):
        await provider("gemini").start()
