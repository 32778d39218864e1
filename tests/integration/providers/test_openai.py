"""OpenAI's wire protocol, and servers that are only nearly compatible."""

import io
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
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
from mimi_mqtt.providers.contract.chat import ChatMessage, LlmEvent, TextDelta, ToolCall, ToolSpec, Usage
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions
from mimi_mqtt.providers.vendors.openai.compatible import OFFICIAL_URL, OpenAiOptions
from mimi_mqtt.providers.vendors.openai.tts import OpenAiTtsOptions
from tests.integration.providers.stt.hearing import final
from tests.servers.openai_server import KEY, OpenAiServer
from tests.servers.vendor import Status

QUESTION = (ChatMessage("user", "hello"),)


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    running = OpenAiServer()
    await running.start()
    yield running
    await running.aclose()


def settings(server: OpenAiServer, **options: Any) -> ProviderSettings:
    values = {"base_url": server.base_url, "api_key": KEY} | options
    return ProviderSettings(
        stt=("openai",), llm=("openai",), tts=("openai",), retries=0, options={"openai": values}
    )


async def hear(server: OpenAiServer, language: str | None = "en-US", **options: Any) -> Mapping[str, Any]:
    stt: SpeechToText = registry.build("stt", settings(server, **options), {})
    utterance = stt.open(language=language)
    utterance.push(np.arange(100, dtype=np.int16))
    await utterance.finish()
    await utterance.aclose()
    await stt.aclose()
    return server.asked[-1].fields


async def chat(
    server: OpenAiServer,
    messages: Sequence[ChatMessage] = QUESTION,
    tools: Sequence[ToolSpec] = (),
    **options: Any,
) -> list[LlmEvent]:
    llm: LanguageModel = registry.build("llm", settings(server, **options), {})
    try:
        return [event async for event in llm.chat(messages, tools)]
    finally:
        await llm.aclose()


async def speak(
    server: OpenAiServer, voice: VoiceOptions | None = None, **options: Any
) -> list[tuple[int, list[int]]]:
    tts: TextToSpeech = registry.build("tts", settings(server, **options), {})
    try:
        return [(chunk.sample_rate, [*map(int, chunk.pcm)]) async for chunk in tts.speak("hello", voice)]
    finally:
        await tts.aclose()


# ── hearing ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_utterance_is_sent_as_a_wav_file(server: OpenAiServer) -> None:
    await hear(server)
    with wave.open(io.BytesIO(server.asked[0].files["file"])) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        assert list(np.frombuffer(file.readframes(200), "<i2")) == list(range(100))


async def test_the_language_is_a_hint_of_two_letters(server: OpenAiServer) -> None:
    assert (await hear(server, stt_model="whisper-1"))["language"] == "en"
    assert (await hear(server, stt_model="gpt-transcribe"))["languages[]"] == ["en"]
    without = await hear(server, language=None)
    assert "language" not in without
    assert "languages[]" not in without


async def heard_language(server: OpenAiServer, language: str | None, **options: Any) -> str | None:
    stt = registry.build("stt", settings(server, **options), {})
    return (await final(stt, language=language, certain=False)).language


@pytest.mark.parametrize(
    ("model", "language"),
    [("whisper-1", "de"), ("gpt-transcribe", "de"), ("gpt-4o-transcribe", None)],
)
async def test_a_language_that_is_not_certain_is_found_out(
    server: OpenAiServer, model: str, language: str | None
) -> None:
    server.language, server.code = "german", "de"
    assert await heard_language(server, "en", stt_model=model) == language
    assert not {"language", "languages[]"} & {*server.asked[0].fields}


async def test_a_server_that_has_no_verbose_answers_is_not_asked_for_them(server: OpenAiServer) -> None:
    assert await heard_language(server, None, stt_model="whisper-small", stt_verbose=False) is None
    assert server.asked[0].fields["response_format"] == "json"


