"""MQTT over WebSocket, served by the HTTP server on the test's loop: the same gate, other frames."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.wire.mqtt import DISCONNECT, PINGREQ, PINGRESP, encode_connect, encode_publish
from tests.integration.http.raw import BINARY, PING, RawHttp, frame
from tests.integration.mqtt.conftest import DEVICE, UP, Running, listening_socket
from tests.integration.mqtt.raw import PATIENCE_S
from tests.integration.mqtt.test_real_clients import PahoClient

CONNECT = encode_connect(DEVICE, username=DEVICE, password=b"right")
CONNACK = b"\x20\x02\x00\x00"


@dataclass
class Web:
    mqtt: Running
    port: int

    def connect(self, subprotocol: str = "mqtt") -> connect:
        return connect(
            f"ws://127.0.0.1:{self.port}/mqtt", subprotocols=[Subprotocol(subprotocol)], close_timeout=1
        )


@pytest.fixture
async def web(mqtt: Running) -> AsyncIterator[Web]:
    app = Starlette(routes=[WebSocketRoute("/mqtt", mqtt.server.websocket_app)])
    sock = listening_socket()
    server = HttpServer(app, HttpSettings())
    await server.start(sock)
    yield Web(mqtt, server.port)
    await mqtt.server.aclose()
    await server.aclose()


async def _closed(connection: ClientConnection) -> int:
    """The close code."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                await connection.recv()
        except ConnectionClosed:
            return connection.close_code or 0


async def test_device_over_websocket(web: Web) -> None:
    async with web.connect() as device:
        assert device.subprotocol == "mqtt"
        await device.send(CONNECT)
        assert await device.recv() == CONNACK
        channel = web.mqtt.sink.channels[DEVICE]
        assert (channel.transport, channel.local_host) == ("mqtt", "127.0.0.1")
        assert channel.peer_host == "127.0.0.1"
        channel.send(b"{}")
        assert b"down" in bytes(await device.recv(decode=False))
        await device.send(DISCONNECT)
        assert await _closed(device) == 1000
    assert web.mqtt.sink.events == [("opened", DEVICE), ("closed", DEVICE)]


async def test_packets_may_span_and_share_frames(web: Web) -> None:
    async with web.connect() as device:
        stream = CONNECT + encode_publish(UP, b"one") + encode_publish(UP, b"two") + PINGREQ
        for part in (stream[:3], stream[3:40], stream[40:]):
            await device.send(part)
        received = b""
        while len(received) < 6:
            received += await device.recv(decode=False)
        assert received == CONNACK + PINGRESP
        assert [payload for _, payload in web.mqtt.sink.messages] == [b"one", b"two"]


async def test_text_frame_closes(web: Web) -> None:
    async with web.connect() as client:
        await client.send("CONNECT please")
        assert await _closed(client) == 1003
    await web.mqtt.until(lambda: web.mqtt.server.connections["sockets"] == 0)


async def test_other_subprotocol_is_refused(web: Web) -> None:
    with pytest.raises(InvalidStatus):
        await web.connect("chat").__aenter__()
    assert web.mqtt.server.connections["sockets"] == 0


async def test_wrong_password_and_junk_are_refused_as_on_tcp(web: Web) -> None:
    async with web.connect() as client:
        await client.send(encode_connect(DEVICE, username=DEVICE, password=b"wrong"))
        assert await client.recv() == b"\x20\x02\x00\x04"
        await _closed(client)
    async with web.connect() as client:
        await client.send(b"\x10\xff\xff\xff\x7f")
        await _closed(client)
    await web.mqtt.until(lambda: web.mqtt.server.connections["sockets"] == 0)


async def test_silent_websocket_is_dropped_in_time(web: Web) -> None:
    async with web.connect() as client:
        await web.mqtt.until(lambda: web.mqtt.server.counters.pending == 1)
        web.mqtt.pass_time(6)
        await _closed(client)


async def test_client_that_vanishes_is_noticed(web: Web) -> None:
    async with web.connect() as client:
        await client.send(CONNECT)
        await client.recv()
        client.transport.abort()
        await web.mqtt.sink.wait_for(lambda: len(web.mqtt.sink.events) == 2)


async def test_websocket_that_does_not_read_is_cut_off(web: Web) -> None:
    async with web.connect() as client:
        await client.send(CONNECT)
        await client.recv()
        client.transport.pause_reading()
        channel = web.mqtt.sink.channels[DEVICE]
        sent = 0
        while web.mqtt.sink.channels:
            channel.send(b"x" * 8000)
            sent += 1
            await asyncio.sleep(0)
            assert sent < 10_000
        assert web.mqtt.server.counters.limits["slow_reader"] == 1
        client.transport.abort()


async def test_a_device_with_its_password_that_floods_with_pings_is_cut_off_too(web: Web) -> None:
    device = await RawHttp.websocket(web.port)
    assert (await device.head()).startswith(b"HTTP/1.1 101")
    device.writer.write(frame(BINARY, CONNECT))
    await web.mqtt.sink.wait_for(lambda: DEVICE in web.mqtt.sink.channels)
    device.writer.write(frame(PING, b"x" * 125) * 10_000)
    await device.rest()
    await web.mqtt.sink.wait_for(lambda: not web.mqtt.sink.channels)
    await device.close()


async def test_paho_over_websockets(web: Web) -> None:
    client = PahoClient(client_id="paho", transport="websockets")
    await client.use(web.port, ("ws/#", 2))
    for qos in (0, 1, 2):
        client.client.publish(f"ws/{qos}", b"%d" % qos, qos)
        assert await client.next() == (f"ws/{qos}", b"%d" % qos, qos, False)
    await client.stop()
