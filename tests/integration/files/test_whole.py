"""A whole server and a simulated device with a camera: photos are explained, screenshots and turns kept."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import select

from mimi_mqtt.app import App
from mimi_mqtt.cli.device.client import converse
from mimi_mqtt.cli.device.options import DeviceOptions
from mimi_mqtt.commands.model import CallTool, CommandResult, Principal
from mimi_mqtt.config import Settings
from mimi_mqtt.people.authenticators import COMMAND_LINE_PREFIX
from mimi_mqtt.store.tables import StoredRecording
from mimi_mqtt.wire.ogg import OggOpusReader
from tests.integration.test_app import until
from tests.servers.openai_server import KEY, OpenAiServer

pytestmark = pytest.mark.timeout(90)

MAC = "aa:bb:cc:00:11:22"
DEVICE = "aa-bb-cc-00-11-22"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 60
ADA = Principal("ada", user_tools=True)


@asynccontextmanager
async def server(folder: Path, seeing: str, **assistant: object) -> AsyncIterator[App]:
    """A server whose model for photos is at the address `seeing`."""
    anywhere = {"bind": "127.0.0.1:0"}
    settings = Settings.model_validate(
        {
            "server": {"data_dir": folder / "data"},
            "http": anywhere,
            "mqtt": anywhere,
            "udp": anywhere,
            "assistant": {
                "vision": "openai",
                "llm": "offline",
                "stt": "offline",
                "tts": "offline",
                **assistant,
            },
            "providers": {
                "options": {"openai": {"base_url": seeing, "api_key": KEY, "llm_model": "qwen2.5-vl-7b"}}
            },
        }
    )
    app = App(settings, {})
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


@asynccontextmanager
async def camera(app: App, folder: Path, **options: Any) -> AsyncIterator[None]:
    """A simulated device with a camera, connected."""
    picture = folder / "picture.jpg"
    picture.write_bytes(JPEG)
    ota = f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/"
    wanted = DeviceOptions(ota, mac=MAC, camera=picture, idle_s=60, timeout_s=60, **options)
    device = asyncio.create_task(converse(wanted))
    try:
        await until(lambda: app._parts.live.sessions.connected(DEVICE) or device.done())
        assert not device.done(), device.result()
        yield
    finally:
        device.cancel()
        with suppress(asyncio.CancelledError):
            await device


async def ask(app: App, question: str = "What is this?") -> CommandResult:
    command = CallTool(device_id=DEVICE, tool="self.camera.take_photo", arguments={"question": question})
    return await app._parts.commands.runner.run(command, by=ADA)


@asynccontextmanager
async def api(app: App) -> AsyncIterator[httpx.AsyncClient]:
    bearer = COMMAND_LINE_PREFIX + app._parts.foundation.credentials.command_line_password(time.time())
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{app.http_port}/api/v1",
        headers={"Authorization": f"Bearer {bearer}"},
        trust_env=False,
        timeout=60,
    ) as client:
        yield client


@pytest.fixture
async def seeing() -> AsyncIterator[OpenAiServer]:
    vendor = OpenAiServer()
    vendor.deltas = ({"content": "A red "}, {"content": "kettle."})
    await vendor.start()
    yield vendor
    await vendor.aclose()


async def test_a_photo_is_explained_and_a_screenshot_taken(tmp_path: Path, seeing: OpenAiServer) -> None:
    async with server(tmp_path, seeing.base_url) as app, camera(app, tmp_path):
        result = await ask(app)
        assert result.status == "done", result
        assert '"success": true' in str(result.payload["text"])
        assert "A red kettle." in str(result.payload["text"])
        shown = seeing.asked[-1].fields["messages"][-1]["content"]
        assert shown[0]["text"] == "What is this?"
        assert shown[1]["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")

        async with api(app) as client:
            reply = await client.post(f"/devices/{DEVICE}/screenshot")
            assert reply.status_code == 201, reply.text
            upload = reply.json()
            assert (upload["kind"], upload["media_type"]) == ("screenshot", "image/jpeg")
            content = await client.get(f"/uploads/{upload['id']}/content")
            assert content.content == JPEG
            use = (await client.get("/files")).json()
            assert (use["files"], use["bytes"], use["problem"]) == (1, len(JPEG), None)


async def test_the_sound_of_turns_and_photos_are_kept_where_that_is_set(
    tmp_path: Path, seeing: OpenAiServer
) -> None:
    async with server(tmp_path, seeing.base_url, recordings=True) as app:
        picture = tmp_path / "picture.jpg"
        picture.write_bytes(JPEG)
        ota = f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/"
        summary = await converse(DeviceOptions(ota, mac=MAC, text="hi", camera=picture, timeout_s=60))
        assert summary.ok, summary

        async def kept() -> list[Any]:
            async with app._parts.foundation.store.read() as session:
                rows = list((await session.scalars(select(StoredRecording))).all())
            return rows if any(row.side == "assistant" for row in rows) else []

        rows = [row for row in await eventually(kept) if row.side == "assistant"]
        async with api(app) as client:
            path = f"/conversations/{rows[0].session_id}/turns/{rows[0].turn}/audio/assistant"
            reply = await client.get(path)
        assert reply.status_code == 200
        reader = OggOpusReader()
        assert len(list(reader.feed(reply.content))) * 60 == rows[0].duration_ms
        reader.finish()
        assert app._parts.records.files.recordings.healthy


async def eventually(find: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    """What is found, once there is something."""
    while not (found := await find()):  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.05)
    return found


async def test_without_a_model_that_sees_the_person_is_told_how_to_set_one(tmp_path: Path) -> None:
    async with server(tmp_path, "http://127.0.0.1:9/v1", vision=None) as app, camera(app, tmp_path):
        result = await ask(app)
        assert '"success": false' in str(result.payload["text"])
        assert "assistant.vision" in str(result.payload["text"])
