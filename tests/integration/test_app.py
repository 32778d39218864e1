"""The whole server in this process: its health while a loop fails, and the order of its stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from mimi_mqtt import supervision
from mimi_mqtt.app import App
from mimi_mqtt.config import Settings
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.store import conversations, devices


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[App]:
    """A server on free ports of the loopback, with the offline voice."""
    anywhere = {"bind": "127.0.0.1:0"}
    settings = Settings.model_validate(
        {"server": {"data_dir": folder}, "http": anywhere, "mqtt": anywhere, "udp": anywhere}
    )
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


async def boot(client: httpx.AsyncClient, number: int) -> None:
    reply = await client.post("/xiaozhi/ota/", headers={"Device-Id": f"aa:bb:cc:00:11:{number:02x}"})
    assert reply.status_code == 200


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
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False) as client,
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
            broken.setattr(conversations, "forget_before", fail)
            app = await stack.enter_async_context(running(tmp_path))
            await until(lambda: not app.health()["store"].ok)
        await until(lambda: app.health()["store"].ok)