async def test_a_server_that_refuses_verbose_answers_is_asked_without(server: OpenAiServer) -> None:
    server.refuses_verbose = True
    stt = registry.build("stt", settings(server, stt_model="whisper-1"), {})
    for _ in range(2):
        utterance = stt.open()
        utterance.push(np.arange(100, dtype=np.int16))
        assert (await utterance.finish()).text == "hello world"
        await utterance.aclose()
    await stt.aclose()
    formats = [asked.fields["response_format"] for asked in server.asked]
    assert formats == ["verbose_json", "json", "json"]
    with pytest.raises(ProviderRefused, match="not supported"):
        await heard_language(server, None, stt_model="whisper-1", stt_verbose=True)


def segment(text: str, **measures: float) -> Mapping[str, Any]:
    """As Whisper tells of words that were clearly spoken, but for `measures`."""
    usual = {"avg_logprob": -0.2, "no_speech_prob": 0.01, "compression_ratio": 0.9, "temperature": 0.0}
    return {"id": 0, "seek": 0, "start": 0.0, "end": 1.0, "tokens": [1], "text": text, **usual, **measures}


async def heard(server: OpenAiServer, **options: Any) -> Transcript:
    stt = registry.build("stt", settings(server, stt_model="whisper-1", **options), {})
    return await final(stt, language="en", certain=False)


async def test_words_that_nobody_has_said_are_left_out(server: OpenAiServer) -> None:
    server.segments = (segment(" Hello there."), segment(" Thank you.", no_speech_prob=0.95))
    assert (await heard(server)).text == "Hello there."


async def test_noise_is_no_words_and_of_no_language(server: OpenAiServer) -> None:
    server.words, server.language = ("Vielen Dank.",), "german"
    server.segments = (segment(" Vielen Dank.", no_speech_prob=0.7, avg_logprob=-0.8),)
    assert await heard(server) == Transcript("", final=True)


@pytest.mark.parametrize("segments", [({"text": " hello"},), ({"text": " x", "no_speech_prob": "?"},), ()])
async def test_a_server_that_tells_nothing_of_its_words_is_believed(
    server: OpenAiServer, segments: Sequence[Mapping[str, Any]]
) -> None:
    server.segments = segments
    assert (await heard(server)).text == "hello world"


async def test_text_is_streamed_by_models_that_can(server: OpenAiServer) -> None:
    assert (await hear(server, stt_model="gpt-4o-transcribe"))["stream"] == "true"
    assert "stream" not in await hear(server, stt_model="whisper-1")
    assert "stream" not in await hear(server, stt_model="gpt-4o-transcribe", stt_stream=False)


async def test_expected_words_are_sent_along(server: OpenAiServer) -> None:
    assert (await hear(server, stt_prompt="MiMi, Küche"))["prompt"] == "MiMi, Küche"
    assert "prompt" not in await hear(server)


# ── thinking ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dialogue_with_tools_is_told_in_openais_terms(server: OpenAiServer) -> None:
    call = ToolCall("call_a", "light", {"room": "Küche"})
    messages = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "light on"),
        ChatMessage("assistant", "", (call,)),
        ChatMessage("tool", "done", tool_call_id="call_a"),
        ChatMessage("assistant", "It is on."),
    )
    await chat(server, messages, (ToolSpec("light", "Switches a light", {}),))
    sent = server.asked[0].fields
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "light on"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "light", "arguments": '{"room": "Küche"}'},
                }
            ],
        },
        {"role": "tool", "content": "done", "tool_call_id": "call_a"},
        {"role": "assistant", "content": "It is on."},
    ]
    assert sent["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "light",
                "description": "Switches a light",
                "parameters": {"type": "object", "properties": {}},
            },
        }
    ]


async def test_options_are_sent_only_when_set(server: OpenAiServer) -> None:
    await chat(server)
    await chat(server, llm_model="qwen3", llm_temperature=0.0, llm_max_tokens=99, llm_reasoning_effort="low")
    bare, full = server.asked[0].fields, server.asked[1].fields
    assert not {"temperature", "max_tokens", "max_completion_tokens", "reasoning_effort", "tools"} & set(bare)
    assert (full["model"], full["temperature"], full["max_tokens"]) == ("qwen3", 0.0, 99)
    assert full["reasoning_effort"] == "low"


