"""What people set in a whole server: heard at the next turn of a running session, in the way of no start."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest

from mimi_mqtt.app import App
from mimi_mqtt.config import Settings
from mimi_mqtt.fleet import device_settings, secret_files
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.managed.resources import Change, ManagedResources, opened
from mimi_mqtt.people.authenticators import COMMAND_LINE_PREFIX
from mimi_mqtt.store.audit import COMMAND_LINE
from mimi_mqtt.store.managed import with_secrets
from tests.databases import sqlite_store
from tests.integration.test_app import boot, device, running
from tests.servers.openai_server import KEY, OpenAiServer

pytestmark = pytest.mark.timeout(90)

KITCHEN = "aa-bb-cc-00-11-01"
HELLO = {
    "type": "hello", "version": 3, "transport": "udp", "features": {},
    "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60},
}  # fmt: skip


@asynccontextmanager
async def api(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """The server's API for its administrator."""
    bearer = COMMAND_LINE_PREFIX + app._parts.foundation.credentials.command_line_password(time.time())
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{app.http_port}/api/v1",
        headers={"Authorization": f"Bearer {bearer}"},
        trust_env=False,
        timeout=60,
    ) as client:
        yield client


@asynccontextmanager
async def other_process(folder: Path) -> AsyncIterator[ManagedResources]:
    """Another process with the same database and secret."""
    store = sqlite_store(folder)
    await store.open()
    try:
        yield ManagedResources(store, Credentials.load(folder), {}, Settings)
    finally:
        await store.aclose()


class Talking:
    """A device in one session, which wakes up again and again."""

    def __init__(self, connection: aiomqtt.Client, access: Mapping[str, Any]) -> None:
        self._connection = connection
        self._access = access
        self._messages = aiter(connection.messages)

    async def say(self, message: Mapping[str, Any]) -> None:
        await self._connection.publish(self._access["publish_topic"], json.dumps(message))

    async def until(self, kind: str, state: str | None = None) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                payload = (await anext(self._messages)).payload
                assert isinstance(payload, bytes)
                message: dict[str, Any] = json.loads(payload)
                assert message["type"] != "goodbye"
                if (message["type"], message.get("state")) == (kind, state):
                    return message

    async def greeting(self) -> str:
        """What is said at the wake word; it is not heard to its end."""
        await self.say({"type": "listen", "state": "detect", "text": "hey"})
        said = str((await self.until("tts", "sentence_start"))["text"])
        await self.say({"type": "abort"})
        await self.until("tts", "stop")
        return said


@asynccontextmanager
async def talking(app: App) -> AsyncIterator[Talking]:
    async with httpx.AsyncClient(
        timeout=60.0, base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False
    ) as client:
        access = await boot(client, 1)
    async with device(access) as connection:
        it = Talking(connection, access)
        await it.say(HELLO)
        await it.until("hello")
        yield it


async def test_a_change_is_heard_at_the_next_turn_of_a_running_session(tmp_path: Path) -> None:
    async with running(tmp_path) as app, api(app) as client, talking(app) as it:
        assert (await it.greeting()).startswith("Hello")
        put = await client.put("/agents/default", json={"greeting": "Two!"})
        assert (put.status_code, put.headers["ETag"]) == (200, '"1"')
        assert await it.greeting() == "Two!"
        assert (await client.patch("/agents/default", json={"greeting": "Three!"})).status_code == 200
        assert await it.greeting() == "Three!"
        restored = await client.post("/agents/default/restore", json={"version": 1})
        assert restored.json() == {"version": 3, "content": {"greeting": "Two!"}}
        assert await it.greeting() == "Two!"
        assert (await client.delete("/agents/default")).status_code == 204
        assert (await it.greeting()).startswith("Hello")


async def test_a_change_of_another_process_is_noticed(tmp_path: Path) -> None:
    async with running(tmp_path) as app, talking(app) as it, other_process(tmp_path) as other:
        await other.put(Change("agent", "default", {"greeting": "Two!"}), COMMAND_LINE)
        async with asyncio.timeout(30):
            while app.settings.assistant.greeting != "Two!":  # noqa: ASYNC110 - by the clock
                await asyncio.sleep(0.05)
        assert await it.greeting() == "Two!"


