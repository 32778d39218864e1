"""A whole server in this process, and devices that are as real as a test needs."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import httpx

from mimi_mqtt.app import App
from mimi_mqtt.commands.model import CommandResult, Notify, Principal
from mimi_mqtt.config import Settings
from mimi_mqtt.events import NoticeTold
from tests.databases import new_database

ADMIN = Principal("admin", user_tools=True)
PASSWORD = "a long password"
HELLO = {
    "type": "hello",
    "version": 3,
    "transport": "udp",
    "features": {},
    "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60},
}


@dataclass
class House:
    """A running server; `told` has the outcomes of notices."""

    app: App
    http: httpx.AsyncClient
    told: list[NoticeTold] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ota(self) -> str:
        return f"{self.http.base_url}/xiaozhi/ota/"

    async def run(self, command: Notify) -> CommandResult:
        return await self.app._parts.commands.runner.run(command, by=ADMIN)

    async def notify(self, device: str, text: str = "Dinner is ready.", **fields: Any) -> str:
        """What is known of it in time."""
        result = await self.run(Notify(device_id=device, text=text, **fields))
        assert result.status == "done", result
        return str(result.payload["how"])

    def heard(self, event: NoticeTold) -> None:
        self.told.append(event)
        self.changed.set()

    async def until_told(self, number: int) -> list[str]:
        """The outcomes, once there are so many."""
        while len(self.told) < number:
            self.changed.clear()
            await self.changed.wait()
        return [event.outcome for event in self.told]


@asynccontextmanager
async def house_in(folder: Path, **sections: Mapping[str, Any]) -> AsyncIterator[House]:
    """A server on free ports of the loopback, with the offline voice."""
    anywhere = {"bind": "127.0.0.1:0"}
    settings = Settings.model_validate(
        {
            "server": {"data_dir": folder},
            "http": anywhere | dict(sections.pop("http", {})),
            "mqtt": anywhere,
            "udp": anywhere,
            "accounts": {"admin_password": PASSWORD},
            "providers": {"tts": "offline", "stt": "offline", "llm": "offline"},
            **sections,
        }
    )
    new_database(folder)
    app = App(settings, {})
    await app.start()
    url = f"http://127.0.0.1:{app.http_port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
            house = House(app, http)
            app._parts.foundation.events.subscribe(house.heard, NoticeTold, name="test")
            yield house
    finally:
        await app.stop()


@dataclass
class Device:
    """A device on its own MQTT connection; what it was sent waits in `received`."""

    device_id: str
    client: aiomqtt.Client
    topic: str
    received: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def say(self, message: object) -> None:
        await self.client.publish(self.topic, json.dumps(message))

    async def until(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while (message := await self.received.get())["type"] != kind:
                pass
        return message

    async def notified(self) -> str:
        """The path of the address that it is to fetch."""
        url = str((await self.until("notify"))["audio_url"])
        return httpx.URL(url).path

    async def hello(self) -> str:
        """Begins a conversation; its id."""
        await self.say(HELLO)
        return str((await self.until("hello"))["session_id"])

    async def listen(self, session_id: str) -> None:
        await self.say({"type": "listen", "session_id": session_id, "state": "start", "mode": "manual"})


async def register(
    house: House, number: int = 1, version: str = "2.5.0", client_id: str = ""
) -> dict[str, Any]:
    """A device asks OTA; the section `mqtt` of the answer."""
    mac = f"aa:bb:cc:00:{number // 256:02x}:{number % 256:02x}"
    answer = await house.http.post(
        "/xiaozhi/ota/",
        headers={"Device-Id": mac, "Activation-Version": "1", "Client-Id": client_id},
        json={"application": {"version": version}, "board": {"type": "box", "ssid": "home"}},
    )
    assert answer.status_code == 200, answer.text
    access: dict[str, Any] = answer.json()["mqtt"]
    return access


@asynccontextmanager
async def connected(access: Mapping[str, Any]) -> AsyncIterator[Device]:
    """A device that has connected."""
    host, _, port = access["endpoint"].partition(":")
    client = aiomqtt.Client(
        host,
        int(port),
        identifier=access["client_id"],
        username=access["username"],
        password=access["password"],
    )
    async with client:
        device = Device(access["client_id"], client, access["publish_topic"])

        async def listen() -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                device.received.put_nowait(json.loads(message.payload))

        listening = asyncio.create_task(listen(), name="device")
        try:
            yield device
        finally:
            listening.cancel()
            await asyncio.wait({listening})
