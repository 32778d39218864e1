"""A speech-to-speech service answers, and dies: the person at the device always hears something sensible."""

import asyncio
import base64
from collections.abc import AsyncIterator

import numpy as np
import pytest
import yaml

from tests.e2e.conftest import Command, MakeServer, Server, metric
from tests.servers.openai_realtime_server import RATE, OpenAiRealtimeServer
from tests.servers.openai_server import KEY

pytestmark = pytest.mark.timeout(300)

PIECE_MS = 300


@pytest.fixture
async def service() -> AsyncIterator[OpenAiRealtimeServer]:
    """Says "good day" in three pieces of a tone."""
    running = OpenAiRealtimeServer()
    tone = 8_000 * np.sin(np.arange(RATE * PIECE_MS // 1000) * (2 * np.pi * 300 / RATE))
    running.speech = [base64.b64encode(tone.astype("<i2").tobytes()).decode()] * 3
    await running.start()
    yield running
    await running.aclose()


@pytest.fixture
async def server(make_server: MakeServer, service: OpenAiRealtimeServer) -> Server:
    made = make_server()
    options = {"openai_realtime": {"base_url": f"{service.url}/v1", "api_key": KEY}}
    providers = {"s2s": "openai_realtime", "retries": 0, "options": options}
    (made.folder / "broker.yaml").write_text(yaml.safe_dump({"providers": providers}))
    await made.start()
    return made


async def talk(server: Server, *arguments: str) -> Command:
    return await server.run("device", "--ota", server.ota, "--say", "what time is it", "--json", *arguments)


@pytest.mark.parametrize("mode", ["auto", "manual", "realtime"])
async def test_the_service_hears_and_answers(
    server: Server, service: OpenAiRealtimeServer, mode: str
) -> None:
    done = await talk(server, "--mode", mode)
    assert done.code == 0, done.out + done.err + server.log
    assert done.summary["heard"] == "hello world"
    assert done.summary["reply"] == "good day"
    assert 3 * PIECE_MS <= done.summary["audio_ms"] <= 3 * PIECE_MS + 200
    assert "s2s openai_realtime" in server.welcome
    assert service.memory[1:] == ["assistant good day"]
    assert any("set_volume" in tool for tool in service.tools)


async def test_a_service_that_dies_in_the_middle_of_its_answer_is_apologised_for(
    server: Server, service: OpenAiRealtimeServer
) -> None:
    service.talks_on = True
    talking = asyncio.create_task(talk(server))
    while await metric(server, 'mimi_udp_packets_total{kind="sent"}') < PIECE_MS / 60:
        assert not talking.done(), talking.result()
    await service.aclose()
    done = await talking
    assert done.code == 0, done.out + done.err + server.log
    assert "went wrong" in done.summary["reply"]
    assert done.summary["audio_ms"] > PIECE_MS + 500


async def test_a_service_that_is_gone_is_replaced_by_the_pipeline(
    server: Server, service: OpenAiRealtimeServer
) -> None:
    await service.aclose()
    done = await talk(server)
    assert done.code == 0, done.out + done.err + server.log
    assert done.summary["heard"] == "what time is it"
    assert done.summary["reply"]
