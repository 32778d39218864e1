"""A running UDP server, a device that talks to it and attackers around them, all on real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeAlias

import numpy as np
import pytest

from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.config.connections import UdpSettings
from mimi_mqtt.session.link import AudioRequest
from mimi_mqtt.transports.udp import UdpChannel, UdpServer
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink
from tests.fakes.session import FakeControlChannel

CONTROL = FakeControlChannel()
FRAME_BYTES = OpusEncoder(16_000).encode(
    (8000 * np.sin(2 * np.pi * 440 * np.arange(960) / 16_000)).astype(np.int16)
)


class Session:
    """The sink: what was believed, and a way to wait for it."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.frames: list[bytes] = []
        self._more = asyncio.Event()

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        self.sequences.append(sequence)
        self.frames.append(opus)
        self._more.set()

    async def until(self, sequence: int) -> list[int]:
        """Waits until `sequence` was delivered; all delivered so far."""
        async with asyncio.timeout(20):
            while sequence not in self.sequences:
                self._more.clear()
                await self._more.wait()
        return self.sequences


class Peer:
    """Somebody with a UDP socket on loopback."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.server = ("127.0.0.1", port)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.sock.getsockname()
        return str(host), int(port)

    def send(self, datagram: bytes) -> None:
        self.sock.sendto(datagram, self.server)

    async def receive(self) -> bytes:
        async with asyncio.timeout(20):
            return await asyncio.get_running_loop().sock_recv(self.sock, 2048)

    def received(self) -> list[bytes]:
        """What has come so far, without waiting."""
        datagrams = []
        while True:
            try:
                datagrams.append(self.sock.recv(2048))
            except BlockingIOError:
                return datagrams

    def close(self) -> None:
        self.sock.close()


class Device(Peer):
    """A device that follows its hello: key and nonce as announced, sequences from 1."""

    def __init__(self, channel: UdpChannel, session: Session, port: int, host: str = "127.0.0.1") -> None:
        super().__init__(port, host)
        section = channel.describe()["udp"]
        self.channel = channel
        self.session = session
        self.cipher = AudioCipher(bytes.fromhex(section["key"]))
        self.nonce = bytes.fromhex(section["nonce"])
        self.sequence = 0
        self.old: list[socket.socket] = []

    def seal(self, sequence: int, opus: bytes = FRAME_BYTES) -> bytes:
        return self.cipher.encrypt(pack_uplink(self.nonce, 0, sequence, len(opus)), opus)

    def forge(self, sequence: int) -> bytes:
        """What an attacker without the key sends, but never by chance readable as Opus of this session."""
        return self.seal(sequence, b"\xff" * 100)

    async def talk(self, packets: int) -> None:
        """Sends the next `packets` and waits until the session has the last one."""
        for _ in range(packets):
            self.sequence += 1
            self.send(self.seal(self.sequence))
        await self.session.until(self.sequence)

    def rebind(self) -> None:
        """Gets a new source port, as behind a NAT that forgot the old one; the old socket stays open."""
        self.old.append(self.sock)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)

    def close(self) -> None:
        super().close()
        for sock in self.old:
            sock.close()


NewDevice: TypeAlias = Callable[[], Device]


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


@pytest.fixture
async def server() -> AsyncIterator[UdpServer]:
    server = UdpServer(UdpSettings(), lambda device_id: bytes(16))
    await server.start(bound())
    yield server
    await server.aclose()


@pytest.fixture
def new_device(server: UdpServer) -> Iterator[NewDevice]:
    devices: list[Device] = []

    def make() -> Device:
        session = Session()
        number = len(devices)
        request = AudioRequest(f"device-{number}", f"session-{number}", "127.0.0.1", 16_000, 60)
        devices.append(Device(server.open(CONTROL, request, session), session, server.port))
        return devices[-1]

    yield make
    for device in devices:
        device.close()


@pytest.fixture
def device(new_device: NewDevice) -> Device:
    return new_device()


@pytest.fixture
def attacker(server: UdpServer) -> Iterator[Peer]:
    peer = Peer(server.port)
    yield peer
    peer.close()


@pytest.fixture
def barrier(new_device: NewDevice) -> Callable[[], Awaitable[None]]:
    """Waits until the server has read all that was sent before: loopback keeps the order of a queue."""
    witness = new_device()

    async def wait() -> None:
        await witness.talk(1)

    return wait
