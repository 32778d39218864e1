"""Handshakes of TLS: a crowd of them neither stops the loop nor keeps another address waiting."""

import asyncio
import ssl
from typing import Any

from mimi_mqtt.transports.mqtt.background import Background
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.tls import tls_factory

CLIENT_HELLO = b"a message of the handshake"


class Handshakes(ssl.SSLContext):
    """A context whose connections note their handshakes, which need another message each time."""

    done = 0

    def wrap_bio(self, *_: object, **__: object) -> "Handshakes":  # type: ignore[override]
        return self

    def do_handshake(self) -> None:
        self.done += 1
        raise ssl.SSLWantReadError


class Socket(asyncio.Transport):
    """The socket of a client at `address`."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 50_000)})
        self.reads = True
        self.closed = False

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closed


class Milliseconds:
    """A clock that goes on by a millisecond whenever it is read."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


async def crowd(*clients: str) -> tuple[Handshakes, list[Any], list[Socket]]:
    context = Handshakes(ssl.PROTOCOL_TLS_SERVER)
    make = tls_factory(context, asyncio.Protocol, Background(Counters(lambda: 0.0), Milliseconds()))
    protocols, sockets = [make() for _ in clients], [Socket(address) for address in clients]
    for protocol, sock in zip(protocols, sockets, strict=True):
        protocol.connection_made(sock)
        protocol.data_received(CLIENT_HELLO)
    return context, protocols, sockets


async def test_handshakes_that_come_at_once_are_spread_over_turns_of_the_loop() -> None:
    """Before, 300 of them held everybody else up for 140 ms."""
    context, _, sockets = await crowd(*["192.0.2.1"] * 50)
    assert context.done == 0
    assert not any(sock.reads for sock in sockets), "what waits for its turn does not grow"
    for _ in range(3):
        before = context.done
        await asyncio.sleep(0)
        assert 1 <= context.done - before <= 2
    for _ in range(50):
        await asyncio.sleep(0)
    assert context.done == 50
    assert all(sock.reads for sock in sockets)


async def test_another_address_does_not_wait_for_a_crowd() -> None:
    _, _, sockets = await crowd(*["192.0.2.1"] * 50, "192.0.2.2")
    await asyncio.sleep(0)
    assert sockets[-1].reads, "its turn was in the first turn of the loop"


async def test_handshake_of_a_connection_that_has_gone_is_not_done() -> None:
    context, _, sockets = await crowd("192.0.2.1")
    sockets[0].closed = True
    await asyncio.sleep(0)
    assert context.done == 0
