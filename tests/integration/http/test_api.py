"""The REST API of a running server: its documents, its event stream, and what strangers try with it."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlmodel import select

from mimi_mqtt.app import App
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.config.changes import Changes
from mimi_mqtt.events import DeviceBooted
from mimi_mqtt.http.api.event_feed import MAX_PER_CALLER
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.people.authenticators import COMMAND_LINE_PREFIX
from mimi_mqtt.store.tables import AuditEntry
from tests.integration.test_app import boot, running, until

pytestmark = pytest.mark.timeout(60)

DEVICE = "aa-bb-cc-00-11-01"


def token(app: App) -> str:
    """The bearer token of the command line."""
    return COMMAND_LINE_PREFIX + app._parts.foundation.credentials.command_line_password(time.time())


@asynccontextmanager
async def api(folder: Path) -> AsyncIterator[tuple[App, httpx.AsyncClient]]:
    """A running server, and a client of its API as its command line; a device has booted."""
    async with running(folder) as app:
        headers = {"Authorization": f"Bearer {token(app)}"}
        url = f"http://127.0.0.1:{app.http_port}"
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=20) as client:
            await boot(client, 1)
            yield app, client


@pytest.mark.parametrize(
    "spared",
    ["fastapi", "sqlalchemy.dialects.postgresql", "mimi_mqtt.backup.restoring", "mimi_mqtt.backup.sealing"],
)
def test_a_start_does_not_wait_for_imports_that_it_does_not_need(spared: str) -> None:
    code = (
        f"import sys, mimi_mqtt.app, mimi_mqtt.cli.serve; print([m for m in sys.modules if {spared!r} in m])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


async def test_the_documents_need_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        document = await client.get("/openapi.json")
        assert document.json()["openapi"].startswith("3.1")
        tag = document.headers["etag"]
        assert (await client.get("/openapi.json", headers={"If-None-Match": tag})).status_code == 304
        page = await client.get("/docs")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http:" not in page.text
        assert "https:" not in page.text
        for line in page.text.split('"'):
            if line.startswith("/docs/"):
                asset = await client.get(line)
                assert asset.status_code == 200
                assert len(asset.content) > 100
        for name in ("redoc.standalone.js", "..%2fcore.py", "%2e%2e/core.py", "core.py"):
            assert (await client.get(f"/docs/{name}")).status_code == 404


async def test_the_command_line_reaches_every_part(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        path = f"/api/v1/devices/{DEVICE}/commands/agent"
        assert (await client.post(path, json={"agent": "nobody"})).status_code == 422
        assert (await client.post(path, json={"agent": DEFAULT_AGENT})).status_code == 200
        reminder = {"device_id": DEVICE, "seconds": 600}
        assert (await client.post("/api/v1/reminders", json=reminder)).status_code == 201
        assert len((await client.get("/api/v1/reminders")).json()["items"]) == 1
        assert (await client.get("/api/v1/sessions")).json()["items"] == []
        assert len((await client.get("/api/v1/settings")).json()["settings"]) > 100


class Rereads:
    """Implements `app.api.ReloadsSettings` with the settings that are in force."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def reload(self) -> Changes:
        return await self._app.reload(self._app.settings)

    def sources(self) -> Mapping[tuple[str, ...], str]:
        return {}


async def test_a_reload_is_audited_with_its_author(tmp_path: Path) -> None:
    async with api(tmp_path) as (app, client):
        assert (await client.post("/api/v1/reload")).status_code == 409
        app.reloading = Rereads(app)
        assert (await client.post("/api/v1/reload")).json() == {"effective": [], "restart": []}
        async with app._parts.foundation.store.read() as session:
            reloads = select(AuditEntry).where(AuditEntry.action == "settings.reload")
            (entry,) = (await session.scalars(reloads)).all()
        assert entry.author == "command line"
        problems = (await client.get("/api/v1/problems")).json()["problems"]
        assert "providers.llm" in {each["id"] for each in problems}
        health = (await client.get("/api/v1/health")).json()
        assert health["ok"]
        assert health["parts"].keys() == app.health().keys()


# ── the event stream ─────────────────────────────────────────────────────────────────────────────────────


async def events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, object]]:
    async for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def listening(app: App) -> bytes:
    """A request for events, as it is on the wire."""
    lines = ("GET /api/v1/events HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token(app)}", "", "")
    return "\r\n".join(lines).encode()


async def test_events_arrive_as_they_happen_and_end_with_the_server(tmp_path: Path) -> None:
    path = "/api/v1/events?types=device_booted"
    async with api(tmp_path) as (app, client), client.stream("GET", path) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = events(stream.aiter_lines())
        await boot(client, 2)
        assert (await anext(told))["device_id"] == "aa-bb-cc-00-11-02"
        stopping = asyncio.create_task(app._http.aclose())
        app._parts.streams.events.close()
        assert [each async for each in told] == []
        await stopping


