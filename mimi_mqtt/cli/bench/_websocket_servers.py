"""The servers of `bench websocket`: the real one, talkers on its connections, and the reference."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute

from mimi_mqtt.audio.jitter_buffer import JitterBuffer
from mimi_mqtt.cli.bench._devices import directory_of
from mimi_mqtt.cli.bench._reference import listening
from mimi_mqtt.config import HttpSettings, Settings, SharesSettings
from mimi_mqtt.config.settings import SessionSettings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.http.guard import BrowserGuard
from mimi_mqtt.http.hosts import HostRules
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.session.link import AudioChannel, AudioRequest, ControlChannel, ControlSink
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.shares import Ledger
from mimi_mqtt.transports.websocket import PATH, WebSocketDevices
from mimi_mqtt.voice.ports import ConversationSetup
from mimi_mqtt.wire import rfc6455

FRAME_MS = 60
SAMPLE_RATE = 16_000


class Fleet:
    """Devices that are allowed, with their tokens."""

    def __init__(self, count: int) -> None:
        self.credentials = Credentials(secrets.token_bytes(32))
        self.ids = [f"02-00-00-00-{number >> 8:02x}-{number & 0xFF:02x}" for number in range(count)]

    def shown(self) -> list[tuple[str, str]]:
        """MAC and token of each, as a device shows them."""
        password = self.credentials.mqtt_password
        return [(each.replace("-", ":"), password(each, 1)) for each in self.ids]


# ── what a connecting device meets ───────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def greeting(fleet: Fleet) -> AsyncIterator[int]:
    """The real parts that a connecting and greeting device meets; their port."""
    count = len(fleet.ids)
    # Devices that boot: those that come back would have sessions of the run before, which hello ends.
    settings = Settings(session=SessionSettings(max_sessions=count + 1, reattach_s=0))
    directory = directory_of(fleet.ids, fleet.credentials, settings)
    sessions: SessionManager
    devices = WebSocketDevices(settings, directory, lambda: sessions)
    sessions = SessionManager(
        settings,
        directory,
        {"websocket": devices},
        AgentCatalog(AgentsInForce(settings.every_agent)),
        lambda agent: _no_conversation,
    )
    async with _served(devices, count) as port:
        try:
            yield port
        finally:
            devices.close()
            await sessions.aclose()


def _no_conversation(setup: ConversationSetup) -> NoReturn:
    raise StartupError("this bench has no conversations")


@asynccontextmanager
async def _served(devices: WebSocketDevices, count: int) -> AsyncIterator[int]:
    """`devices` behind the HTTP server, with what every request passes."""
    many = count + 100
    guard = Middleware(BrowserGuard, HostRules(), Ledger())
    server = HttpServer(
        Starlette(routes=[WebSocketRoute(PATH, devices)], middleware=[guard]),
        HttpSettings(max_connections=8 * many),
        # Thousands of connects within seconds: no bound is what is measured.
        shares=SharesSettings(
            http_connections_per_address=many, websockets_per_address=many,
            http_requests_per_minute=10_000_000, http_cpu_percent=100,
        ),
    )  # fmt: skip
    sock = listening()
    await server.start(sock)
    try:
        yield int(sock.getsockname()[1])
    finally:
        await server.aclose()


# ── who talks ────────────────────────────────────────────────────────────────────────────────────────────


class _Line:
    """A session up to the ordered frame, which is sent back if it `answers`."""

    def __init__(self, answers: bool) -> None:
        self.channel: AudioChannel | None = None
        self.heard = 0
        self._answers = answers
        self._sent = 0
        self._jitter = JitterBuffer[bytes](0.12)

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        """Orders the frame."""
        self._jitter.push(sequence, opus, now)
        for packet in self._jitter.pop(now):
            if packet is not None:
                self.heard += 1
                if self._answers:
                    self.speak(packet)

    def speak(self, opus: bytes) -> None:
        """Sends one frame."""
        if self.channel is not None:
            self._sent += 1
            self.channel.send(opus, self._sent * FRAME_MS)


class Talkers(ControlSink):
    """A line for each device that connects, without its hello; `answers`: frames are sent back."""

    def __init__(self) -> None:
        self.answers = True
        self.devices: WebSocketDevices | None = None
        self.lines: dict[ControlChannel, _Line] = {}

    @property
    def heard(self) -> int:
        """Frames that were heard in all."""
        return sum(line.heard for line in self.lines.values())

    async def speak(self, frames: Sequence[bytes], count: int) -> None:
        """Sends `count` frames to each device, in real time and evenly spread over it."""
        lines, now = [*self.lines.values()], asyncio.get_running_loop().time
        step, began = FRAME_MS / 1000 / max(1, len(lines)), now()
        for number in range(count * len(lines)):
            if (left := began + number * step - now()) > 0:
                await asyncio.sleep(left)
            lines[number % len(lines)].speak(frames[number // len(lines) % len(frames)])

    def control_opened(self, channel: ControlChannel) -> None:
        """Opens the device's audio."""
        if self.devices is not None:
            line = self.lines[channel] = _Line(self.answers)
            request = AudioRequest(channel.device_id, "bench", "127.0.0.1", SAMPLE_RATE, FRAME_MS)
            line.channel = self.devices.open(channel, request, line)

    def control_message(self, channel: ControlChannel, payload: bytes) -> None:
        """Ignores it."""

    def control_closed(self, channel: ControlChannel, reason: str) -> None:
        """Forgets the device."""
        self.lines.pop(channel, None)


@asynccontextmanager
async def talking(fleet: Fleet, talkers: Talkers) -> AsyncIterator[int]:
    """The real HTTP server and transport, with lines in place of sessions; their port."""
    settings = Settings()
    directory = directory_of(fleet.ids, fleet.credentials, settings)
    talkers.devices = WebSocketDevices(settings, directory, lambda: talkers)
    async with _served(talkers.devices, len(fleet.ids)) as port:
        yield port


# ── the reference ────────────────────────────────────────────────────────────────────────────────────────


class Bare(asyncio.Protocol):
    """The least an asyncio server can do: no bound, no check, fixed answers, frames sent back."""

    __slots__ = ("_open", "_transport")

    _accepted = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    _hello = b'{"type":"hello"' + b" " * 150 + b"}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        self._open = False

    def data_received(self, data: bytes) -> None:
        at, write = 0, self._transport.write
        if not self._open:
            self._open = True
            write(self._accepted)
            return
        while at < len(data):
            frame = rfc6455.plain(data, at, 65_535)
            if frame is None:
                write(rfc6455.server_head(rfc6455.TEXT, len(self._hello)) + self._hello)
                return
            at = frame.end
            write(rfc6455.server_head(rfc6455.BINARY, len(frame.payload)) + frame.payload)
