"""Deepgram: what is asked for, its own endpointing, and the ways in which an utterance ends."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import pytest
from websockets.http11 import Response

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderNotConfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText
from tests.integration.providers.stt.hearing import begun, final, provider, query, speech, transcripts
from tests.servers.deepgram import KEY, DeepgramServer, results, utterance_end
from tests.servers.vendor import Asked
from tests.servers.websocket_vendor import Line, answer


@pytest.fixture
async def server() -> AsyncIterator[DeepgramServer]:
    running = DeepgramServer()
    await running.start()
    yield running
    await running.aclose()


def deepgram(server: DeepgramServer, **options: Any) -> SpeechToText:
    return provider("deepgram", base_url=server.url, api_key=KEY, **options)


async def asked(server: DeepgramServer, language: str | None = "en", **options: Any) -> Mapping[str, Any]:
    await final(deepgram(server, **options), language=language)
    return query(server.asked[-1].path)


async def test_it_asks_for_interim_results_of_raw_audio(server: DeepgramServer) -> None:
    wanted = await asked(server)
    assert wanted["model"] == ["nova-3"]
    assert (wanted["encoding"], wanted["sample_rate"], wanted["channels"]) == (["linear16"], ["16000"], ["1"])
    assert wanted["interim_results"] == ["true"]
    assert bytes(server.audio) == speech().astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("hint", "options", "expected"),
    [
        ("en-US", {}, ["en"]),
        ("pt_BR", {}, ["pt"]),
        (None, {}, ["multi"]),
        ("de", {"stt_language": "multi"}, ["multi"]),
        (None, {"stt_model": "nova-2"}, None),
    ],
)
async def test_the_language_is_told_as_far_as_it_is_known(
    server: DeepgramServer, hint: str | None, options: Mapping[str, str], expected: list[str] | None
) -> None:
    assert (await asked(server, hint, **options)).get("language") == expected


async def test_endpointing_and_expected_words_are_asked_for(server: DeepgramServer) -> None:
    usual = await asked(server)
    assert (usual["endpointing"], usual["utterance_end_ms"]) == (["300"], ["1000"])
    assert "keyterm" not in usual
    other = await asked(server, stt_endpointing_ms=0, stt_utterance_end_ms=0, stt_keyterms=["MiMi", "Küche"])
    assert other["endpointing"] == ["false"]
    assert "utterance_end_ms" not in other
    assert other["keyterm"] == ["MiMi", "Küche"]


async def test_text_comes_while_the_speaker_speaks(server: DeepgramServer) -> None:
    stt, recording = deepgram(server), begun()
    async with aclosing(stt.listen(recording, "en")) as heard:
        assert (await anext(heard)).text == "hello"
        assert not recording.ended
        recording.end()
        assert [transcript.text async for transcript in heard][-1] == "hello world"
    await stt.aclose()


@pytest.mark.parametrize(
    "judgement",
    [
        [results("hello", is_final=True, speech_final=True)],
        [results("hello", is_final=True), utterance_end()],
    ],
    ids=["speech_final", "UtteranceEnd"],
)
async def test_deepgrams_own_endpointing_is_passed_on(
    server: DeepgramServer, judgement: list[Mapping[str, Any]]
) -> None:
    server.meanwhile = [*judgement, results("", is_final=True), results("world")]
    server.flushed = [results("world", is_final=True, from_finalize=True)]
    heard = await transcripts(deepgram(server))
    flags = [(transcript.text, transcript.endpoint) for transcript in heard if not transcript.final]
    assert ("hello", True) in flags
    assert flags[-1] == ("hello world", False)
    assert heard[-1] == Transcript("hello world", True, "en", 0.5)


async def test_an_endpoint_shows_on_the_transcription(server: DeepgramServer) -> None:
    server.meanwhile = [results("hello", is_final=True, speech_final=True)]
    stt = deepgram(server)
    utterance = stt.open(language="en")
    assert not utterance.endpoint
    utterance.push(speech())
    await utterance.finish()
    assert not utterance.endpoint
    await utterance.aclose()
    await stt.aclose()


async def test_an_utterance_with_nothing_left_to_flush_ends_with_the_stream(server: DeepgramServer) -> None:
    server.meanwhile, server.flushed = [results("hello", is_final=True)], []
    assert (await final(deepgram(server))).text == "hello"
    assert server.controls == ["Finalize", "CloseStream"]


async def test_the_spoken_language_is_deepgrams_word(server: DeepgramServer) -> None:
    server.flushed = [results("bonjour", is_final=True, from_finalize=True, languages=["fr"])]
    server.meanwhile = []
    assert (await final(deepgram(server), language=None)).language == "fr"


@pytest.mark.parametrize(
    ("likely", "options", "language", "hint"),
    [
        ("vi-VN", {}, ["multi"], ["vi"]),
        ("vi", {"stt_language": "multi"}, ["multi"], ["vi"]),
        ("cy", {}, ["cy"], None),
        ("vi", {"stt_language": "de"}, ["de"], None),
        ("vi", {"stt_model": "nova-2"}, ["vi"], None),
    ],
)
async def test_a_language_that_is_not_certain_is_a_hint_where_deepgram_finds_it_out(
    server: DeepgramServer,
    likely: str,
    options: Mapping[str, str],
    language: list[str],
    hint: list[str] | None,
) -> None:
    await final(deepgram(server, **options), language=likely, certain=False)
    wanted = query(server.asked[-1].path)
    assert (wanted["language"], wanted.get("language_hint")) == (language, hint)


@pytest.mark.virtual_time
async def test_a_speaker_who_pauses_does_not_lose_the_line(server: DeepgramServer) -> None:
    stt, recording = deepgram(server), begun()
    async with aclosing(stt.listen(recording, "en")) as heard:
        assert (await anext(heard)).text == "hello"
        await server.control.wait()
        assert server.controls == ["KeepAlive"]
        recording.push(speech())
        recording.end()
        assert [transcript.text async for transcript in heard][-1] == "hello world"
    await stt.aclose()


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1008, ProviderRefused), (1011, ProviderUnavailable), (1000, ProviderUnavailable)],
)
async def test_a_line_closed_by_deepgram_has_its_kind(code: int, expected: type[ProviderError]) -> None:
    class Closing(DeepgramServer):
        async def converse(self, line: Line) -> None:
            await line.connection.close(code, "DATA-0000")

    server = Closing()
    await server.start()
    stt, recording = deepgram(server), begun()
    with pytest.raises(expected):
        async for _ in stt.listen(recording, "en"):
            pass
    await stt.aclose()
    await server.aclose()


async def test_a_web_page_is_a_bad_answer() -> None:
    class Page(DeepgramServer):
        def refusal(self, asked: Asked) -> Response | None:
            return answer(200, b"<html>It works!</html>")

    server = Page()
    await server.start()
    with pytest.raises(ProviderBadAnswer, match="no WebSocket service"):
        await final(deepgram(server))
    await server.aclose()


@pytest.mark.parametrize(
    "message", [{}, {"type": 5}, {"type": "Results"}, {"type": "Results", "channel": {"alternatives": [{}]}}]
)
async def test_messages_of_unknown_shape_are_bad_answers(
    server: DeepgramServer, message: Mapping[str, Any]
) -> None:
    server.meanwhile = [message]
    with pytest.raises(ProviderBadAnswer):
        await final(deepgram(server))


async def test_an_error_message_is_unavailability(server: DeepgramServer) -> None:
    server.meanwhile = [{"type": "Error", "variant": "X", "description": "out of order"}]
    with pytest.raises(ProviderUnavailable, match="out of order"):
        await final(deepgram(server))


async def test_a_key_is_needed() -> None:
    with pytest.raises(ProviderNotConfigured, match="DEEPGRAM_API_KEY"):
        await provider("deepgram").start()
