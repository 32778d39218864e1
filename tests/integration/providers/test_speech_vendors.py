"""Peculiarities of each vendor of speech: its requests, and answers that only it gives."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions
from mimi_mqtt.providers.runtime.fallback import TtsChain
from tests.integration.providers.vendors_tts import lead_edge_to
from tests.servers.edge_server import EdgeServer
from tests.servers.http_speech import (
    AZURE_KEY,
    ELEVENLABS_KEY,
    GEMINI_KEY,
    AzureSpeechServer,
    ElevenLabsServer,
    GeminiErrorBody,
    GeminiSpeechServer,
)
from tests.servers.vendor import FakeVendor, Status
from tests.servers.wyoming_tts_server import WyomingTtsServer, voice
from tests.unit.providers.fakes import FakeTts, chunk, collect

S = TypeVar("S", bound=FakeVendor)
Serve = Callable[[S], Awaitable[S]]
GERMAN = VoiceOptions("de")


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[S], Awaitable[S]]]:
    running: list[FakeVendor] = []

    async def start(server: S) -> S:
        running.append(server)
        await server.start()
        return server

    yield start
    for server in running:
        await server.aclose()


def build(name: str, environ: Mapping[str, str] | None = None, **options: Any) -> TextToSpeech:
    settings = ProviderSettings(tts=(name,), retries=0, options={name: options})
    return registry.build("tts", settings, environ or {})


async def say(tts: TextToSpeech, text: str = "hello", options: VoiceOptions | None = None) -> list[int]:
    try:
        return [int(sample) for chunk in await collect(tts.speak(text, options)) for sample in chunk.pcm]
    finally:
        await tts.aclose()


# ── Azure ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_azure_is_given_a_voice_for_the_language_and_escaped_text(
    serve: Serve[AzureSpeechServer],
) -> None:
    server = await serve(AzureSpeechServer())
    tts = build("azure", tts_url=f"{server.url}/", speech_key=AZURE_KEY)
    assert await say(tts, "5 < 6 & so", VoiceOptions("de-AT", speed=1.2)) == [1, 2, 3]
    fields = server.asked[0].fields
    assert (fields["text"], fields["voice"], fields["rate"]) == ("5 < 6 & so", "de-AT-IngridNeural", "+20%")


@pytest.mark.parametrize(
    ("options", "named", "spoken"),
    [
        ({}, "en-GB-RyanNeural", "en-GB-RyanNeural"),
        ({"tts_voice": "de-DE-ConradNeural"}, None, "de-DE-ConradNeural"),
    ],
)
async def test_azure_takes_the_named_voice(
    serve: Serve[AzureSpeechServer], options: Mapping[str, Any], named: str | None, spoken: str
) -> None:
    server = await serve(AzureSpeechServer())
    tts = build("azure", tts_url=server.url, speech_key=AZURE_KEY, **options)
    await say(tts, options=VoiceOptions("en", named))
    assert server.asked[0].fields["voice"] == spoken
    assert server.asked[0].fields["rate"] is None


@pytest.mark.parametrize(
    ("environ", "missing"),
    [({}, "AZURE_SPEECH"), ({"AZURE_SPEECH_KEY": "x"}, "AZURE_SPEECH_REGION")],
)
async def test_azure_says_what_it_lacks(environ: dict[str, str], missing: str) -> None:
    with pytest.raises(ProviderNotConfigured, match=missing):
        await build("azure", environ).start()


async def test_azure_finds_its_key_and_region_in_the_environment() -> None:
    tts = build("azure", {"AZURE_SPEECH_KEY": "x", "AZURE_SPEECH_REGION": "westeurope"})
    await tts.start()
    await tts.aclose()


# ── ElevenLabs ───────────────────────────────────────────────────────────────────────────────────────────


async def test_elevenlabs_is_told_model_voice_language_and_a_speed_it_can(
    serve: Serve[ElevenLabsServer],
) -> None:
    server = await serve(ElevenLabsServer())
    tts = build("elevenlabs", base_url=server.url, api_key=ELEVENLABS_KEY, tts_stability=0.5)
    assert await say(tts, "hallo", VoiceOptions("de-DE", "a voice?", 2.0)) == [1, 2, 3]
    fields = server.asked[0].fields
    assert fields == {
        "text": "hallo",
        "model_id": "eleven_flash_v2_5",
        "language_code": "de",
        "voice_settings": {"stability": 0.5, "speed": 1.2},
        "voice": "a voice?",
        "output_format": "pcm_24000",
    }


async def test_elevenlabs_is_told_no_language_by_models_that_refuse_it(
    serve: Serve[ElevenLabsServer],
) -> None:
    server = await serve(ElevenLabsServer())
    tts = build("elevenlabs", base_url=server.url, api_key=ELEVENLABS_KEY, tts_model="eleven_multilingual_v2")
    await say(tts)
    assert "language_code" not in server.asked[0].fields
    assert "voice_settings" not in server.asked[0].fields


async def test_elevenlabs_without_a_key_says_so() -> None:
    with pytest.raises(ProviderNotConfigured, match="ELEVENLABS_API_KEY"):
        await build("elevenlabs").start()


# ── Gemini ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_gemini_is_given_the_text_alone_and_the_manner_beside_it(
    serve: Serve[GeminiSpeechServer],
) -> None:
    server = await serve(GeminiSpeechServer())
    tts = build("gemini", base_url=server.url, api_key=GEMINI_KEY, tts_instructions="warm")
    assert await say(tts, "hello", VoiceOptions("en", "Puck", 1.2)) == [1, 2, 3]
    fields = server.asked[0].fields
    assert fields["call"] == "gemini-3.8-flash-lite-tts:streamGenerateContent"
    assert fields["contents"] == [
        {"role": "user", "parts": [{"text": "hello", "speechMetadata": {"style": "warm, fast-paced"}}]}
    ]
    # The SDK leaves this name as it is in Python; protobuf's JSON takes both spellings.
    assert fields["generationConfig"]["speechConfig"] == {"voice_config": {"voice": "Puck"}}


@pytest.mark.parametrize(
    ("speed", "style"),
    [
        (0.5, "very slow-paced"),
        (0.85, "slow-paced"),
        (1.0, None),
        (1.2, "fast-paced"),
        (2.0, "very fast-paced"),
    ],
)
async def test_gemini_is_told_the_speed_in_words(
    serve: Serve[GeminiSpeechServer], speed: float, style: str | None
) -> None:
    server = await serve(GeminiSpeechServer())
    await say(build("gemini", base_url=server.url, api_key=GEMINI_KEY), options=VoiceOptions(speed=speed))
    part = server.asked[0].fields["contents"][0]["parts"][0]
    assert part.get("speechMetadata", {}).get("style") == style


async def test_gemini_says_its_rate(serve: Serve[GeminiSpeechServer]) -> None:
    server = await serve(GeminiSpeechServer())
    server.mime_type = "audio/L16;codec=pcm;rate=16000"
    tts = build("gemini", base_url=server.url, api_key=GEMINI_KEY)
    chunks = await collect(tts.speak("hello"))
    await tts.aclose()
    assert {chunk.sample_rate for chunk in chunks} == {16_000}


async def test_gemini_answering_with_another_format_is_a_bad_answer(
    serve: Serve[GeminiSpeechServer],
) -> None:
    server = await serve(GeminiSpeechServer())
    server.mime_type = "audio/mpeg"
    with pytest.raises(ProviderBadAnswer, match="audio/mpeg"):
        await say(build("gemini", base_url=server.url, api_key=GEMINI_KEY))


async def test_gemini_names_its_time_within_the_error(
    serve: Serve[GeminiSpeechServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(GeminiSpeechServer())
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "35.5s"}
    body = b'{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [%s]}}'
    text = str(info).replace("'", '"').encode()
    monkeypatch.setattr(GeminiErrorBody, "render", lambda self: body % text)
    server.faults.append(Status(429))
    with pytest.raises(ProviderRateLimited, match="quota") as caught:
        await say(build("gemini", base_url=server.url, api_key=GEMINI_KEY))
    assert caught.value.retry_after_s == 35.5


# ── Edge ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def edge(serve: Serve[EdgeServer], monkeypatch: pytest.MonkeyPatch) -> EdgeServer:
    server = await serve(EdgeServer())
    lead_edge_to(server.url, monkeypatch)
    return server


async def test_edge_is_asked_as_the_browser_asks(edge: EdgeServer) -> None:
    await say(build("edge", tts_pitch_hz=-5), "5 < 6 & so", VoiceOptions("vi", speed=1.25))
    fields = edge.asked[0].fields
    assert fields == {
        "text": "5 < 6 & so",
        "voice": "Microsoft Server Speech Text to Speech Voice (vi-VN, HoaiMyNeural)",
        "rate": "+25%",
        "pitch": "-5Hz",
    }


@pytest.mark.parametrize(
    ("named", "spoken"), [("de-DE-ConradNeural", "(de-DE, ConradNeural)"), ("coral", "(de-DE, KatjaNeural)")]
)
async def test_edge_takes_the_named_voice_if_it_is_one_of_microsofts(
    edge: EdgeServer, named: str, spoken: str
) -> None:
    await say(build("edge"), options=VoiceOptions("de", named))
    assert edge.asked[0].fields["voice"].endswith(spoken)


async def test_edge_is_let_in_at_the_second_try_when_clocks_differ(edge: EdgeServer) -> None:
    edge.faults.append(Status(403))
    assert await say(build("edge"))
    assert len(edge.asked) == 2


async def test_edge_refused_twice_is_too_old(edge: EdgeServer) -> None:
    edge.faults.extend([Status(403), Status(403)])
    with pytest.raises(ProviderRefused, match="pip install -U edge-tts"):
        await say(build("edge"))


# ── Wyoming ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("options", "asked", "chosen"),
    [
        # A server lists every voice that it could have; which one it was started with is not told.
        ({}, VoiceOptions("en"), None),
        ({}, VoiceOptions("vi"), None),
        ({}, VoiceOptions("de", "de-eva"), {"name": "de-eva"}),
        ({}, VoiceOptions("de", "en-amy"), None),
        ({}, VoiceOptions("de", "coral"), None),
        ({"tts_voice": "en-amy"}, VoiceOptions("en-GB"), {"name": "en-amy"}),
        ({"tts_voice": "en-amy"}, VoiceOptions("de"), None),
        ({"tts_speaker": "p1"}, VoiceOptions("de"), None),
        ({"tts_speaker": "p1"}, VoiceOptions("de", "de-eva"), {"name": "de-eva", "speaker": "p1"}),
    ],
)
async def test_wyoming_is_asked_for_a_voice_that_it_has(
    serve: Serve[WyomingTtsServer],
    streams: bool,
    options: Mapping[str, Any],
    asked: VoiceOptions,
    chosen: dict[str, str] | None,
) -> None:
    server = await serve(WyomingTtsServer(streams=streams))
    assert await say(build("wyoming", tts_uri=server.url, **options), "xin chào", asked) == [1, 2, 3]
    assert server.asked[0].path == ("synthesize-start" if streams else "synthesize")
    assert server.asked[0].fields == {"text": "xin chào", "voice": chosen}


async def test_wyoming_leaves_other_languages_than_its_voices_to_the_next(
    serve: Serve[WyomingTtsServer],
) -> None:
    server = await serve(WyomingTtsServer())
    tts = build("wyoming", tts_uri=server.url, tts_voice="en-amy")
    await tts.start()
    assert tts.capabilities.languages == frozenset({"en_US"})
    chain = TtsChain([tts, FakeTts([chunk(7)], name="next")])
    assert await say(chain, "hola", VoiceOptions("es")) == [7]
    assert await say(chain, "hello", VoiceOptions("en")) == [1, 2, 3]


async def test_wyoming_that_is_not_there_yet_starts_all_the_same(serve: Serve[WyomingTtsServer]) -> None:
    server = await serve(WyomingTtsServer())
    tts = build("wyoming", tts_uri="tcp://127.0.0.1:9")
    await tts.start()
    assert tts.capabilities.languages is None
    assert server.described == 0


async def test_wyoming_is_asked_what_it_can_once_and_again_after_a_failure(
    serve: Serve[WyomingTtsServer],
) -> None:
    server = await serve(WyomingTtsServer())
    tts = build("wyoming", tts_uri=server.url)
    await say(tts)
    await say(tts)
    assert server.described == 1
    assert tts.capabilities.languages == frozenset({"en_US", "de"})
    server.faults.append(Status(500, "out of memory"))
    with pytest.raises(ProviderUnavailable, match="out of memory"):
        await say(tts)
    async with aclosing(tts.speak("left early")) as chunks:
        await anext(chunks)
    server.voices = [voice("vi-mai", "vi")]
    await say(tts)
    assert server.described == 2
    server.faults.append(Status(500, "out of memory"))
    with pytest.raises(ProviderUnavailable):
        await say(tts)
    await say(tts)
    assert tts.capabilities.languages == frozenset({"vi"})


@pytest.mark.parametrize("data", [{"tts": [{"name": "x"}]}, {"tts": 5}, {"tts": [[]]}])
async def test_wyoming_that_describes_itself_strangely_starts_all_the_same(data: dict[str, Any]) -> None:
    async def describe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(json.dumps({"type": "info", "data": data}).encode() + b"\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(describe, "127.0.0.1", 0)
    tts = build("wyoming", tts_uri=f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await tts.start()
    with pytest.raises((ProviderBadAnswer, ProviderNotConfigured)):
        await say(tts, "hello")
    server.close()


async def test_wyoming_that_only_listens_is_not_configured(serve: Serve[WyomingTtsServer]) -> None:
    server = await serve(WyomingTtsServer())
    server.speaks = False
    with pytest.raises(ProviderNotConfigured, match="does not speak"):
        await say(build("wyoming", tts_uri=server.url))


@pytest.mark.parametrize(("rate", "width", "channels"), [(24_000, 2, 2), (24_000, 4, 1), (96_000, 2, 1)])
async def test_wyoming_with_other_audio_is_a_bad_answer(
    serve: Serve[WyomingTtsServer], rate: int, width: int, channels: int
) -> None:
    server = await serve(WyomingTtsServer())
    server.rate, server.width, server.channels = rate, width, channels
    with pytest.raises(ProviderBadAnswer):
        await say(build("wyoming", tts_uri=server.url))


async def test_wyoming_works_over_a_unix_socket(serve: Serve[WyomingTtsServer], tmp_path: Path) -> None:
    server = await serve(WyomingTtsServer())
    port = int(server.url.rpartition(":")[2])
    relayed = await asyncio.start_unix_server(lambda r, w: _relay(r, w, port), tmp_path / "piper.sock")
    assert await say(build("wyoming", tts_uri=f"unix://{tmp_path}/piper.sock")) == [1, 2, 3]
    relayed.close()


async def test_wyoming_hanging_up_within_an_event_is_unavailable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"type": "info", "data_length": 100}\n{"as')
        writer.close()

    listening = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(hang_up, sock=listening)
    with pytest.raises(ProviderUnavailable, match="middle of an event"):
        await say(build("wyoming", tts_uri=f"tcp://127.0.0.1:{listening.getsockname()[1]}"))
    server.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Bytes between a client and the port on this machine, until one side ends."""
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(4096):
                target.write(data)
                await target.drain()
        target.close()

    await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
