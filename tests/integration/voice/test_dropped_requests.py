"""Requests that were begun at a pause and are not wanted any more: their connections are closed."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.config import VoiceSettings
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.providers.catalog import registry
from tests.fakes.scene import scene
from tests.fakes.voice import SILENCE, SPEECH, ScriptedStt, services
from tests.unit.providers.fakes import metric


class Cloud:
    """A language model's server that streams its answer slowly: a word each 50 ms, for 20 s."""

    def __init__(self) -> None:
        self.requests = 0
        self.left = 0
        self.port = 0
        self.asked = asyncio.Event()
        self.all_left = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            self.all_left.clear()
            self.asked.set()
            # The connection would be kept for the next request, as those of real services are.
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
            for _ in range(400):
                choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
                event = b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await writer.drain()
                await asyncio.sleep(0.05)
                if reader.at_eof():
                    break
        except ConnectionError:
            pass
        finally:
            self.left += 1
            if self.left == self.requests:
                self.all_left.set()
            writer.close()


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    made = Cloud()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.mark.parametrize(
    ("names", "hedge_ms"), [(("openai",), 0), (("openai", "offline"), 0), (("openai", "offline"), 5_000)]
)
async def test_an_answer_to_half_a_question_is_closed_when_the_speaker_goes_on(
    cloud: Cloud, names: tuple[str, ...], hedge_ms: int
) -> None:
    address = f"http://127.0.0.1:{cloud.port}/v1"
    options = {"openai": {"base_url": address, "llm_model": "m"}}
    settings = ProviderSettings(llm=names, hedge_ms=hedge_ms, options=options)
    llm = registry.build("llm", settings, {})
    stt = ScriptedStt("what is the weather", streaming=False)
    voice = VoiceSettings(preemptive_silence_ms=180, end_silence_ms=3_000, endpointing="fixed")
    async with scene(services(stt=stt, llm=llm, voice=voice)) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        for pause in range(1, 3):
            cloud.asked.clear()
            while not cloud.asked.is_set():
                await s.send(SILENCE, 1)
            assert cloud.requests == pause
            await s.send(SPEECH, 8)
            async with asyncio.timeout(10):
                await cloud.all_left.wait()
    await llm.aclose()


async def test_an_utterance_is_one_request_when_its_words_at_the_pause_are_its_words() -> None:
    labels = {"role": "stt", "name": "scripted-stt"}
    before = metric("mimi_provider_requests_total", **labels)
    voice = VoiceSettings(preemptive_silence_ms=180, end_silence_ms=700, endpointing="fixed")
    stt = ScriptedStt("what is the weather", streaming=False)
    async with scene(services(stt=stt, voice=voice)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records[0][0] == "answered"
    assert metric("mimi_provider_requests_total", **labels) == before + 1
    assert len(stt.heard_samples) == 1
