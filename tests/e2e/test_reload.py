"""broker.yaml is changed while the server runs: the next turn has it, connections stay, mistakes are told."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import yaml

from mimi_mqtt.wire.mqtt import encode_publish, parse_publish
from mimi_mqtt.wire.topics import device_id_from_mac, device_topic
from tests.e2e.conftest import MakeServer, Server
from tests.e2e.test_agents import SECOND
from tests.integration.mqtt.raw import RawClient
from tests.servers.openai_server import KEY, OpenAiServer

pytestmark = pytest.mark.timeout(300)

MAC = "02:00:00:00:00:01"
DEVICE = device_id_from_mac(MAC)
CLIENT_ID = "4f9c3b52-9a8d-4c46-8f0e-2b6a0c6f3b11"
HELLO = {
    "type": "hello",
    "version": 3,
    "transport": "udp",
    "features": {},
    "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60},
}


def configure(server: Server, **sections: object) -> None:
    (server.folder / "broker.yaml").write_text(yaml.safe_dump(sections))


class Device:
    """A device that is connected, says hello once, and then only wakes up again and again."""

    def __init__(self, client: RawClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls, server: Server) -> "Device":
        headers = {"Device-Id": MAC, "Client-Id": CLIENT_ID}
        async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
            access = (await http.post(server.ota, json={}, headers=headers)).json()["mqtt"]
        client = await RawClient.open(int(access["endpoint"].rpartition(":")[2]))
        assert await client.connack(access["client_id"], access["username"], access["password"]) == 0
        device = cls(client)
        await device.say(HELLO)
        await device.until("hello")
        return device

    async def say(self, message: dict[str, Any]) -> None:
        await self._client.send(encode_publish(device_topic(DEVICE, "up"), json.dumps(message).encode()))

    async def until(self, kind: str, state: str | None = None) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while (packet := await self._client.packet()) is not None:
                message: dict[str, Any] = json.loads(parse_publish(packet).payload)
                assert message["type"] != "goodbye"
                if message["type"] == kind and message.get("state") == state:
                    return message
        raise AssertionError("the connection was closed")

    async def greeting(self) -> str:
        """What is said at the wake word; as no audio was sent it is shown only."""
        await self.say({"type": "listen", "state": "detect", "text": "hey"})
        said = str((await self.until("tts", "sentence_start"))["text"])
        await self.until("tts", "stop")
        return said

    async def close(self) -> None:
        await self._client.close()


async def test_a_change_takes_effect_at_the_next_turn_of_the_same_session(make_server: MakeServer) -> None:
    server = make_server()
    configure(server, assistant={"greeting": "One!"})
    await server.start()
    device = await Device.connect(server)
    assert await device.greeting() == "One!"
    configure(server, assistant={"greeting": "Two!"}, voice={"end_silence_ms": 900})
    done = await server.run("reload")
    assert (done.code, done.out.splitlines()) == (
        0,
        ["voice.end_silence_ms: 700 -> 900", "assistant.greeting: changed"],
    ), done.err + server.log
    assert await device.greeting() == "Two!"
    await device.close()
    assert await server.stop() == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("assistant:\n  greting: Three!\n", "assistant.greting (broker.yaml, line 2): there is no such key"),
        ("assistant: [\n", "is not valid YAML"),
        ("agents:\n  chef:\n    llm: nobody\n", "agents.chef.llm: there is no provider 'nobody'"),
        ("providers:\n  llm: gemini\n", "gemini"),
    ],
)
async def test_a_mistake_is_told_and_changes_nothing(make_server: MakeServer, text: str, said: str) -> None:
    server = make_server()
    configure(server, assistant={"greeting": "One!"})
    await server.start()
    device = await Device.connect(server)
    (server.folder / "broker.yaml").write_text(text)
    done = await server.run("reload")
    assert done.code == 1
    assert said in done.err
    assert "the server goes on" in done.err
    assert await device.greeting() == "One!"
    # The signal by itself is refused as well, and the next good file is taken over.
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    configure(server, assistant={"greeting": "Two!"})
    assert (await server.run("reload")).code == 0
    assert await device.greeting() == "Two!"
    await device.close()
    assert await server.stop() == 0


async def test_what_needs_a_restart_is_named(make_server: MakeServer) -> None:
    server = make_server()
    configure(server, assistant={"greeting": "One!"})
    await server.start()
    configure(server, assistant={"greeting": "One!"}, mqtt={"keepalive_s": 60}, store={"url": "sqlite:///x"})
    for _ in range(2):
        done = await server.run("reload")
        assert (done.code, done.out.splitlines()) == (
            0,
            ["mqtt.keepalive_s: needs a restart", "store.url: needs a restart"],
        )
    configure(server, assistant={"greeting": "One!"})
    assert (await server.run("reload")).out == "nothing has changed\n"


async def test_without_a_server_reload_says_so(make_server: MakeServer) -> None:
    done = await make_server().run("reload")
    assert done.code == 1
    assert "no server runs on the folder data" in done.err


async def test_a_second_server_on_the_same_folder_does_not_start(make_server: MakeServer) -> None:
    server = make_server()
    await server.start()
    assert server.process is not None
    done = await server.run("serve")
    assert done.code == 1
    assert f"a server runs on the folder data already (pid {server.process.pid})" in done.err
    assert await server.stop() == 0
    await server.start()


async def test_a_closing_terminal_does_not_end_the_server(make_server: MakeServer) -> None:
    server = make_server()
    await server.start()
    assert server.process is not None
    for _ in range(3):
        server.process.send_signal(signal.SIGHUP)
    assert (await server.run("reload")).out == "nothing has changed\n"
    assert server.process.returncode is None
    assert await server.stop() == 0


# ── another agent, in the middle of a conversation ───────────────────────────────────────────────────────


@pytest.fixture
async def vendor() -> AsyncIterator[OpenAiServer]:
    running = OpenAiServer()
    running.speech = [SECOND]
    await running.start()
    yield running
    await running.aclose()


async def test_language_voice_prompt_tools_and_provider_are_changed_for_the_next_turn(
    make_server: MakeServer, vendor: OpenAiServer
) -> None:
    server = make_server()
    options = {"openai": {"base_url": vendor.base_url, "api_key": KEY}}
    providers = {"stt": "offline", "llm": "offline", "tts": "offline", "cache_mb": 0, "options": options}
    configure(server, providers=providers)
    await server.start()
    ask = ("device", "--ota", server.ota, "--mac", MAC, "--say", "hello world", "--json")
    assert (await server.run(*ask)).code == 0
    assert vendor.asked == []

    openai = dict.fromkeys(("stt", "llm", "tts"), "openai")
    linh = {"prompt": "You are {{ agent.name }}.", "name": "Linh", "language": "vi", "voice": "nova"}
    configure(server, providers=providers | openai, assistant=linh | {"tools": ["set_timer"]})
    done = await server.run("reload")
    assert done.code == 0, done.err + server.log
    assert KEY not in done.out + server.log
    assert "assistant.voice: empty -> nova" in done.out.splitlines()
    assert (await server.run(*ask)).summary["reply"] == "good day"
    (chat,) = [request.fields for request in vendor.asked if request.path.endswith("/completions")]
    (speech,) = [
        request.fields
        for request in vendor.asked
        if request.path.endswith("/speech") and request.fields["input"] == "good day"
    ]
    assert chat["messages"][0] == {"role": "system", "content": "You are Linh."}
    assert [tool["function"]["name"] for tool in chat["tools"]] == ["set_timer"]
    assert speech["voice"] == "nova"
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
        health = await http.get(server.ota.removesuffix("/xiaozhi/ota/") + "/healthz")
    assert health.status_code == 200
    assert await server.stop() == 0
    assert "Traceback" not in server.log
