"""A conversation with a service that speaks OpenAI's Realtime protocol, over a real connection."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from mimi_mqtt.config.settings import ProviderSettings, VoiceSettings
from mimi_mqtt.providers import registry
from mimi_mqtt.voice.turn import TurnState
from tests.fakes.scene import Scene, scene
from tests.fakes.voice import SILENCE, SPEECH, FakeTools, services
from tests.servers.openai_realtime_server import RATE, OpenAiRealtimeServer
from tests.servers.openai_server import KEY
from tests.servers.vendor import Call

pytestmark = pytest.mark.virtual_time

PIECE_MS = 600


@pytest.fixture
async def server() -> AsyncIterator[OpenAiRealtimeServer]:
    """Says "good day" in four pieces of a tone."""
    running = OpenAiRealtimeServer()
    tone = 8_000 * np.sin(np.arange(RATE * PIECE_MS // 1000) * (2 * np.pi * 300 / RATE))
    running.speech = [base64.b64encode(tone.astype("<i2").tobytes()).decode()] * 4
    await running.start()
    yield running
    await running.aclose()


@asynccontextmanager
async def talking(server: OpenAiRealtimeServer, tools: FakeTools | None = None) -> AsyncIterator[Scene]:
    given = {"base_url": f"{server.url}/v1", "api_key": KEY}
    settings = ProviderSettings(s2s="openai_realtime", retries=0, options={"openai_realtime": given})
    provider = registry.build("s2s", settings, {})
    await provider.start()
    try:
        async with scene(services(s2s=provider, voice=VoiceSettings(s2s_idle_s=10)), tools) as s:
            yield s
    finally:
        await provider.aclose()


async def test_what_was_not_heard_is_cut_from_the_services_memory(server: OpenAiRealtimeServer) -> None:
    async with talking(server) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio", 3)
        await s.send(SILENCE, 10)
        s.conversation.abort("button")
        heard_ms = s.device.frames_played * 60
        cut = await server.told("conversation.item.truncate")
        assert cut["audio_end_ms"] == heard_ms
        assert 0 < heard_ms < 4 * PIECE_MS
        await s.say()
        await s.device.until("stop", 2)
        await s.idle()
        assert [record[0] for record in s.records] == ["aborted", "answered"]


async def test_noise_during_a_reply_is_deleted_from_the_services_memory(server: OpenAiRealtimeServer) -> None:
    async with talking(server) as s:
        s.conversation.listen("realtime")
        await s.say()
        await s.device.until("stt")
        await s.device.until("audio", 3)
        assert s.conversation.state is TurnState.SPEAKING
        server.words_fail = True
        await s.send(SPEECH, 4)
        await s.send(SILENCE, 14)
        await s.device.until("resume")
        await server.told("conversation.item.delete")
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "hello world", "good day")]
        assert s.device.count("audio") * 60 >= 4 * PIECE_MS


async def test_speech_during_a_reply_is_answered_next(server: OpenAiRealtimeServer) -> None:
    async with talking(server) as s:
        s.conversation.listen("realtime")
        await s.say()
        await s.device.until("audio", 3)
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 14)
        await s.device.until("stop", 2)
        await s.idle()
        assert [record[0] for record in s.records] == ["interrupted", "answered"]
        assert server.kinds.count("response.create") == 2
        assert server.kinds.index("conversation.item.truncate") < len(server.kinds) - 1


async def test_tools_of_the_device_are_called_by_the_service(server: OpenAiRealtimeServer) -> None:
    server.answer_with_calls(Call("call_1", "lamp", "{}"))
    async with talking(server, FakeTools(lamp="the lamp is on")) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.tools.calls == [("lamp", {})]
        assert server.memory[-2:] == ["result the lamp is on", "assistant good day"]
        assert s.records == [("answered", "hello world", "good day")]


async def test_after_a_pause_another_connection_begins_with_what_was_said(
    server: OpenAiRealtimeServer,
) -> None:
    async with talking(server) as s:
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
    server: OpenAiRealtimeServer,
) -> None:
    async with talking(server) as s:
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
