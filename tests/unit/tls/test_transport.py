"""Handshakes of TLS: a crowd of them neither stops the loop nor keeps another address waiting."""

import asyncio
import ssl
from typing import Any

from mimi_mqtt.background import Background
from mimi_mqtt.tls.transport import MAX_EXCESS_BYTES, MAX_HANDSHAKE_BYTES, TlsTransport, tls_factory
from mimi_mqtt.transports.mqtt.counters import Counters
from tests.servers.tls import authority, server_context

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
        self.written = b""

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


class Milliseconds:
    """A clock that goes on by a millisecond whenever it is read."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


async def crowd(*clients: str) -> tuple[Handshakes, list[Any], list[Socket]]:
    context = Handshakes(ssl.PROTOCOL_TLS_SERVER)
    make = tls_factory(lambda: context, asyncio.Protocol, Background(Counters(lambda: 0.0), Milliseconds()))
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


async def test_a_handshake_that_never_ends_is_cut_off_at_its_bound() -> None:
    context, protocols, sockets = await crowd("192.0.2.1")
    sent = len(CLIENT_HELLO)
    while not sockets[0].closed:
        await asyncio.sleep(0)
        protocols[0].data_received(bytes(1_000))
        sent += 1_000
        assert sent < MAX_HANDSHAKE_BYTES + 2_000
    assert context.done <= 17


class Client:
    """A client of TLS whose handshake with a `TlsTransport` is complete."""

    def __init__(self, tls: TlsTransport, sock: Socket) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=authority())
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._server, self._socket = tls, sock

    async def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.pass_on()
            else:
                break
        await self.pass_on()

    async def pass_on(self) -> None:
        if self._outgoing.pending:
            self._server.data_received(self._outgoing.read())
        await asyncio.sleep(0)
        self._incoming.write(self._socket.written)
        self._socket.written = b""

    def encrypted(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self._outgoing.read()


class Above(asyncio.Protocol):
    """The protocol above; pauses after each piece if `slow`."""

    def __init__(self) -> None:
        self.received = b""
        self.slow = False
        self.lost = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.slow:
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def connected() -> tuple[TlsTransport, Socket, Above, Client]:
    above, sock = Above(), Socket("192.0.2.1")
    tls = TlsTransport(server_context(), above, Background(Counters(lambda: 0.0)))
    tls.connection_made(sock)
    client = Client(tls, sock)
    await client.shake_hands()
    assert tls.secure
    return tls, sock, above, client


async def test_data_of_many_records_arrives_whole_however_it_is_cut() -> None:
    tls, _, above, client = await connected()
    sent = bytes(range(256)) * 1_000
    stream = client.encrypted(sent)
    for at in range(0, len(stream), 7_777):
        tls.data_received(stream[at : at + 7_777])
    assert above.received == sent
    for byte in b"slow":
        tls.data_received(client.encrypted(bytes([byte])))
    assert above.received == sent + b"slow"


async def test_what_a_paused_protocol_has_not_taken_waits_for_it() -> None:
    tls, sock, above, client = await connected()
    above.slow = True
    tls.data_received(b"".join(client.encrypted(b"%05d" % number) for number in range(2_000)))
    assert above.received == b"00000"
    assert not sock.reads
    for _ in range(1_999):
        tls.resume_reading()
        await asyncio.sleep(0)
    assert above.received == b"".join(b"%05d" % number for number in range(2_000))


async def test_records_without_data_are_bounded() -> None:
    """Key updates take the server as long as much data does; 2,400 are the most that come free."""
    tls, sock, above, client = await connected()
    for _ in range(1_000):
        tls.data_received(client.encrypted(b"x"))
    closed = [sock.is_closing()]
    tls._excess = MAX_EXCESS_BYTES - 1_000
    tls.data_received(client.encrypted(bytes(16_384))[:8_192])
    closed.append(sock.is_closing())
    assert closed == [False, True]
    assert above.received == b"x" * 1_000


async def test_the_transport_is_seen_as_tls_and_keeps_nothing_when_it_is_lost() -> None:
    tls, _, above, _ = await connected()
    assert isinstance(tls.get_extra_info("sslcontext"), ssl.SSLContext)
    assert tls.get_extra_info("peername") == ("192.0.2.1", 50_000)
    tls.connection_lost(None)
    assert above.lost
    assert tls.get_protocol() is not above
