"""What one WebSocket client may cost: control frames, fragments, unread bytes, connections."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from mimi_mqtt.config import HttpSettings, SharesSettings
from mimi_mqtt.http.accounting import CONNECTION
from mimi_mqtt.http.frame_bounds import MAX_EMPTY_FRAGMENTS, MAX_FRAGMENTS
from mimi_mqtt.http.websocket import BoundedWebSocketProtocol
from mimi_mqtt.shares import KnownAddresses
from tests.integration.http.conftest import Server, Start
from tests.integration.http.raw import (
    BINARY,
    CLOSE,
    CONT,
    PATIENCE_S,
    PING,
    PONG,
    RawHttp,
    frame,
    wait_until_freed,
)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    websocket = WebSocket(scope, receive, send)
    await websocket.accept(subprotocol="mqtt")
    try:
        while True:
            await websocket.send_bytes(await websocket.receive_bytes())
    except WebSocketDisconnect:
        return


@pytest.fixture
async def server(start: Start) -> Server:
    return await start(mqtt_websocket=echo)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[RawHttp]:
    client = await RawHttp.websocket(server.port)
    assert (await client.head()).startswith(b"HTTP/1.1 101")
    yield client
    await client.close()


def protocols(server: Server) -> list[BoundedWebSocketProtocol]:
    assert server.http._server is not None
    connections = server.http._server.server_state.connections
    return [each for each in connections if isinstance(each, BoundedWebSocketProtocol)]


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_a_flood_of_control_frames_ends_the_connection(
    server: Server, client: RawHttp, opcode: int
) -> None:
    client.writer.write(frame(opcode, b"x" * 125) * 20_000)
    answered = await client.rest()
    assert len(answered) < 100 * 127
    assert "WebSocket control frames" in server.ledger.summary()


async def test_pings_that_are_not_read_cost_no_memory(server: Server) -> None:
    clients = [await RawHttp.websocket(server.port, limit=1_024) for _ in range(4)]
    for client in clients:
        assert (await client.head()).startswith(b"HTTP/1.1 101")
    flood = frame(PING, b"x" * 125) * 1_000
    for _ in range(20):
        for client in clients:
            client.writer.write(flood)
            await client.written()
        assert sum(each.transport.get_write_buffer_size() for each in protocols(server)) < 200_000
    for client in clients:
        await client.close()
    assert "WebSocket control frames" in server.ledger.summary()


async def test_ordinary_pings_are_answered(client: RawHttp) -> None:
    client.writer.write(b"".join(frame(PING, b"%d" % number) for number in range(10)))
    async with asyncio.timeout(PATIENCE_S):
        assert await client.reader.readexactly(30) == b"".join(b"\x8a\x01%d" % number for number in range(10))


async def test_a_client_that_does_not_read_keeps_one_pong_at_most(server: Server, client: RawHttp) -> None:
    (protocol,) = protocols(server)
    protocol.pause_writing()
    client.writer.write(frame(PING, b"a") + frame(PING, b"b") + frame(BINARY, b"m"))
    async with asyncio.timeout(PATIENCE_S):
        while not protocol._pong.endswith(b"b"):  # noqa: ASYNC110  # the arrival of bytes has no event
            await asyncio.sleep(0)
    assert protocol.transport.get_write_buffer_size() == 0
    protocol.resume_writing()
    async with asyncio.timeout(PATIENCE_S):
        assert await client.reader.readexactly(3) == b"\x8a\x01b"


async def test_a_client_that_reads_nothing_for_too_long_is_aborted(start: Start) -> None:
    async def talk(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept(subprotocol="mqtt")
        try:
            while True:
                await websocket.send_bytes(b"x" * 4_000)
        except WebSocketDisconnect:
            ended.set()

    ended = asyncio.Event()
    server = await start(mqtt_websocket=talk, write_timeout_s=0.05)
    client = await RawHttp.websocket(server.port, limit=1_024)
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    assert "unread WebSocket messages" in server.ledger.summary()
    await client.close()


async def test_empty_fragments_are_bounded(server: Server, client: RawHttp) -> None:
    client.writer.write(frame(BINARY, b"begin", fin=False) + frame(CONT, fin=False) * 50_000)
    assert await client.rest() == b""
    assert "WebSocket fragments" in server.ledger.summary()


async def test_fragments_of_a_message_are_bounded(server: Server, client: RawHttp) -> None:
    client.writer.write(frame(BINARY, b"x", fin=False) + frame(CONT, b"x", fin=False) * (MAX_FRAGMENTS + 10))
    assert await client.rest() == b""
    assert "WebSocket fragments" in server.ledger.summary()


async def test_a_message_in_fragments_is_whole(client: RawHttp) -> None:
    parts = [b"a"] + [b""] * MAX_EMPTY_FRAGMENTS + [b"b"] * 100
    client.writer.write(frame(BINARY, parts[0], fin=False))
    client.writer.write(b"".join(frame(CONT, part, fin=False) for part in parts[1:]) + frame(CONT, b"c"))
    async with asyncio.timeout(PATIENCE_S):
        assert await client.reader.readexactly(2 + 102) == b"\x82\x66a" + b"b" * 100 + b"c"


async def test_messages_are_read_as_fast_as_they_are_taken(start: Start) -> None:
    release, taken = asyncio.Event(), 0

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal taken
        websocket = WebSocket(scope, receive, send)
        await websocket.accept(subprotocol="mqtt")
        await release.wait()
        try:
            while True:
                await websocket.receive_bytes()
                taken += 1
        except WebSocketDisconnect:
            ended.set()

    ended = asyncio.Event()
    server = await start(mqtt_websocket=slow)
    client = await RawHttp.websocket(server.port)
    await client.head()
    client.writer.write(frame(BINARY) * 3_000 + frame(CLOSE))
    async with asyncio.timeout(PATIENCE_S):
        while not (opened := protocols(server)) or not opened[0]._unread:  # noqa: ASYNC110  # bytes have no event
            await asyncio.sleep(0)
    assert opened[0].queue.qsize() <= 1_024 // 6 + 1
    release.set()
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    assert taken == 3_000  # nothing is lost
    await client.close()


async def test_the_closing_handshake_is_finished_behind_messages_that_the_application_did_not_take(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimi_mqtt.http.websocket.LINGER_S", 1_000.0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept(subprotocol="mqtt")
        await websocket.receive_bytes()
        await websocket.close()

    server = await start(mqtt_websocket=app)
    client = await RawHttp.websocket(server.port)
    assert (await client.head()).startswith(b"HTTP/1.1 101")
    protocols(server)[0].close_timeout = 1_000.0
    client.writer.write(frame(BINARY, b"a") + frame(BINARY, b"b") + frame(CLOSE, b"\x03\xe8"))
    assert await client.rest() == b"\x88\x02\x03\xe8"
    await client.close()


async def test_frames_beyond_an_addresss_rate_wait(
    server: Server, client: RawHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    (protocol,) = protocols(server)
    monkeypatch.setattr(protocol.admission._frames, "burst", 20.0)
    monkeypatch.setattr(protocol.admission._frames, "rate", 1_000.0)
    messages = [b"%03d" % number for number in range(200)]
    client.writer.write(b"".join(frame(BINARY, message) for message in messages))
    async with asyncio.timeout(PATIENCE_S):
        echoed = await client.reader.readexactly(200 * 5)
    assert echoed == b"".join(b"\x82\x03" + message for message in messages)
    assert "WebSocket frames" in server.ledger.summary()


def without_further_frames(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames beyond the first few wait for longer than the test lasts."""
    frames = protocols(server)[0].admission._frames
    monkeypatch.setattr(frames, "burst", 20.0)
    monkeypatch.setattr(frames, "rate", 0.001)