async def test_a_client_that_leaves_frees_its_place(tmp_path: Path) -> None:
    async with api(tmp_path) as (app, client):
        for _ in range(2):
            streams = [client.stream("GET", "/api/v1/events") for _ in range(MAX_PER_CALLER)]
            for stream in streams:
                assert (await stream.__aenter__()).status_code == 200
            assert (await client.get("/api/v1/events")).status_code == 429
            assert len(app._parts.streams.events) == MAX_PER_CALLER
            for stream in streams:
                await stream.__aexit__(None, None, None)
            await until(lambda: len(app._parts.streams.events) == 0)


async def status_in_the_end(base_url: httpx.URL) -> int:
    """The status of /healthz, once the connections of this address that wait to be accepted are gone: while
    more come than an address may have, the oldest are closed."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with httpx.AsyncClient(timeout=60.0, base_url=base_url, trust_env=False) as another:
                    return (await another.get("/healthz")).status_code
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def test_a_thousand_listeners_leave_room_for_the_others(tmp_path: Path) -> None:
    async with api(tmp_path) as (app, client):
        head = listening(app)
        writers = []
        for _ in range(1_000):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", app.http_port)
            except OSError:
                continue
            writer.write(head)
            writers.append(writer)
        await until(lambda: len(app._parts.streams.events) == MAX_PER_CALLER)
        for writer in writers:
            writer.close()
        await until(lambda: len(app._parts.streams.events) == 0)
        assert await status_in_the_end(client.base_url) in (200, 429)
        assert all(part.ok for part in app.health().values())


async def test_a_reader_that_stops_reading_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {**(HttpServer.__init__.__kwdefaults__ or {}), "write_timeout_s": 0.2}
    monkeypatch.setattr(HttpServer.__init__, "__kwdefaults__", defaults)
    async with api(tmp_path) as (app, client):
        reader, writer = await asyncio.open_connection("127.0.0.1", app.http_port, limit=1_024)
        writer.write(listening(app))
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: len(app._parts.streams.events) == 1)
        async with client.stream("GET", "/api/v1/events") as other:
            lines = other.aiter_lines()
            while len(app._parts.streams.events) == 2:
                for _ in range(200):
                    app._parts.foundation.events.publish(DeviceBooted(device_id=DEVICE, board="x" * 4_000))
                await asyncio.sleep(0)
                async for line in lines:
                    if line.startswith("data: "):
                        break
            assert len(app._parts.streams.events._kept) <= 2_048
        writer.close()


# ── hostile requests ─────────────────────────────────────────────────────────────────────────────────────


BODIES = [
    (b"[" * 100_000, 413), (b"[" * 20_000, 400), (b'{"a":' * 20_000, 400), (b"\xff\xfe", 400),
    (b'{"text": ' + b"9" * 5_000 + b"}", 400),
    (b'{"text": "' + b"x" * 900_000 + b'"}', 422), (b'{"text": "' + b"x" * 1_100_000 + b'"}', 413),
    (b'{"text": "\\ud800"}', 422), (b'{"text": 1e999}', 422), (b'{"text": NaN}', 422), (b"null", 422),
]  # fmt: skip
PATHS = [
    "devices/..%2f..%2fetc/commands/say", "devices/%00/commands/say",
    "devices/aa-bb-cc-00-11-01%2f/commands/say", "devices/%0d%0aSet-Cookie:%20a=b/commands/say",
    "sessions/%2e%2e", "sessions/%0d%0aX: y", "reminders/-1", "nowhere/%0d%0aX-Injected:%20yes",
    "sessions/" + "x" * 3_000, "sessions/%f0%28%8c%28",
]  # fmt: skip


async def test_json_that_costs_more_than_it_says_is_refused(tmp_path: Path) -> None:
    path = f"/api/v1/devices/{DEVICE}/commands/say"
    async with api(tmp_path) as (_, client):
        for body, status in BODIES:
            answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, body[:20]) == (status, body[:20])
            assert answer.headers["content-type"] == "application/problem+json"
            assert len(answer.content) < 2_000


async def test_ids_in_paths_lead_nowhere_else(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        for path in PATHS:
            for method in ("GET", "POST", "DELETE", "TRACE"):
                answer = await client.request(method, f"/api/v1/{path}", json={"text": "x"})
                assert answer.status_code in (404, 405, 422)
                assert "x-injected" not in answer.headers
                assert "set-cookie" not in answer.headers
                assert len(answer.content) < 2_000
                json.loads(answer.content)
