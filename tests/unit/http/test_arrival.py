"""Connections before their first byte of HTTP, where plain HTTP is for this machine and proxies alone."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from mimi_mqtt.config import HttpSettings, SharesSettings
from mimi_mqtt.http.admission import Admission
from mimi_mqtt.http.arrival import Arrival, Entrance
from mimi_mqtt.http.protocol import BoundedHttpProtocol
from mimi_mqtt.shares import KnownAddresses, Ledger
from mimi_mqtt.tls.certificate import ServerCertificate
from tests.servers.tls import write_certificates


class Socket(asyncio.Transport):
    """A socket from `client`, at the server's address 192.0.2.1."""

    def __init__(self, client: str) -> None:
        super().__init__({"peername": (client, 50_000), "sockname": ("192.0.2.1", 8003)})
        self.written = b""
        self.protocol: asyncio.BaseProtocol | None = None
        self.closed = self.aborted = False
        self.reads = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reads = False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True


class Served(asyncio.Protocol):
    """The protocol that serves a connection."""

    def __init__(self) -> None:
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data


@pytest.fixture
def entrance(tmp_path: Path) -> Entrance:
    write_certificates(tmp_path)
    certificate = ServerCertificate("http", tmp_path / "server.crt", tmp_path / "server.key")
    settings = HttpSettings.model_validate({"trusted_proxies": ["192.0.2.7"], "max_connections": 2})
    shares = SharesSettings(device_reserve_percent=0)
    return Entrance(certificate, Admission(settings, shares, Ledger(), KnownAddresses()), plain=False)


def arrive(entrance: Entrance, client: str) -> tuple[Socket, Arrival, Served]:
    served: Any = Served()
    sock, arrival = Socket(client), Arrival(entrance, lambda: cast(BoundedHttpProtocol, served))
    arrival.connection_made(sock)
    return sock, arrival, served


@pytest.mark.parametrize(
    ("client", "allowed"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", False),
    ],
)
async def test_plain_http_is_served_to_this_machine_and_to_proxies(
    entrance: Entrance, client: str, allowed: bool
) -> None:
    sock, arrival, served = arrive(entrance, client)
    arrival.data_received(b"GET / HTTP/1.1\r\n")
    assert (served.received == b"GET / HTTP/1.1\r\n") is allowed
    assert (sock.protocol is served) is allowed
    assert sock.closed is not allowed
    if not allowed:
        head, _, body = sock.written.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 426 ")
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"https://" in body


async def test_tls_is_told_by_the_first_byte(entrance: Entrance) -> None:
    sock, arrival, served = arrive(entrance, "192.0.2.8")
    arrival.data_received(b"\x16\x03\x01")
    assert sock.protocol not in (None, arrival, served)
    assert (sock.closed, sock.reads) == (False, False)


async def test_the_place_of_a_connection_is_kept_for_what_serves_it_and_is_free_at_its_end(
    entrance: Entrance,
) -> None:
    first, arrival, _ = arrive(entrance, "127.0.0.1")
    assert entrance.arrivals == {arrival}
    arrival.data_received(b"GET")
    assert entrance.arrivals == set()
    second, waiting, _ = arrive(entrance, "127.0.0.1")
    assert (first.closed, second.closed) == (False, False)
    waiting.connection_lost(None)
    assert entrance.arrivals == set()
    third, _, _ = arrive(entrance, "127.0.0.1")
    assert (first.closed, third.closed) == (False, False)
    entrance.close()
    assert third.aborted
    assert not first.aborted
