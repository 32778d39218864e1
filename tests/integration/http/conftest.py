import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from mimi_mqtt.config import AccountSettings, HttpSettings, OtaSettings, SharesSettings
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.provisioning import Endpoints, Provisioner
from mimi_mqtt.http.app import build_app
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.http.server import HttpServer, certificate_of
from mimi_mqtt.http.web.app import WebApp
from mimi_mqtt.shares import KnownAddresses, Ledger
from mimi_mqtt.store.engine import Store
from tests.databases import sqlite_store


@dataclass
class Server:
    """An HTTP server with a fleet and a database of its own, on a free port of the loopback."""

    folder: Path
    store: Store
    directory: DeviceDirectory
    http: HttpServer
    port: int
    client: httpx.AsyncClient
    app: ASGIApp
    health: dict[str, PartHealth]
    ledger: Ledger


class AsAsgi:
    """An ASGI application that is a function: as a route's endpoint Starlette takes those for handlers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


Start = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a server; called again, a second one on the same database."""
    async with AsyncExitStack() as stack:

        async def started(
            *,
            http: HttpSettings | None = None,
            shares: SharesSettings | None = None,
            known: KnownAddresses | None = None,
            ota: OtaSettings | None = None,
            mqtt_websocket: ASGIApp | None = None,
            header_timeout_s: float = 10.0,
            handshake_timeout_s: float = 10.0,
            write_timeout_s: float = 10.0,
            host: str = "127.0.0.1",
            public_host: str | None = None,
            websocket_path: str | None = None,
            web: WebApp | None = None,
        ) -> Server:
            settings = http or HttpSettings()
            store = sqlite_store(tmp_path)
            await store.open()
            stack.push_async_callback(store.aclose)
            credentials = Credentials.load(tmp_path)
            directory = DeviceDirectory(store, credentials, Accounts(AccountSettings()), refresh_s=0.001)
            await directory.start()
            stack.push_async_callback(directory.aclose)
            endpoints = Endpoints(
                mqtt_port=1883, udp_port=8884, public_host=public_host, websocket_path=websocket_path
            )
            provisioner = Provisioner(store, directory, credentials, endpoints, ota or OtaSettings())
            ledger = Ledger()
            health = {"store": PartHealth(True, "SQLite")}
            app = build_app(
                provisioner=provisioner,
                directory=directory,
                health=lambda: health,
                mqtt_websocket=AsAsgi(mqtt_websocket) if mqtt_websocket else None,
                settings=settings,
                ledger=ledger,
                # Whether the web app happens to be built here makes no difference.
                web=web or WebApp({}),
            )
            server = HttpServer(
                app, settings, shares=shares, ledger=ledger, known=known, max_websocket_bytes=4096,
                header_timeout_s=header_timeout_s, write_timeout_s=write_timeout_s,
                certificate=certificate_of(settings), handshake_timeout_s=handshake_timeout_s,
            )  # fmt: skip
            sock = socket.create_server((host, 0))
            sock.setblocking(False)
            await server.start(sock)
            stack.push_async_callback(server.aclose)
            client = httpx.AsyncClient(timeout=60.0, base_url=f"http://127.0.0.1:{server.port}")
            await stack.enter_async_context(client)
            return Server(tmp_path, store, directory, server, server.port, client, app, health, ledger)

        yield started


@pytest.fixture
async def server(start: Start) -> Server:
    return await start()