async def test_a_device_whose_agent_is_deleted_talks_to_the_default_one(tmp_path: Path) -> None:
    async with running(tmp_path) as app, api(app) as client:
        made = await client.post("/agents", json={"key": "chef", "settings": {"greeting": "Hungry?"}})
        assert made.status_code == 201, made.text
        async with talking(app) as it:
            await it.greeting()
        await device_settings.change(
            app._parts.foundation.store, KITCHEN, DeviceChange(agent="chef"), datetime.now(UTC)
        )
        await app._parts.fleet.directory.refresh()
        async with talking(app) as it:
            assert await it.greeting() == "Hungry?"
            assert (await client.delete("/agents/chef")).status_code == 204
            assert (await it.greeting()).startswith("Hello")


async def test_what_does_not_work_keeps_nothing_else_from_working(tmp_path: Path) -> None:
    async with running(tmp_path) as app, api(app) as client, talking(app) as it:
        assert (await client.put("/agents/default", json={"llm": "openai"})).status_code == 200
        read = (await client.get("/agents/default")).json()
        assert "OPENAI_API_KEY" in read["problems"][0]
        assert (await client.put("/agents/chef", json={"greeting": "Hungry?"})).status_code == 200
        assert (await it.greeting()).startswith("Hello")
        key = {"secrets": {"api_key": "sk-never-right"}, "options": {"base_url": "http://127.0.0.1:9/v1"}}
        assert (await client.put("/providers/openai", json=key)).status_code == 200
        assert (await client.get("/agents/default")).json()["problems"] == []
        tried = (await client.post("/providers/llm/openai/test")).json()
        assert (tried["ok"], "sk-never-right" in tried["error"]) == (False, False)
        assert app.health()["managed"].ok
    # The next start does not wait for a provider that people chose, and does not fail with it.
    async with running(tmp_path) as app, talking(app) as it:
        assert app.settings.assistant.llm == ("openai",)
        assert (await it.greeting()).startswith("Hello")


async def test_a_key_set_by_a_person_is_used_and_outlives_rotations(tmp_path: Path) -> None:
    vendor = OpenAiServer()
    await vendor.start()
    given = {"options": {"base_url": vendor.base_url, "llm_model": "m"}, "secrets": {"api_key": KEY}}
    try:
        async with running(tmp_path) as app, api(app) as client:
            assert (await client.put("/providers/openai:house", json=given)).status_code == 200
            tried = (await client.post("/providers/llm/openai:house/test")).json()
            assert tried["ok"], tried
            assert tried["answer_ms"] > 0
            for keep_s in (3_600.0, 0.0):
                secret_files.rotate(tmp_path, time.time(), keep_s)
                await app.reload(app._parts.in_force.base)
                await app._parts.in_force.managed.watched.settled()
                async with app._parts.foundation.store.read() as session:
                    (row,) = await with_secrets(session)
                assert row.secret_id == app._parts.foundation.credentials.secret_id
                assert opened(row, Credentials.load(tmp_path)).secrets == {"api_key": KEY}
        async with running(tmp_path) as app, api(app) as client:
            assert (await client.post("/providers/llm/openai:house/test")).json()["ok"]
    finally:
        await vendor.aclose()


async def test_a_change_that_can_not_be_put_in_force_is_seen_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mimi_mqtt.errors import ProviderNotConfigured
    from mimi_mqtt.voice.pool import VoicePool

    async def broken(*_: object, **__: object) -> None:
        raise ProviderNotConfigured("openai", "no key")

    async with running(tmp_path) as app, api(app) as client:
        with monkeypatch.context() as faulty:
            faulty.setattr(VoicePool, "replace", broken)
            assert (await client.put("/agents/default", json={"greeting": "Two!"})).status_code == 200
            assert not app.health()["managed"].ok
            assert app.health()["managed"].detail == "openai: no key"
        await app._parts.in_force.managed.watched.settled()
        assert app.settings.assistant.greeting == "Two!"
        assert app.health()["managed"].ok
