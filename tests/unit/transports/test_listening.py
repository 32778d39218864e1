"""Opening sockets: free ports, taken ports, and who has them."""

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from mimi_mqtt.config import BindAddress
from mimi_mqtt.errors import StartupError
from mimi_mqtt.transports.listening import open_tcp, open_udp

Opener = Callable[..., socket.socket]
KINDS = pytest.mark.parametrize(
    ("opener", "kind"), [(open_tcp, socket.SOCK_STREAM), (open_udp, socket.SOCK_DGRAM)], ids=["tcp", "udp"]
)


@pytest.fixture
def taken(kind: socket.SocketKind) -> Iterator[int]:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        yield sock.getsockname()[1]


@KINDS
def test_any_free_port(opener: Opener, kind: socket.SocketKind) -> None:
    with opener(BindAddress("127.0.0.1", 0), "x.bind") as sock:
        assert sock.getsockname()[1] > 0
        assert sock.type == kind
        assert not sock.getblocking()


@KINDS
def test_taken_default_port_moves_to_a_later_one(opener: Opener, kind: socket.SocketKind, taken: int) -> None:
    with opener(BindAddress("127.0.0.1", taken), "x.bind", movable=True) as sock:
        assert taken < sock.getsockname()[1] <= taken + 20


@KINDS
def test_taken_configured_port_names_its_owner_and_the_key(
    opener: Opener, kind: socket.SocketKind, taken: int
) -> None:
    with pytest.raises(StartupError) as caught:
        opener(BindAddress("127.0.0.1", taken), "x.bind")
    assert f"port {taken} is taken by pid {os.getpid()} (" in str(caught.value)
    assert "set x.bind in broker.yaml" in str(caught.value)


@pytest.mark.parametrize("host", ["not a host", "203.0.113.77"])
def test_address_of_another_machine_is_explained(host: str) -> None:
    with pytest.raises(StartupError, match=r"x\.bind: .* is not an address of this machine"):
        open_tcp(BindAddress(host, 0), "x.bind")


def test_ipv6() -> None:
    with open_tcp(BindAddress("::1", 0), "x.bind") as sock:
        assert sock.family == socket.AF_INET6
