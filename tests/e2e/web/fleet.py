"""Devices in tests of the web app: they boot and download over HTTP, and some answer tools over MQTT."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import httpx

from mimi_mqtt.cli.device.identity import client_id_for
from tests.e2e.web.conftest import Site, Tab

BOARD = "bread-compact-wifi"
SLOT_BYTES = 0x3F0000
SNAPSHOT = "self.screen.snapshot"
ASSETS = "self.assets.set_download_url"


def mac(number: int) -> str:
    return f"02:00:00:00:07:{number:02x}"


def device_id(number: int) -> str:
    return mac(number).replace(":", "-")


def report(version: str, board: str) -> dict[str, Any]:
    """The OTA report of a board with an ESP32-S3 and 16 MB of flash."""
    rows = [("ota_0", 0, 16, SLOT_BYTES), ("ota_1", 0, 17, SLOT_BYTES), ("assets", 1, 130, 0x800000)]
    return {
        "version": 2, "flash_size": 16 << 20, "chip_model_name": "esp32s3", "chip_info": {"model": 9},
        "application": {"name": "xiaozhi", "version": version}, "board": {"type": board, "name": board},
        "partition_table": [
            {"label": label, "type": kind, "subtype": subtype, "address": 0, "size": size}
            for label, kind, subtype, size in rows
        ],
        "ota": {"label": "ota_0"},
    }  # fmt: skip


@dataclass
class Fleet:
    """Boards that ask the site's server."""

    site: Site
    http: httpx.AsyncClient

    async def boots(self, number: int, version: str = "2.2.1", board: str = BOARD) -> dict[str, Any]:
        """The answer to a device's OTA request."""
        headers = {"Device-Id": mac(number), "Client-Id": client_id_for(mac(number))}
        headers["User-Agent"] = f"{board}/{version}"
        answer = await self.http.post("/xiaozhi/ota/", headers=headers, json=report(version, board))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def appears(self, number: int, name: str, room: str, version: str = "2.2.1", **more: Any) -> None:
        """A device boots for the first time, and gets a name. It connects for conversations alone."""
        await self.boots(number, version, more.pop("board", BOARD))
        async with self.site.program() as ada:
            given = {"name": name, "room": room, "transport": "websocket", **more}
            changed = await ada.patch(f"/devices/{device_id(number)}", json=given)
            assert changed.status_code == 200, changed.text

    async def updates(self, number: int, version: str) -> str:
        """A device takes what it is offered to the end; returns the version that was offered."""
        offer = (await self.boots(number, version))["firmware"]
        assert offer["url"], f"{device_id(number)} was offered nothing"
        assert (await self.http.get(offer["url"])).status_code == 200
        offered: str = offer["version"]
        return offered


@asynccontextmanager
async def fleet(site: Site) -> AsyncIterator[Fleet]:
    async with httpx.AsyncClient(base_url=site.url, trust_env=False, timeout=30) as http:
        yield Fleet(site, http)


@dataclass
class Screen:
    """A device on its own MQTT connection that posts pictures of its screen, and is told of assets."""

    client: aiomqtt.Client
    topic: str
    picture: bytes = b""
    told: list[str] = field(default_factory=list)

    async def run(self) -> None:
        async for incoming in self.client.messages:
            assert isinstance(incoming.payload, (bytes, bytearray))
            message = json.loads(incoming.payload)
            if message["type"] == "mcp" and "id" in message["payload"]:
                await self._answer(message["payload"])

    async def _answer(self, asked: dict[str, Any]) -> None:
        result: dict[str, Any] = {}
        if asked["method"] == "initialize":
            result = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}
        elif asked["method"] == "tools/list":
            schema = {"type": "object", "properties": {"url": {"type": "string"}}}
            tools = [
                {"name": name, "description": name, "inputSchema": schema} for name in (SNAPSHOT, ASSETS)
            ]
            result = {"tools": [{**tool, "annotations": {"audience": ["user"]}} for tool in tools]}
        elif asked["method"] == "tools/call":
            url = asked["params"]["arguments"]["url"]
            if asked["params"]["name"] == SNAPSHOT:
                async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
                    posted = await http.post(url, files={"file": ("screen.jpg", self.picture, "image/jpeg")})
                    assert posted.status_code in (200, 201), posted.text
            else:
                self.told.append(url)
            result = {"content": [{"type": "text", "text": "true"}], "isError": False}
        reply = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
        await self.client.publish(self.topic, json.dumps({"type": "mcp", "session_id": "", "payload": reply}))


@asynccontextmanager
async def screen(boards: Fleet, number: int, picture: bytes = b"") -> AsyncIterator[Screen]:
    """A device that is connected for the time of the block."""
    async with boards.site.program() as ada:
        changed = await ada.patch(f"/devices/{device_id(number)}", json={"transport": "mqtt"})
        assert changed.status_code == 200, changed.text
    mqtt = (await boards.boots(number))["mqtt"]
    host, _, port = mqtt["endpoint"].partition(":")
    client = aiomqtt.Client(
        host, int(port), username=mqtt["username"], password=mqtt["password"], identifier=mqtt["client_id"]
    )
    async with client:
        made = Screen(client, mqtt["publish_topic"], picture)
        answering = asyncio.create_task(made.run(), name="screen")
        try:
            yield made
        finally:
            answering.cancel()
            await asyncio.wait({answering})


async def dismiss_notes(tab: Tab) -> None:
    """Closes the notes at the edge of the page, with which an action that could be undone is done."""
    close = tab.page.locator(".toaster").get_by_role("button", name="Close")
    while await close.count():
        await close.first.click()


async def drawn(tab: Tab, words: str, colour: str, size: tuple[int, int] = (320, 240)) -> bytes:
    """A JPEG as a device's screen may show it, drawn by the browser."""
    data: str = await tab.page.evaluate(
        """([words, colour, width, height]) => {
            const canvas = document.createElement('canvas');
            canvas.width = width;
            canvas.height = height;
            const pen = canvas.getContext('2d');
            const circle = (x, y, radius, from = 0, to = 7) => {
                pen.beginPath();
                pen.arc(width * x, height * y, height * radius, from, to);
            };
            pen.fillStyle = '#10131c';
            pen.fillRect(0, 0, width, height);
            pen.fillStyle = colour;
            circle(0.5, 0.42, 0.22);
            pen.fill();
            pen.fillStyle = '#10131c';
            for (const x of [0.44, 0.56]) { circle(x, 0.38, 0.03); pen.fill(); }
            pen.lineWidth = 5;
            circle(0.5, 0.42, 0.11, 0.4, 2.7);
            pen.stroke();
            pen.fillStyle = '#fff';
            pen.font = '20px sans-serif';
            pen.textAlign = 'center';
            pen.fillText(words, width / 2, height * 0.85);
            return canvas.toDataURL('image/jpeg', 0.85).split(',')[1];
        }""",
        [words, colour, *size],
    )
    return base64.b64decode(data)
