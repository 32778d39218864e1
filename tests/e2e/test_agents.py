"""Two devices with two agents on one server: each hears its own voice, prompt, greeting and tools."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import yaml

from tests.e2e.conftest import MakeServer, Server
from tests.servers.openai_server import KEY, OpenAiServer

pytestmark = pytest.mark.timeout(300)

KITCHEN, DESK = "02:00:00:00:00:01", "02:00:00:00:00:02"
SECOND = (8_000 * np.sin(2 * np.pi * 300 * np.arange(24_000) / 24_000)).astype("<i2").tobytes()

AGENTS = {
    "assistant": {"name": "Max", "voice": "alloy", "tools": ["self.*"]},
    "agents": {
        "teacher": {
            "prompt": "You are {{ agent.name }}, {{ user.name }}'s teacher. {{ memory }}",
            "name": "Linh",
            "language": "vi",
            "voice": {"vi": "nova"},
            "speed": 0.8,
            "greeting": "Xin chào!",
            "tools": ["set_timer"],
        }
    },
}


@pytest.fixture
async def vendor() -> AsyncIterator[OpenAiServer]:
    running = OpenAiServer()
    running.speech = [SECOND]
    await running.start()
    yield running
    await running.aclose()


@pytest.fixture
async def server(make_server: MakeServer, vendor: OpenAiServer) -> Server:
    """A server with two agents, whose words, thoughts and voices are `vendor`'s."""
    made = make_server()
    options = {"openai": {"base_url": vendor.base_url, "api_key": KEY}}
    providers = {"stt": "openai", "llm": "openai", "tts": "openai", "cache_mb": 0, "options": options}
    (made.folder / "broker.yaml").write_text(yaml.safe_dump({"providers": providers, **AGENTS}))
    await made.start()
    return made


def asked(vendor: OpenAiServer, path: str) -> list[dict[str, Any]]:
    return [dict(request.fields) for request in vendor.asked if request.path.endswith(path)]


async def talk(server: Server, mac: str, *told: str) -> dict[str, Any]:
    done = await server.run("device", "--ota", server.ota, "--mac", mac, *told, "--json")
    assert done.code == 0, done.out + done.err + server.log
    return done.summary


async def test_each_device_talks_to_its_own_agent(server: Server, vendor: OpenAiServer) -> None:
    assert "teacher" in server.welcome
    greeting = (await talk(server, DESK, "--text", "hi"))["reply"]
    assert greeting.startswith("Hello")
    given = await server.run("devices", "set", DESK, "--agent", "teacher", "--user", "Anna", "--name", "Desk")
    assert given.code == 0, given.err
    listed = json.loads((await server.run("devices", "list", "--json")).out)["devices"]
    assert [(device["agent"], device["user"]) for device in listed] == [("teacher", "Anna")]
    async with asyncio.timeout(60):  # the server looks every two seconds
        while greeting != "Xin chào!":
            greeting = (await talk(server, DESK, "--text", "hi"))["reply"]

    vendor.asked.clear()
    assert (await talk(server, DESK, "--say", "hello world"))["reply"] == "good day"
    chat, speech = asked(vendor, "/completions")[-1], asked(vendor, "/speech")[-1]
    assert chat["messages"][0] == {"role": "system", "content": "You are Linh, Anna's teacher."}
    assert [tool["function"]["name"] for tool in chat["tools"]] == ["set_timer"]
    assert (speech["input"], speech["voice"], speech["speed"]) == ("good day", "nova", 0.8)
    assert asked(vendor, "/transcriptions")[-1]["languages[]"] == ["vi"]

    vendor.asked.clear()
    await talk(server, KITCHEN, "--say", "hello world")
    chat, speech = asked(vendor, "/completions")[-1], asked(vendor, "/speech")[-1]
    assert chat["messages"][0]["content"].startswith("You are Max, a friendly voice assistant")
    names = {tool["function"]["name"] for tool in chat["tools"]}
    assert names == {"self__audio_speaker__set_volume", "self__get_device_status"}
    assert speech["voice"] == "alloy"

    # The teacher's prompt tells of what was said before, in that conversation alone.
    vendor.asked.clear()
    await talk(server, DESK, "--say", "hello world")
    prompt = asked(vendor, "/completions")[-1]["messages"][0]["content"]
    assert prompt.endswith("User: hello world\nYou: good day")
    assert "Xin chào" not in prompt


async def test_an_agent_that_is_gone_is_replaced_by_the_default_one(server: Server) -> None:
    await talk(server, DESK, "--text", "hi")
    assert (await server.run("devices", "set", DESK, "--agent", "teacher")).code == 0
    config = yaml.safe_load((server.folder / "broker.yaml").read_text())
    (server.folder / "broker.yaml").write_text(yaml.safe_dump(config | {"agents": {}}))
    await server.restart()
    assert (await talk(server, DESK, "--text", "hi"))["reply"].startswith("Hello")


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ({"llm": "nobody"}, "agents.chef.llm: there is no provider 'nobody'"),
        ({"prompt": "{{ device.nam }}"}, "agents.chef.prompt"),
    ],
)
async def test_a_mistake_in_an_agent_ends_the_start(
    make_server: MakeServer, agent: dict[str, str], said: str
) -> None:
    made = make_server()
    (made.folder / "broker.yaml").write_text(yaml.safe_dump({"agents": {"chef": agent}}))
    done = await made.run("serve")
    assert done.code == 2
    assert said in done.err
