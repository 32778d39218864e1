"""The device's UDP socket, over a network that loses and delays packets as much as is wanted."""

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass

from mimi_mqtt.errors import DeviceFailure


@dataclass(frozen=True, slots=True)
class Impairment:
    """`loss_percent` of the packets vanish; each other one is late by 0 to `jitter_ms`, so they overtake."""

    loss_percent: float = 0.0
    jitter_ms: float = 0.0
    seed: int | None = None


class Network:
    """Delivers packets late or never; one for both directions. `later` is the loop's `call_later`."""

    def __init__(self, impairment: Impairment, later: Callable[..., object]) -> None:
        self._impairment = impairment
        self._random = random.Random(impairment.seed)
        self._later = later
        self.dropped = 0

    def carry(self, packet: bytes, deliver: Callable[[bytes], None]) -> None:
        """Calls `deliver` with `packet`: now, later or not at all."""
        impairment = self._impairment
        if self._random.random() * 100 < impairment.loss_percent:
            self.dropped += 1
        elif impairment.jitter_ms > 0:
            self._later(self._random.uniform(0, impairment.jitter_ms) / 1000, deliver, packet)
        else:
            deliver(packet)


class AudioSocket(asyncio.DatagramProtocol):
    """The socket towards one audio server."""

    def __init__(
        self, network: Network, received: Callable[[bytes], None], failed: Callable[[DeviceFailure], None]
    ) -> None:
        self._network = network
        self._received = received
        self._failed = failed
        self._transport: asyncio.DatagramTransport | None = None
        self._server = ("", 0)

    async def open(self, server: str, port: int, source: str | None = None) -> None:
        """Resolves `server`, IPv4 only as the firmware does; `source` is the address to send from, None for
        the system's choice. Raises DeviceFailure."""
        self._server = (server, port)
        loop = asyncio.get_running_loop()
        try:
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: self,
                local_addr=None if source is None else (source, 0),
                remote_addr=(server, port),
                family=socket.AF_INET,
            )
        except OSError as error:
            raise DeviceFailure(f"the audio server {server}:{port} can't be reached: {error}") from error

    def send(self, datagram: bytes) -> None:
        """Sends through the network."""
        self._network.carry(datagram, self._to_socket)

    def close(self) -> None:
        """Closes the socket; what is still under way is lost."""
        if self._transport is not None:
            self._transport.close()

    def _to_socket(self, datagram: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(datagram)

    def _from_socket(self, datagram: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._received(datagram)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """See asyncio."""
        self._network.carry(data, self._from_socket)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: a real device's receive task ends here for good."""
        server, port = self._server
        self._failed(DeviceFailure(f"no program listens on UDP at {server}:{port} ({exc})"))
