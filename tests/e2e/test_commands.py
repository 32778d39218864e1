"""`mimi-mqtt say`, `alert`, `call`, `end` and `disconnect` with a running server and a connected device."""

import asyncio
import json
import re
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import httpx
import pytest

from tests.e2e.conftest import MakeServer, Server

MAC = "aa:bb:cc:00:11:22"
ID = "aa-bb-cc-00-11-22"
PASSWORD = "a long password"
PATIENCE_S = 20
HELLO = {
    "type": "hello",
    "version": 3,
    "transport": "udp",
    "features": {},
    "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60},
}
LIGHT = {"name": "self.light.set", "description": "Sets the light", "inputSchema": {"type": "object"}}


class Device:
    """A device on its own MQTT connection, whose MCP server has one tool."""

    def __init__(self, client: aiomqtt.Client, topic: str) -> None:
        self._client = client
        self._topic = topic
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def say(self, message: object) -> None:
        await self._client.publish(self._topic, json.dumps(message))

    async def wait_for(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while (message := await self.received.get())["type"] != kind:
                pass
        return message

    async def run(self) -> None:
        """Until the connection ends."""
        async for incoming in self._client.messages:
            message = json.loads(incoming.payload)
            if message["type"] == "mcp":
                await self._answer(message["payload"])
            self.received.put_nowait(message)

    async def _answer(self, asked: dict[str, Any]) -> None:
        results: dict[str, Any] = {
            "initialize": {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}},
            "tools/list": {"tools": [LIGHT]},
            "tools/call": {"content": [{"type": "text", "text": "the light is on"}], "isError": False},
        }
        if "id" in asked:
            reply = {"jsonrpc": "2.0", "id": asked["id"], "result": results[asked["method"]]}
            await self.say({"type": "mcp", "session_id": "", "payload": reply})


@asynccontextmanager
async def connected_device(server: Server) -> AsyncIterator[Device]:
    headers = {"Device-Id": MAC, "Client-Id": "e2e"}
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
        mqtt = (await http.post(server.ota, headers=headers, json={"version": 2})).json()["mqtt"]
    host, _, port = mqtt["endpoint"].partition(":")
    client = aiomqtt.Client(
        host, int(port), username=mqtt["username"], password=mqtt["password"], identifier=mqtt["client_id"]
    )
    async with client:
        device = Device(client, mqtt["publish_topic"])
        listening = asyncio.create_task(device.run(), name="device")
        try:
            yield device
        finally:
            listening.cancel()
            await asyncio.wait({listening})


@pytest.fixture
async def server(make_server: MakeServer) -> Server:
    """A server whose HTTP address is in its settings, as the command line needs it."""
    made = make_server(MIMI_ACCOUNTS__ADMIN_PASSWORD=PASSWORD)
    await made.start()
    address = re.search(r"//([^/]+)/", made.ota)
    assert address
    made.ports = {"MIMI_HTTP__BIND": address[1]}
    return made


async def test_the_command_line_commands_a_device_without_a_password(server: Server) -> None:
    del server.environ["MIMI_ACCOUNTS__ADMIN_PASSWORD"]  # the command line does not know it
    async with connected_device(server) as device:
        shown = await server.run("say", MAC, "Dinner is ready.")
        assert (shown.code, shown.out.strip()) == (0, "shown"), shown.err
        assert (await device.wait_for("alert"))["message"] == "Dinner is ready."

        alerted = await server.run("alert", MAC, "The door is open.", "--status", "Door", "--emotion", "sad")
        assert alerted.code == 0, alerted.err
        alert = await device.wait_for("alert")
        assert (alert["status"], alert["message"], alert["emotion"]) == ("Door", "The door is open.", "sad")

        called = await server.run("call", MAC, "self.light.set", "{}")
        assert (called.code, called.out.strip()) == (0, "the light is on"), called.err

        refused = await server.run("end", MAC)
        assert refused.code == 1
        assert "idle" in refused.err

        await device.say(HELLO)
        await device.wait_for("hello")
        ended = await server.run("end", MAC)
        assert ended.code == 0, ended.err
        await device.wait_for("goodbye")

        assert (await server.run("disconnect", MAC)).code == 0
        gone = await server.run("say", MAC, "Hello?")
        assert gone.code == 1
        assert "not connected" in gone.err
    assert "Dinner" not in server.log
    unknown = await server.run("say", "aa:bb:cc:00:11:99", "Hello?")
    assert unknown.code == 1
    assert "no device" in unknown.err
    await server.stop()
    stopped = await server.run("say", MAC, "Hello?")
    assert stopped.code == 1
    assert "mimi-mqtt serve" in stopped.err


