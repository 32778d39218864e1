"""The whole server in this process: its health while a loop fails, and the order of its stop."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest

from mimi_mqtt import supervision
from mimi_mqtt.app import App
from mimi_mqtt.config import Settings
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.store import devices, pruning
from tests.databases import new_database


@asynccontextmanager
async def running(folder: Path, http: Mapping[str, Any] | None = None) -> AsyncIterator[App]:
    """A server on free ports of the loopback, with the offline voice."""
    anywhere = {"bind": "127.0.0.1:0"}
    settings = Settings.model_validate(
        {
            "server": {"data_dir": folder},
            "http": anywhere | dict(http or {}),
            "mqtt": anywhere,
            "udp": anywhere,
        }
    )
    new_database(folder)
    app = App(settings, {})
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that failed goes on almost at once."""
    monkeypatch.setattr(supervision, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(supervision, "MAX_DELAY_S", 0.01)


async def fail(*_: object) -> None:
    """A query with a fault in it."""
    raise RuntimeError("a mistake that nobody foresaw")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.002)


async def boot(client: httpx.AsyncClient, number: int) -> dict[str, Any]:
    """A device asks for its configuration; the section `mqtt` of the answer."""
    reply = await client.post("/xiaozhi/ota/", headers={"Device-Id": f"aa:bb:cc:00:11:{number:02x}"})
    assert reply.status_code == 200
    access: dict[str, Any] = reply.json()["mqtt"]
    return access


@asynccontextmanager
async def device(access: dict[str, Any]) -> AsyncIterator[aiomqtt.Client]:
    """The control connection of a device."""
    host, _, port = access["endpoint"].partition(":")
    async with aiomqtt.Client(
        host,
        int(port),
        identifier=access["client_id"],
        username=access["username"],
        password=access["password"],
    ) as client:
        yield client


async def told(client: aiomqtt.Client) -> dict[str, Any]:
    """The next message to the device."""
    async with asyncio.timeout(10):
        message = await anext(aiter(client.messages))
    assert isinstance(message.payload, bytes)
    received: dict[str, Any] = json.loads(message.payload)
    return received


async def test_a_device_that_connects_while_the_server_stops_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draining, go_on = asyncio.Event(), asyncio.Event()
    end_sessions = SessionManager.aclose

    async def slowly(manager: SessionManager) -> None:
        draining.set()
        await go_on.wait()
        await end_sessions(manager)

    monkeypatch.setattr(SessionManager, "aclose", slowly)
    async with running(tmp_path) as app:
        stopping = asyncio.create_task(app.stop())
        await draining.wait()
        for port in (app.mqtt_port, app.http_port):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
        go_on.set()
        await stopping


@pytest.mark.parametrize("function", ["changed_since", "save_boots"])
async def test_a_fault_of_the_fleet_is_seen_until_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    async with (
        running(tmp_path) as app,
        httpx.AsyncClient(
            timeout=60.0, base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False
        ) as client,
    ):
        assert (await client.get("/healthz")).status_code == 200
        await boot(client, 1)
        with monkeypatch.context() as broken:
            broken.setattr(devices, function, fail)
            if function == "save_boots":
                await boot(client, 2)
            await until(lambda: not app.health()["store"].ok)
            reply = await client.get("/healthz")
            assert reply.status_code == 503
            assert reply.json()["parts"]["store"]["ok"] is False
        await boot(client, 3)
        await until(lambda: app.health()["store"].ok)
        assert (await client.get("/healthz")).status_code == 200


async def test_old_conversations_that_can_not_be_deleted_are_seen_until_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as broken:
            broken.setattr(pruning, "forget_oldest", fail)
            app = await stack.enter_async_context(running(tmp_path))
            await until(lambda: not app.health()["store"].ok)
        await until(lambda: app.health()["store"].ok)


async def test_a_device_that_restarts_is_not_put_into_the_conversation_of_before(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as app,
        httpx.AsyncClient(
            timeout=60.0, base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False
        ) as client,
    ):
        access = await boot(client, 1)
        async with device(access) as connection:
            await connection.publish(access["publish_topic"], b'{"type":"hello","transport":"udp"}')
            session_id = (await told(connection))["session_id"]
        assert app.health()["sessions"].detail == "1 live"
        async with device(access):
            assert app.health()["sessions"].detail == "1 live"  # it was away for a moment
        async with device(await boot(client, 1)) as connection:
            assert app.health()["sessions"].detail == "0 live"
            assert await told(connection) == {"type": "goodbye", "session_id": session_id}


async def test_an_address_from_which_a_device_connected_has_the_reserve_of_http(tmp_path: Path) -> None:
    """The broker learns such addresses, HTTP keeps half of its connections for them: here 2 of 4."""
    async with (
        running(tmp_path, {"max_connections": 4}) as app,
        httpx.AsyncClient(
            timeout=60.0, base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False
        ) as client,
    ):
        access = await boot(client, 1)
        await client.aclose()
        async with device(access), AsyncExitStack() as opened:
            streams = []
            for _ in range(4):
                reader, writer = await asyncio.open_connection("127.0.0.1", app.http_port)
                opened.callback(writer.close)
                streams.append((reader, writer))
            for reader, writer in streams:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                async with asyncio.timeout(10):
                    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