async def test_a_server_that_can_not_count_tokens_is_asked_without_from_then_on(server: OpenAiServer) -> None:
    server.refuses_stream_options = True
    llm = registry.build("llm", settings(server), {})
    for _ in range(2):
        assert [event async for event in llm.chat(QUESTION)] == [TextDelta("good "), TextDelta("day")]
    await llm.aclose()
    assert ["stream_options" in asked.fields for asked in server.asked] == [True, False, False]


async def test_token_counting_can_be_switched_off(server: OpenAiServer) -> None:
    events = await chat(server, llm_usage=False)
    assert not [event for event in events if isinstance(event, Usage)]
    assert "stream_options" not in server.asked[0].fields


async def test_thoughts_are_not_part_of_the_answer(server: OpenAiServer) -> None:
    server.deltas = [{"content": piece} for piece in ("<thi", "nk>hmm", "</th", "ink>\n\n", "Yes", ".")]
    assert [event.text for event in await chat(server) if isinstance(event, TextDelta)] == ["Yes", "."]


async def test_an_answer_that_ends_like_a_thought_begins_is_whole(server: OpenAiServer) -> None:
    server.deltas = [{"content": "<th"}]
    assert (await chat(server))[0] == TextDelta("<th")


async def test_a_refusal_of_the_model_is_its_answer(server: OpenAiServer) -> None:
    server.deltas = [{"refusal": "I can't do that."}]
    assert (await chat(server))[0] == TextDelta("I can't do that.")


async def test_chunks_without_choices_are_skipped(server: OpenAiServer) -> None:
    choice = {"index": 0, "delta": {"content": "hi"}}
    server.raw_chunks = [{"choices": []}, {"choices": None}, {"choices": [choice]}]
    assert await chat(server) == [TextDelta("hi")]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "slow", "type": "rate_limit_error"}, ProviderRateLimited),
        ({"message": "bad", "type": "invalid_request_error"}, ProviderRefused),
        ({"message": "oops", "type": "server_error"}, ProviderUnavailable),
    ],
)
async def test_an_error_within_the_stream_has_its_kind(
    server: OpenAiServer, error: Mapping[str, str], expected: type[ProviderError]
) -> None:
    server.raw_chunks = [{"error": error}]
    with pytest.raises(expected):
        await chat(server)


async def test_a_used_up_account_is_a_refusal(server: OpenAiServer) -> None:
    server.faults.append(Status(429, "You exceeded your quota", error_code="insufficient_quota"))
    with pytest.raises(ProviderRefused, match="quota"):
        await chat(server)


@pytest.mark.parametrize("retry_after", ["soon", "nan", "-1", "inf", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_strange_retry_after_is_none(server: OpenAiServer, retry_after: str) -> None:
    server.faults.append(Status(429, "slow down", retry_after=retry_after))
    with pytest.raises(ProviderRateLimited) as caught:
        await chat(server)
    assert caught.value.retry_after_s is None


async def test_a_key_that_is_quoted_back_is_not_shown(server: OpenAiServer) -> None:
    server.faults.append(Status(403, f"{KEY} may not do this"))
    with pytest.raises(ProviderRefused) as caught:
        await chat(server)
    assert KEY not in str(caught.value)


async def test_a_long_complaint_is_shortened(server: OpenAiServer) -> None:
    server.faults.append(Status(400, "x" * 5000))
    with pytest.raises(ProviderRefused) as caught:
        await chat(server)
    assert len(str(caught.value)) < 400


# ── speaking ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_voice_and_manner_are_asked_for(server: OpenAiServer) -> None:
    await speak(server, tts_voice="nova", tts_instructions="warm")
    await speak(server, VoiceOptions("en", voice="sage", speed=1.5))
    first, second = server.asked[0].fields, server.asked[1].fields
    assert (first["voice"], first["instructions"], first["response_format"]) == ("nova", "warm", "wav")
    assert first["input"] == "hello"
    assert "speed" not in first
    assert (second["voice"], second["speed"]) == ("sage", 1.5)


async def test_another_rate_of_pcm_can_be_named(server: OpenAiServer) -> None:
    spoken = await speak(server, tts_sample_rate=16_000)
    assert server.asked[0].fields["response_format"] == "pcm"
    assert {rate for rate, _ in spoken} == {16_000}


def test_only_openai_itself_is_asked_for_pcm_of_an_untold_rate() -> None:
    assert OpenAiTtsOptions().format == "pcm"
    assert OpenAiTtsOptions(base_url="http://localhost:1/v1").format == "wav"
    assert OpenAiTtsOptions(base_url="http://localhost:1/v1", tts_format="pcm").format == "pcm"


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"X-Sample-Rate": "22050"}, "audio/pcm"),
        ({}, "audio/L16; rate=22050; channels=1"),
        ({}, 'audio/pcm;Rate="22050"'),
    ],
)
async def test_the_rate_that_a_server_tells_is_believed(
    server: OpenAiServer, headers: dict[str, str], kind: str
) -> None:
    server.speech_type, server.speech_headers = kind, headers
    spoken = await speak(server, tts_format="pcm", tts_sample_rate=16_000)
    assert {rate for rate, _ in spoken} == {22_050}