async def test_the_command_line_notifies_idle_devices_and_those_that_are_away(server: Server) -> None:
    del server.environ["MIMI_ACCOUNTS__ADMIN_PASSWORD"]
    bell = server.folder / "bell.wav"
    with wave.open(str(bell), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(16_000))
    device = asyncio.create_task(
        server.run("device", "--ota", server.ota, "--mac", MAC, "--idle", "20", "--json", timeout=120)
    )
    async with asyncio.timeout(60):
        while (waiting := await server.run("notify", MAC, "Not known yet.")).code:
            assert "no device" in waiting.err
    heard = await server.run("notify", MAC, "Dinner is ready. Come at once.", "--urgent")
    assert (heard.code, heard.out.strip()) == (0, "delivered"), heard.err
    rung = await server.run("notify", MAC, "--audio", str(bell), "--expires", "60", timeout=60)
    assert (rung.code, rung.out.strip()) == (0, "delivered"), rung.err
    summary = (await device).summary
    assert summary["ok"], summary
    assert ["Dinner is ready.", "Come at once."] in [notice["texts"] for notice in summary["notices"]]
    away = await server.run("notify", MAC, "For later.", "--expires", "60")
    assert (away.code, away.out.strip()) == (0, "waiting"), away.err
    for arguments, complaint in (
        (("--audio", "no-such-file"), "can't be read"),
        (("--audio", str(server.folder / "data" / "server.secret")), "decoded"),
        (("x", "--expires", "-1"), "expires_s"),
        ((), "text"),
    ):
        refused = await server.run("notify", MAC, *arguments)
        assert refused.code == 1
        assert complaint in refused.err
    assert "Dinner" not in server.log


async def test_another_servers_secret_commands_nothing(server: Server) -> None:
    (server.folder / "data" / "server.secret").write_text("00" * 32)
    for command in (("say", MAC, "Hello?"), ("notify", MAC, "--audio", __file__)):
        refused = await server.run(*command)
        assert refused.code == 1
        assert "secret" in refused.err


async def test_presence_and_events_are_on_the_broker(server: Server) -> None:
    mqtt = re.search(r"MQTT\s+(?:\S+:)?(\d+)", server.welcome)
    assert mqtt
    watcher = aiomqtt.Client("127.0.0.1", int(mqtt[1]), username="admin", password=PASSWORD)
    told: list[str] = []
    async with watcher, asyncio.timeout(PATIENCE_S):
        await watcher.subscribe(f"mimi/devices/{ID}/state")
        await watcher.subscribe(f"mimi/devices/{ID}/event")
        async with connected_device(server) as device:
            await device.say(HELLO)
            session_id = (await device.wait_for("hello"))["session_id"]
            await device.say({"type": "goodbye", "session_id": session_id})
        async for message in watcher.messages:
            fields = json.loads(message.payload)
            told.append(fields.get("event") or f"{fields['state']}, session {fields['session'] is not None}")
            if told[-1] == "offline, session False":
                break
    for wanted in ("device_booted", "device_connected", "session_opened", "device_gone", "session_ended"):
        assert wanted in told
    assert told[-1] == "offline, session False"