async def test_frames_behind_a_trusted_proxy_are_counted_for_its_client(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = HttpSettings.model_validate({"trusted_proxies": ["127.0.0.5"]})
    server = await start(http=settings, mqtt_websocket=echo)
    clients = [
        await RawHttp.websocket(server.port, "127.0.0.5", f"X-Forwarded-For: 192.0.2.{number}\r\n")
        for number in (1, 2)
    ]
    for client in clients:
        assert (await client.head()).startswith(b"HTTP/1.1 101")
    assert {each.address for each in protocols(server)} == {"192.0.2.1", "192.0.2.2"}
    without_further_frames(server, monkeypatch)
    flooding, other = clients
    flooding.writer.write(frame(BINARY, b"x") * 100)
    async with asyncio.timeout(PATIENCE_S):
        await flooding.reader.readexactly(20 * 3)
    other.writer.write(frame(BINARY, b"!"))
    async with asyncio.timeout(PATIENCE_S):
        assert await other.reader.readexactly(3) == b"\x82\x01!"
    assert "of 192.0.2.1" in server.ledger.summary()
    for client in clients:
        await client.close()


async def test_a_stranger_gets_no_further_frames_by_x_forwarded_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = HttpSettings.model_validate({"trusted_proxies": ["127.0.0.5"]})
    server = await start(http=settings, mqtt_websocket=echo)
    clients = [
        await RawHttp.websocket(server.port, "127.0.0.6", f"X-Forwarded-For: 192.0.2.{number}\r\n")
        for number in (1, 2)
    ]
    for client in clients:
        assert (await client.head()).startswith(b"HTTP/1.1 101")
    assert [each.address for each in protocols(server)] == ["127.0.0.6"] * 2
    without_further_frames(server, monkeypatch)
    for client in clients:
        client.writer.write(frame(BINARY, b"x") * 100)
    async with asyncio.timeout(PATIENCE_S):
        while not all(each._throttle for each in protocols(server)):  # noqa: ASYNC110  # bytes have no event
            await asyncio.sleep(0)
    assert "of 127.0.0.6" in server.ledger.summary()
    for client in clients:
        await client.close()


async def test_when_all_places_are_taken_the_address_with_the_most_makes_room(start: Start) -> None:
    known = KnownAddresses()
    known.add("127.0.0.3")
    shares = SharesSettings(http_connections_per_address=20, websockets_per_address=20)
    server = await start(
        http=HttpSettings(max_connections=8), shares=shares, known=known, mqtt_websocket=echo
    )
    greedy = [await RawHttp.websocket(server.port, "127.0.0.2") for _ in range(2)]
    for client in greedy:
        assert (await client.head()).startswith(b"HTTP/1.1 101")
    other = await RawHttp.websocket(server.port, "127.0.0.4")  # strangers have two of the four places
    assert (await other.head()).startswith(b"HTTP/1.1 101")
    assert await greedy[0].rest() == b""
    devices = [await RawHttp.websocket(server.port, "127.0.0.3") for _ in range(2)]
    for client in devices:
        assert (await client.head()).startswith(b"HTTP/1.1 101")
    other.writer.write(frame(BINARY, b"!"))
    async with asyncio.timeout(PATIENCE_S):
        assert await other.reader.readexactly(3) == b"\x82\x01!"
    for client in [*greedy, other, *devices]:
        await client.close()


async def test_a_connection_that_ends_before_its_handshake_is_no_mistake_of_the_application(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, each made an error line: `ASGI callable returned without completing handshake`."""
    ended = asyncio.Event()

    async def accept_too_late(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        scope["state"][CONNECTION].evict()
        try:
            await send({"type": "websocket.accept", "subprotocol": "mqtt"})
        finally:
            ended.set()

    server = await start(mqtt_websocket=accept_too_late)
    client = await RawHttp.websocket(server.port)
    assert await client.rest() == b""
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    await server.http.aclose()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    await client.close()


async def test_a_websocket_that_ended_is_freed_without_the_garbage_collector(
    server: Server, client: RawHttp
) -> None:
    client.writer.write(frame(BINARY, b"hello"))
    await client.reader.readexactly(7)
    await wait_until_freed(client, protocols(server))