@pytest.mark.parametrize("rate", ["0", "-24000", "999999999999", "fast", "96000"])
async def test_an_impossible_rate_is_a_bad_answer(server: OpenAiServer, rate: str) -> None:
    server.speech_headers = {"X-Sample-Rate": rate}
    with pytest.raises(ProviderBadAnswer, match="Hz"):
        await speak(server)


async def test_samples_of_two_channels_are_a_bad_answer(server: OpenAiServer) -> None:
    """They would be played at half the speed."""
    server.speech_type = "audio/L16; rate=24000; channels=2"
    with pytest.raises(ProviderBadAnswer, match="channels"):
        await speak(server, tts_format="pcm")


async def test_a_server_that_only_knows_wav_is_understood(server: OpenAiServer) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(22_050)
        writer.writeframes(np.array([5, 6, 7], "<i2").tobytes())
    data = file.getvalue()
    server.speech, server.speech_type = (data[:20], data[20:47], data[47:]), "audio/wav"
    spoken = await speak(server)
    assert [sample for _, samples in spoken for sample in samples] == [5, 6, 7]
    assert {rate for rate, _ in spoken} == {22_050}


async def test_a_single_byte_of_speech_is_a_bad_answer(server: OpenAiServer) -> None:
    server.speech = (b"\x01",)
    with pytest.raises(ProviderBadAnswer):
        await speak(server)


# ── being let in ─────────────────────────────────────────────────────────────────────────────────────────


async def test_openai_itself_needs_a_key() -> None:
    llm = registry.build("llm", ProviderSettings(llm=("openai",)), {})
    with pytest.raises(ProviderNotConfigured, match="OPENAI_API_KEY"):
        await llm.start()


async def test_a_server_of_ones_own_needs_none(server: OpenAiServer) -> None:
    with pytest.raises(ProviderRefused):
        await chat(server, api_key=None)
    assert server.asked[0].headers["authorization"] == "Bearer none"


async def test_organization_and_project_are_billed(server: OpenAiServer) -> None:
    await chat(server, organization="org-1", project="proj-1")
    headers = server.asked[0].headers
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-1")


@pytest.mark.parametrize(
    ("base_url", "official"),
    [(None, True), (OFFICIAL_URL, True), (OFFICIAL_URL + "/", True), ("http://localhost:1234/v1", False)],
)
def test_openai_itself_is_told_from_compatible_servers(base_url: str | None, official: bool) -> None:
    assert OpenAiOptions(base_url=base_url).official is official


async def test_the_next_server_takes_over_from_a_dead_one(server: OpenAiServer) -> None:
    dead = OpenAiServer()
    await dead.aclose()
    chained = ProviderSettings(
        stt=("openai:dead", "openai"),
        llm=("openai:dead", "openai"),
        tts=("openai:dead", "openai"),
        retries=0,
        options={
            "openai:dead": {"base_url": dead.base_url},
            "openai": {"base_url": server.base_url, "api_key": KEY},
        },
    )
    llm, tts = registry.build("llm", chained, {}), registry.build("tts", chained, {})
    stt = registry.build("stt", chained, {})
    assert "good day" in await llm.check()
    assert [chunk async for chunk in tts.speak("hello")]
    utterance = stt.open()
    utterance.push(np.ones(160, np.int16))
    assert (await utterance.finish()).text == "hello world"
    for provider in (stt, llm, tts):
        await provider.aclose()
