"""A conversation with each speech-to-speech service, over a real connection."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.voice.turn.state import TurnState
from tests.fakes.scene import Scene, scene
from tests.fakes.voice import SILENCE, SPEECH, FakeTools, services
from tests.integration.providers.row import Vendor
from tests.integration.providers.vendors_s2s import S2S
from tests.servers import gemini_live_server as gemini
from tests.servers.gemini_live_server import GeminiLiveServer
from tests.servers.openai_realtime_server import RATE, OpenAiRealtimeServer
from tests.servers.vendor import Call

pytestmark = pytest.mark.virtual_time

PIECE_MS = 600
PIECES = 4

SpeechServer = OpenAiRealtimeServer | GeminiLiveServer


@pytest.fixture(params=S2S, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    assert isinstance(request.param, Vendor)
    return request.param


@pytest.fixture
async def server(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SpeechServer]:
    """Says "good day" in four pieces of a tone."""
    running = vendor.server()
    assert isinstance(running, SpeechServer)
    tone = (8_000 * np.sin(np.arange(RATE * PIECE_MS // 1000) * (2 * np.pi * 300 / RATE))).astype("<i2")
    if isinstance(running, OpenAiRealtimeServer):
        running.speech = [base64.b64encode(tone.tobytes()).decode()] * PIECES
    else:
        piece = gemini.content(**gemini.speech(*tone.tolist()))
        done = gemini.content(generationComplete=True)
        answer = [piece, gemini.said("good "), piece, gemini.said("day"), *[piece] * (PIECES - 2), done]
        running.scripts.extend([answer] * 6)
    await running.start()
    vendor.arrange(running.url, monkeypatch)
    yield running
    await running.aclose()


@asynccontextmanager
async def talking(
    vendor: Vendor, server: SpeechServer, tools: FakeTools | None = None, **voice: Any
) -> AsyncIterator[Scene]:
    provider = registry.build("s2s", vendor.settings("s2s", server.url), {})
    await provider.start()
    try:
        voice_settings = VoiceSettings(s2s_idle_s=10, **voice)
        async with scene(services(s2s=provider, voice=voice_settings), tools) as s:
            yield s
    finally:
        await provider.aclose()


def hear_no_words(server: SpeechServer) -> None:
    if isinstance(server, OpenAiRealtimeServer):
        server.words_fail = True
    else:
        server.hears = ()


def hear_words(server: SpeechServer) -> None:
    if isinstance(server, OpenAiRealtimeServer):
        server.words_fail = False
    else:
        server.hears = gemini.words_heard()


def questions(server: SpeechServer) -> int:
    """How many utterances the service has in memory, as sound or as words."""
    return sum(line.startswith(("audio", "user")) for line in server.memory)


async def test_an_answer_is_heard_whole_in_step_with_its_words(vendor: Vendor, server: SpeechServer) -> None:
    async with talking(vendor, server) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "hello world", "good day")]
        assert s.device.texts("stt") == ["hello world"]
        assert s.device.texts("sentence") == ["good day"]
        assert PIECES * PIECE_MS <= s.device.count("audio") * 60 <= PIECES * PIECE_MS + 120


async def test_what_was_not_heard_is_cut_from_the_services_memory(
    vendor: Vendor, server: SpeechServer
) -> None:
    async with talking(vendor, server) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio", 3)
        await s.device.until("stt")
        await s.send(SILENCE, 10)
        s.conversation.abort("button")
        heard_ms = s.device.frames_played * 60
        assert 0 < heard_ms < PIECES * PIECE_MS
        if isinstance(server, OpenAiRealtimeServer):
            cut = await server.told("conversation.item.truncate")
            assert cut["audio_end_ms"] == heard_ms
        await s.say()
        await s.device.until("stop", 2)
        await s.idle()
        assert [record[0] for record in s.records] == ["aborted", "answered"]
        assert questions(server) == 2
        if isinstance(server, GeminiLiveServer):
            assert "assistant good day" not in server.memory[:-1]


async def test_noise_during_a_reply_leaves_nothing_in_the_services_memory(
    vendor: Vendor, server: SpeechServer
) -> None:
    async with talking(vendor, server) as s:
        s.conversation.listen("realtime")
        await s.say()
        await s.device.until("stt")
        await s.device.until("audio", 3)
        assert s.conversation.state is TurnState.SPEAKING
        hear_no_words(server)
        await s.send(SPEECH, 4)
        await s.send(SILENCE, 14)
        await s.device.until("resume")
        hear_words(server)
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "hello world", "good day")]
        assert s.device.count("audio") * 60 >= PIECES * PIECE_MS
        await s.say()
        await s.device.until("stop", 2)
        assert questions(server) == 2


async def test_speech_during_a_reply_is_answered_next(vendor: Vendor, server: SpeechServer) -> None:
    async with talking(vendor, server) as s:
        s.conversation.listen("realtime")
        await s.say()
        await s.device.until("audio", 3)
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 14)
        await s.device.until("stop", 2)
        await s.idle()
        assert [record[0] for record in s.records] == ["interrupted", "answered"]
        assert s.device.texts("stt") == ["hello world"] * 2
        assert questions(server) == 2


async def test_tools_of_the_device_are_called_by_the_service(vendor: Vendor, server: SpeechServer) -> None:
    call = Call("call_1", "lamp", "{}")
    if isinstance(server, GeminiLiveServer):
        server.scripts.appendleft([gemini.tool_call(call)])
    server.answer_with_calls(call)
    async with talking(vendor, server, FakeTools(lamp="the lamp is on")) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.tools.calls == [("lamp", {})]
        assert server.memory[-2:] == ["result the lamp is on", "assistant good day"]
        assert s.records == [("answered", "hello world", "good day")]


async def test_after_a_pause_another_connection_begins_with_what_was_said(
    vendor: Vendor, server: SpeechServer
) -> None:
    async with talking(vendor, server) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        await s.send(SILENCE, 200)
        await s.say()
        await s.device.until("stop", 2)
        await s.idle()
        assert server.memory[:2] == ["user hello world", "assistant good day"]
        assert len(server.asked) == 2


async def test_a_connection_that_is_cut_while_nobody_speaks_is_made_again(
    vendor: Vendor, server: SpeechServer
) -> None:
    async with talking(vendor, server) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        server.hang_up()
        await s.say()
        await s.device.until("stop", 2)
        await s.idle()
        assert [record[2] for record in s.records] == ["good day", "good day"]
        assert server.memory[:2] == ["user hello world", "assistant good day"]
        assert s.device.count("alert") == 0


async def test_a_service_that_judges_ends_the_utterance(vendor: Vendor, server: SpeechServer) -> None:
    async with talking(vendor, server, endpointing="vendor") as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        if isinstance(server, OpenAiRealtimeServer):
            await server.told("input_audio_buffer.append")
            await server.detect("started")
            await server.detect("stopped")
            await server.detect_item("hello world")
        began = s.loop.time()
        await s.send(SILENCE, 14)
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "hello world", "good day")]
        started = next(time for time, what, _ in s.device.events if what == "start")
        assert started - began < (0.4 if isinstance(server, OpenAiRealtimeServer) else 0.9)
