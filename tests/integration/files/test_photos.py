"""Photos of cameras over real HTTP, from devices and from attackers."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from mimi_mqtt.commands.vision import Explanation, Vision, VisionTokens
from mimi_mqtt.config import HttpSettings
from mimi_mqtt.http import limits
from mimi_mqtt.http.device import vision as endpoint
from mimi_mqtt.http.device.vision import MAX_PHOTO_BYTES, PhotoQuestions
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.shares import Ledger
from tests.integration.http.raw import RawHttp
from tests.integration.test_app import until

DEVICE = "aa-bb-cc-00-11-22"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 100


class Answers(Vision):
    """Answers what it was asked."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.asked: list[tuple[str, str, bytes]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.success = True

    async def explain(self, device_id: str, question: str, photo: bytes) -> Explanation:
        self.asked.append((device_id, question, photo))
        await self.go_on.wait()
        return Explanation(self.success, "a kettle")


@dataclass
class House:
    """A server that is asked about photos."""

    vision: Answers
    tokens: VisionTokens
    http: HttpServer
    client: httpx.AsyncClient
    kept: list[tuple[str, str, bytes]] = field(default_factory=list)

    def headers(self, device: str = "AA:BB:CC:00:11:22", token: str | None = None) -> dict[str, str]:
        granted = self.tokens.grant(DEVICE, time.time()) if token is None else token
        return {"Device-Id": device, "Client-Id": "uuid", "Authorization": f"Bearer {granted}"}

    async def ask(
        self, photo: bytes = JPEG, question: str = "what?", path: str = "/vision/explain", **headers: str
    ) -> httpx.Response:
        return await self.client.post(
            path,
            data={"question": question},
            files={"file": ("camera.jpg", photo, "image/jpeg")},
            headers=self.headers(**headers),
        )


@pytest.fixture
async def house() -> AsyncIterator[House]:
    vision = Answers()
    tokens = VisionTokens(lambda: (b"k" * 32,), lambda device: "s-1" if device == DEVICE else "")
    kept: list[tuple[str, str, bytes]] = []
    ledger = Ledger()
    questions = PhotoQuestions(vision, tokens, ledger, lambda *photo: kept.append(photo))
    server = HttpServer(Starlette(routes=questions.routes()), HttpSettings(), ledger=ledger)
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    await server.start(sock)
    async with httpx.AsyncClient(
        timeout=60.0, base_url=f"http://127.0.0.1:{server.port}", trust_env=False
    ) as client:
        yield House(vision, tokens, server, client, kept)
    await server.aclose()


@pytest.mark.parametrize("path", ["/vision/explain", "/mcp/vision/explain"])
async def test_a_photo_is_explained(house: House, path: str) -> None:
    reply = await house.ask(path=path, question="Was ist das für ein Gerät?")
    assert reply.status_code == 200
    assert reply.json() == {"success": True, "action": "RESPONSE", "response": "a kettle"}
    assert house.vision.asked == [(DEVICE, "Was ist das für ein Gerät?", JPEG)]
    assert house.kept == [(DEVICE, "s-1", JPEG)]


async def test_a_photo_in_chunks_as_firmware_sends_it(house: House) -> None:
    async def chunked() -> AsyncIterator[bytes]:
        yield b'--B\r\nContent-Disposition: form-data; name="question"\r\n\r\nwhat?\r\n'
        yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="camera.jpg"\r\n'
        yield b"Content-Type: image/jpeg\r\n\r\n"
        for start in range(0, len(JPEG), 512):
            yield JPEG[start : start + 512]
        yield b"\r\n--B--\r\n"

    headers = house.headers() | {"Content-Type": "multipart/form-data; boundary=B"}
    reply = await house.client.post("/mcp/vision/explain", content=chunked(), headers=headers)
    assert reply.json()["success"]
    assert house.vision.asked[0][2] == JPEG


async def test_no_answer_is_told_with_200(house: House) -> None:
    house.vision.success = False
    reply = await house.ask()
    assert (reply.status_code, reply.json()) == (200, {"success": False, "message": "a kettle"})


@pytest.mark.parametrize(
    "headers",
    [
        {"device": "aa:bb:cc:00:11:23"},
        {"device": "../../x"},
        {"device": ""},
        {"token": "."},
        {"token": "s-1.99999999999.AAAAAAAAAAAAAAAAAAAAAA"},
    ],
)
async def test_a_foreign_devices_token_asks_nothing(house: House, headers: dict[str, Any]) -> None:
    reply = await house.ask(**headers)
    assert reply.status_code == 401
    assert not reply.json()["success"]
    assert house.vision.asked == []


async def test_tokens_can_not_be_guessed_at_any_rate(house: House) -> None:
    replies = [await house.ask(token="x") for _ in range(endpoint.GUESSES_PER_MINUTE + 1)]
    assert [replies[0].status_code, replies[-1].status_code] == [401, 429]
    assert (await house.ask()).json()["success"]


@pytest.mark.parametrize(
    "photo", [b"\x89PNG\r\n\x1a\n" + bytes(50), b"<html>", b"", JPEG + bytes(MAX_PHOTO_BYTES)]
)
async def test_what_is_no_photo_is_told_and_not_looked_at(house: House, photo: bytes) -> None:
    reply = await house.ask(photo)
    assert reply.status_code == 200
    assert not reply.json()["success"]
    assert "photo" in reply.json()["message"]
    assert house.vision.asked == []
    assert house.kept == []


async def test_a_question_that_is_too_long_is_told(house: House) -> None:
    reply = await house.ask(question="x" * 3_000)
    assert "longer than 2000 bytes" in reply.json()["message"]
    assert house.vision.asked == []


async def test_a_second_photo_waits_for_the_first(house: House) -> None:
    house.vision.go_on.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(house.ask())
        await until(lambda: bool(house.vision.asked))
        second = await house.ask()
        house.vision.go_on.set()
    assert not second.json()["success"]
    assert first.result().json()["success"]
    assert (await house.ask()).json()["success"]


async def test_a_device_that_sends_slowly_gives_its_place_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FILE_IDLE_S", 0.1)
    slow = await RawHttp.open(house.http.port)
    headers = "".join(f"{name}: {value}\r\n" for name, value in house.headers().items())
    slow.writer.write(
        f"POST /vision/explain HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n{headers}"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode()
    )
    monkeypatch.setattr(limits, "BODY_TIMEOUT_S", 0.1)
    assert b" 200 " in await slow.head()
    await slow.close()
    assert (await house.ask()).json()["success"]
