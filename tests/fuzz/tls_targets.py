"""Fuzz target of connections before their first byte of HTTP: TLS, plain, or neither."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, cast

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.http.admission import Admission
from mimi_mqtt.http.arrival import Arrival, Entrance
from mimi_mqtt.http.protocol import BoundedHttpProtocol
from mimi_mqtt.shares import KnownAddresses, Ledger
from mimi_mqtt.tls.certificate import ServerCertificate
from tests.fuzz.target import Target, pieces
from tests.servers.tls import authority

_ALERT, _HANDSHAKE = 0x15, 0x16


class _Socket(asyncio.Transport):
    """Keeps what is written, and the protocol that has it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1000), "sockname": ("192.0.2.2", 8003)})
        self.written = b""
        self.closed = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        """Nothing more is on its way in any case."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""


class _Served(asyncio.Protocol):
    """The protocol that serves a connection, and what it was given."""

    def __init__(self) -> None:
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data


@cache
def _certificate() -> ServerCertificate:
    folder = authority().parent
    return ServerCertificate("http", folder / "server.crt", folder / "server.key")


def _client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


_runner = asyncio.Runner()


async def _outcome(parts: Sequence[bytes]) -> tuple[bytes, bytes, bool]:
    """What was passed on to HTTP, what the client was answered, and whether the connection was closed."""
    admission = Admission(HttpSettings(), SharesSettings(), Ledger(), KnownAddresses())
    entrance = Entrance(_certificate(), admission)
    served: list[_Served] = []

    def make() -> BoundedHttpProtocol:
        made: Any = _Served()
        served.append(made)
        return cast(BoundedHttpProtocol, made)

    sock = _Socket()
    arrival = Arrival(entrance, make)
    sock.protocol = arrival
    arrival.connection_made(sock)
    for part in parts:
        if not sock.closed:
            cast(asyncio.Protocol, sock.protocol).data_received(part)
        for _ in range(2):
            await asyncio.sleep(0)
    closed = sock.closed
    assert len(served) <= 1
    cast(asyncio.Protocol, sock.protocol).connection_lost(None)
    assert not entrance.arrivals
    return b"".join(each.received for each in served), sock.written, closed


def check_arrival(data: bytes) -> bool:
    """First bytes of a connection: plain ones are passed on whole, TLS is answered by TLS."""
    passed, answered, closed = _runner.run(_outcome([part for part in pieces(data) if part]))
    if data[:1] != bytes([_HANDSHAKE]):
        assert (passed, answered, closed) == (data, b"", False)
        return bool(data)
    assert passed == b"", "nothing is plain within a handshake that was not completed"
    assert not answered or answered[0] in (_ALERT, _HANDSHAKE)
    return answered[:1] == bytes([_HANDSHAKE])


TARGETS = (
    Target(
        "tls-arrival",
        check_arrival,
        (_client_hello(), b"GET / HTTP/1.1\r\n\r\n"),
        (b"\x16\x03\x01", b"\x15\x03\x03", b"\x14\x03\x03", b"\x00\x00", b"\xff\xff", b"\x02h2"),
        600,
    ),
)
