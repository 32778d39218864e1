"""A connection whose messages go to a sink, without a task of the application: in order, to their end, also
over TLS."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.http import websocket
from mimi_mqtt.http.direct import DIRECT
from mimi_mqtt.http.protocol import BoundedHttpProtocol
from mimi_mqtt.http.websocket import BoundedWebSocketProtocol
from tests.integration.http.conftest import Server, Start
from tests.integration.http.raw import BINARY, CLOSE, CONT, PATIENCE_S, PING, PONG, TEXT, RawHttp, frame
from tests.servers.tls import authority


class Recorder:
    """Keeps what comes, and sends binary messages back."""

    def __init__(self, connection: BoundedWebSocketProtocol) -> None:
        self.connection = connection
        self.heard: list[bytes | str] = []
        self.ended = asyncio.Event()

    def text_received(self, payload: bytes) -> None:
        if payload == b"fail":
            raise RuntimeError("a fault of the sink")
        self.heard.append(payload.decode())

    def binary_received(self, payload: bytes) -> None:
        self.heard.append(payload)
        self.connection.send_now(payload, text=False)

    def pong_received(self) -> None:
        self.heard.append("pong")

    def connection_ended(self) -> None:
        self.ended.set()


@dataclass
class Direct:
    server: Server
    sinks: list[Recorder]
    release: asyncio.Event
    """The application accepts once it is set."""

    @property
    def state(self) -> ServerState:
        assert self.server.http._server is not None
        return self.server.http._server.server_state


@pytest.fixture
async def direct(start: Start) -> Direct:
    sinks: list[Recorder] = []
    release = asyncio.Event()
    release.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await release.wait()
        await send({"type": "websocket.accept", "subprotocol": "mqtt"})
        connection: BoundedWebSocketProtocol = scope["extensions"][DIRECT]
        sinks.append(Recorder(connection))
        connection.deliver_to(sinks[-1])

    folder = authority().parent
    files = {"tls_certificate": folder / "server.crt", "tls_key": folder / "server.key"}
    server = await start(http=HttpSettings.model_validate(files), mqtt_websocket=app)
    return Direct(server, sinks, release)


@pytest.fixture(params=["ws", "wss"])
async def client(direct: Direct, request: pytest.FixtureRequest) -> AsyncIterator[RawHttp]:
    client = await opened(direct.server, tls=request.param == "wss")
    await upgraded(client)
    yield client
    await client.close()


async def opened(server: Server, *, tls: bool) -> RawHttp:
    if not tls:
        return await RawHttp.open(server.port)
    trust = ssl.create_default_context(cafile=authority())
    return RawHttp(
        *await asyncio.open_connection("127.0.0.1", server.port, ssl=trust, server_hostname="localhost")
    )


async def upgraded(client: RawHttp, more: bytes = b"") -> None:
    client.writer.write(
        b"GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: mqtt\r\n\r\n" + more
    )
    assert (await client.head()).startswith(b"HTTP/1.1 101")


async def sent_back(client: RawHttp, size: int) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return await client.reader.readexactly(size)


async def test_messages_of_all_kinds_come_in_order(direct: Direct, client: RawHttp) -> None:
    client.writer.write(
        frame(BINARY, b"a") + frame(TEXT, b"b") + frame(BINARY, b"c" * 200) + frame(PING, b"?")
        + frame(BINARY, b"d", fin=False) + frame(CONT, b"e") + frame(BINARY) + frame(BINARY, b"f" * 4_000)
    )  # fmt: skip
    expected = b"\x82\x01a" + b"\x82\x7e\x00\xc8" + b"c" * 200 + b"\x8a\x01?" + b"\x82\x02de" + b"\x82\x00"
    expected += b"\x82\x7e\x0f\xa0" + b"f" * 4_000
    assert await sent_back(client, len(expected)) == expected
    assert direct.sinks[0].heard == [b"a", "b", b"c" * 200, b"de", b"", b"f" * 4_000]


async def test_a_frame_may_come_byte_by_byte(direct: Direct, client: RawHttp) -> None:
    for byte in frame(BINARY, b"x" * 130) + frame(TEXT, b"!") + frame(BINARY, b"y"):
        client.writer.write(bytes((byte,)))
        await asyncio.sleep(0)
    assert await sent_back(client, 134 + 3) == b"\x82\x7e\x00\x82" + b"x" * 130 + b"\x82\x01y"
    assert direct.sinks[0].heard == [b"x" * 130, "!", b"y"]


async def test_neither_a_task_nor_the_request_is_kept(direct: Direct, client: RawHttp) -> None:
    client.writer.write(frame(BINARY, b"a"))
    await sent_back(client, 3)
    gc.collect()
    assert not direct.state.tasks
    held = [each for each in gc.get_objects() if isinstance(each, BoundedHttpProtocol)]
    assert [each for each in held if each.transport is direct.sinks[0].connection.transport] == []
    assert not hasattr(direct.sinks[0].connection, "scope")


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (frame(CLOSE, b"\x03\xe8"), 1000),
        (b"\x82\x01a", 1002),  # no mask
        (frame(CONT, b"x"), 1002),
        (b"\xc2" + frame(BINARY, b"x")[1:], 1002),  # a reserved bit: compression was not agreed on
        (frame(BINARY, b"x" * 5_000), 1009),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),  # a reason that is not UTF-8
        (frame(PING, b"x" * 126), 1002),
    ],
    ids=["close", "unmasked", "continuation", "reserved", "large", "reason", "ping"],
)
async def test_the_sink_is_told_the_end_and_the_client_why(
    direct: Direct, client: RawHttp, last: bytes, code: int
) -> None:
    client.writer.write(frame(BINARY, b"a") + last + frame(BINARY, b"never"))
    assert await sent_back(client, 3) == b"\x82\x01a"
    rest = await client.rest()
    assert (rest[0], int.from_bytes(rest[2:4])) == (0x88, code)
    async with asyncio.timeout(PATIENCE_S):
        await direct.sinks[0].ended.wait()
    assert direct.sinks[0].heard == [b"a"]


async def test_a_lost_connection_frees_its_places(direct: Direct, client: RawHttp) -> None:
    (sink,) = direct.sinks
    admission = sink.connection.admission
    assert (len(admission._connections), len(admission._websockets)) == (1, 1)
    client.writer.transport.abort()
    async with asyncio.timeout(PATIENCE_S):
        await sink.ended.wait()
    assert (len(admission._connections), len(admission._websockets)) == (0, 0)


async def test_a_fault_of_the_sink_ends_its_connection(direct: Direct, client: RawHttp) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    client.writer.write(frame(TEXT, b"fail"))
    await client.rest()
    async with asyncio.timeout(PATIENCE_S):
        await direct.sinks[0].ended.wait()


async def test_a_fault_of_the_sink_ends_its_connection_also_while_frames_wait(
    direct: Direct, client: RawHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    frames = direct.sinks[0].connection.admission._frames
    monkeypatch.setattr(frames, "burst", 10.0)
    monkeypatch.setattr(frames, "rate", 100.0)
    client.writer.write(frame(BINARY, b"a") * 20 + frame(TEXT, b"fail") + frame(BINARY, b"b"))
    await client.rest()
    async with asyncio.timeout(PATIENCE_S):
        await direct.sinks[0].ended.wait()
    assert direct.sinks[0].heard == [b"a"] * 20


async def test_the_sink_is_told_that_the_server_stops(direct: Direct, client: RawHttp) -> None:
    await direct.server.http.aclose()
    async with asyncio.timeout(PATIENCE_S):
        await direct.sinks[0].ended.wait()
    rest = await client.rest()
    assert (rest[0], int.from_bytes(rest[2:4])) == (0x88, 1012)


async def test_what_came_before_the_application_accepted_comes_first(direct: Direct) -> None:
    direct.release.clear()
    client = await RawHttp.open(direct.server.port)
    accepted = asyncio.create_task(upgraded(client))
    async with asyncio.timeout(PATIENCE_S):
        while not direct.state.tasks:  # noqa: ASYNC110  # the arrival of the request has no event
            await asyncio.sleep(0)
    client.writer.write(frame(BINARY, b"a") + frame(TEXT, b"b") + frame(BINARY, b"c"))
    (connection,) = (each for each in direct.state.connections if isinstance(each, BoundedWebSocketProtocol))
    async with asyncio.timeout(PATIENCE_S):
        while not connection.read_paused:  # noqa: ASYNC110  # bytes have no event
            await asyncio.sleep(0)
    direct.release.set()
    await accepted
    client.writer.write(frame(BINARY, b"d"))
    assert await sent_back(client, 9) == b"\x82\x01a\x82\x01c\x82\x01d"
    assert direct.sinks[0].heard == [b"a", "b", b"c", b"d"]
    await client.close()


async def test_a_client_that_answers_no_ping_is_cut_off(
    direct: Direct, client: RawHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sink,) = direct.sinks
    monkeypatch.setattr(sink.connection, "ping_timeout", 0.0)
    sink.connection.send_keepalive_ping()
    async with asyncio.timeout(PATIENCE_S):
        await sink.ended.wait()
    assert "unanswered WebSocket pings" in direct.server.ledger.summary()


async def test_a_client_may_answer_the_last_of_two_pings_alone(direct: Direct, client: RawHttp) -> None:
    (sink,) = direct.sinks
    connection = sink.connection
    connection.send_keepalive_ping()
    connection.ping_now()
    client.writer.write(frame(PONG, (await sent_back(client, 6 + 7))[-5:]) + frame(BINARY, b"a"))
    await sent_back(client, 3)
    assert connection.pending_ping_payload is None, "the client is alive"
    connection.ping_now()
    connection.send_keepalive_ping()
    client.writer.write(frame(PONG, (await sent_back(client, 7 + 6))[-4:]) + frame(BINARY, b"b"))
    await sent_back(client, 3)
    assert connection.pending_ping_payload is None
    assert sink.heard == ["pong", b"a", "pong", b"b"]


async def test_the_pong_of_a_ping_before_measures_nothing(direct: Direct, client: RawHttp) -> None:
    (sink,) = direct.sinks
    sink.connection.send_keepalive_ping()
    sink.connection.ping_now()
    first = (await sent_back(client, 6 + 7))[2:6]
    client.writer.write(
        frame(PONG, first) + frame(BINARY, b"a") + frame(PONG, b"probe") + frame(BINARY, b"b")
    )
    await sent_back(client, 6)
    assert sink.heard == [b"a", "pong", b"b"]


async def test_a_client_that_neither_reads_nor_sends_any_more_is_gone_in_time(
    direct: Direct, client: RawHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "LINGER_S", 0.05)
    (sink,) = direct.sinks
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # all of asyncio's own have it
    while not sink.connection.unsent:
        sink.connection.send_now(bytes(30_000), text=False)
        await asyncio.sleep(0)
    if (tls := client.writer.get_extra_info("ssl_object")) is None:
        client.writer.write_eof()
    else:  # close_notify alone
        with suppress(ssl.SSLError):  # there is still something to read
            tls.unwrap()
        client.writer.transport._ssl_protocol._process_outgoing()  # type: ignore[attr-defined]
    async with asyncio.timeout(PATIENCE_S):
        await sink.ended.wait()
    assert len(sink.connection.admission._connections) == 0
