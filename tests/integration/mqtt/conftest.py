"""A running MqttServer on free ports, with a sink that records and a clock that the test moves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.config import BindAddress
from mimi_mqtt.config.connections import MqttSettings, SharesSettings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.identity import Authenticator, Identity, Role
from mimi_mqtt.session.link import ControlChannel
from mimi_mqtt.transports.listening import open_tcp
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.wire.mqtt import Will
from tests.integration.mqtt.raw import PATIENCE_S, RawClient
from tests.servers.tls import write_certificates

DEVICE = "aa-bb-cc-00-11-22"
OTHER = "aa-bb-cc-00-11-33"
PASSWORDS = {DEVICE: b"right", OTHER: b"other", "admin": b"admin password"}


class FakeAccounts:
    """Two devices, an administrator, and everybody without a name."""

    anonymous = True

    def authenticate(
        self, client_id: str, username: str | None, password: bytes | None, address: str
    ) -> Identity | None:
        if not username:
            return Identity(Role.ANONYMOUS, "") if self.anonymous and not password else None
        if PASSWORDS.get(username) != password:
            return None
        if username == "admin":
            return Identity(Role.ADMIN, username)
        return Identity(Role.DEVICE if client_id == username else Role.TESTER, username, username)


@dataclass
class RecordingSink:
    """Writes down what happens; `reply`, when set, is sent for every message."""

    events: list[tuple[str, str]] = field(default_factory=list)
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    channels: dict[str, ControlChannel] = field(default_factory=dict)
    reply: bytes | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def control_opened(self, channel: ControlChannel) -> None:
        self.events.append(("opened", channel.device_id))
        self.channels[channel.device_id] = channel
        self.changed.set()

    def control_message(self, channel: ControlChannel, payload: bytes) -> None:
        self.messages.append((channel.device_id, payload))
        self.changed.set()
        if self.reply is not None:
            channel.send(self.reply)

    def control_closed(self, channel: ControlChannel, reason: str) -> None:
        self.events.append(("closed", channel.device_id))
        if self.channels.get(channel.device_id) is channel:
            del self.channels[channel.device_id]
        self.changed.set()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class FakeClock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Running:
    """A server under test and what belongs to it."""

    server: MqttServer
    sink: RecordingSink
    accounts: FakeAccounts
    clock: FakeClock
    port: int
    tls_port: int
    clients: list[RawClient] = field(default_factory=list)

    async def open(self, **options: Any) -> RawClient:
        client = await RawClient.open(self.port, **options)
        self.clients.append(client)
        return client

    async def connect(self, client_id: str, username: str | None = None, **options: Any) -> RawClient:
        """A connected client with the right password."""
        client = await self.open()
        password = PASSWORDS[username].decode() if username else None
        assert await client.connack(client_id, username, password, **options) == 0
        return client

    async def device(self, device_id: str = DEVICE, **options: Any) -> RawClient:
        return await self.connect(device_id, device_id, **options)

    async def admin(self, client_id: str = "desk", **options: Any) -> RawClient:
        return await self.connect(client_id, "admin", **options)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.server.sweep(self.clock.now)

    async def turn_of_the_loop(self) -> None:
        """Lets everything that is due run once."""
        await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Lets the loop run until `condition` holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  # what is waited for has no event: sockets and tasks ending
                await asyncio.sleep(0)


StartServer = Callable[..., Awaitable[Running]]


def listening_socket() -> socket.socket:
    return open_tcp(BindAddress("127.0.0.1", 0), "mqtt.bind")


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    running: list[Running] = []

    async def start(
        commands: Commands | None = None,
        authenticator: Authenticator | None = None,
        shares: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Running:
        tls = listening_socket() if "tls_certificate" in settings else None
        sink, accounts, clock = RecordingSink(), FakeAccounts(), FakeClock()
        server = MqttServer(
            MqttSettings(**settings), authenticator or accounts, sink, clock, commands,
            shares=SharesSettings(**(shares or {})),
        )  # fmt: skip
        tcp = listening_socket()
        port = tcp.getsockname()[1]
        tls_port = tls.getsockname()[1] if tls is not None else 0
        try:
            await server.start(tcp, tls)
        except StartupError:
            for sock in (tcp, tls):
                if sock is not None:
                    sock.close()
            raise
        running.append(Running(server, sink, accounts, clock, port, tls_port))
        return running[-1]

    yield start
    for item in running:
        for client in item.clients:
            await client.close()
        await item.server.aclose()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ca.crt`, `server.crt` and `server.key` for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


@pytest.fixture
async def mqtt(start_server: StartServer) -> Running:
    """A server with the default settings."""
    return await start_server()


UP = f"mimi/devices/{DEVICE}/up"
DOWN = f"mimi/devices/{DEVICE}/down"
LAST_WORDS = Will(UP, b'{"type":"goodbye"}')
