"""Small messages to a device that delays its acknowledgements, as lwIP may by 250 ms."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from mimi_mqtt.config import BindAddress, HttpSettings
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.transports.listening import open_tcp
from mimi_mqtt.wire.mqtt import PacketType, encode_connect
from tests.integration.mqtt.conftest import DEVICE, Running, StartServer
from tests.integration.mqtt.raw import PATIENCE_S, RawClient

_NOT_SENT_OFFSET = 144  # tcpi_notsent_bytes in struct tcp_info, linux/tcp.h


def accepted_socket(client: tuple[str, int]) -> socket.socket:
    """A duplicate of this process's socket at the other end of `client`'s connection."""
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            sock = socket.socket(fileno=os.dup(int(descriptor.name)))
        except OSError:
            continue
        try:
            if sock.family == socket.AF_INET and sock.getpeername() == client:
                return sock
        except OSError:
            pass
        sock.close()
    raise AssertionError(f"no socket of this process is connected to {client}")


def no_delay(client: tuple[str, int]) -> bool:
    with accepted_socket(client) as sock:
        return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


@pytest.fixture
async def http_port(mqtt: Running) -> AsyncIterator[int]:
    app = Starlette(routes=[WebSocketRoute("/mqtt", mqtt.server.websocket_app)])
    server = HttpServer(app, HttpSettings())
    await server.start(open_tcp(BindAddress("127.0.0.1", 0), "http.bind"))
    yield server.port
    await mqtt.server.aclose()
    await server.aclose()


@pytest.mark.parametrize("over_tls", [False, True], ids=["tcp", "tls"])
async def test_mqtt_connections_have_no_nagle(
    start_server: StartServer, certificates: Path, over_tls: bool
) -> None:
    mqtt = await start_server(
        tls_certificate=certificates / "server.crt", tls_key=certificates / "server.key"
    )
    client = await RawClient.open(mqtt.tls_port if over_tls else mqtt.port, tls=over_tls)
    mqtt.clients.append(client)
    assert await client.connack(DEVICE, DEVICE, "right") == 0
    assert no_delay(client.writer.get_extra_info("sockname"))


async def test_http_connections_have_no_nagle(http_port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", http_port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.readline() == b"HTTP/1.1 404 Not Found\r\n"
    assert no_delay(writer.get_extra_info("sockname"))
    writer.close()


async def test_mqtt_over_websocket_has_no_nagle(http_port: int) -> None:
    url = f"ws://127.0.0.1:{http_port}/mqtt"
    async with connect(url, subprotocols=[Subprotocol("mqtt")], close_timeout=1) as client:
        await client.send(encode_connect(DEVICE, username=DEVICE, password=b"right"))
        assert await client.recv() == b"\x20\x02\x00\x00"
        assert no_delay(client.local_address)


async def test_messages_do_not_wait_for_the_acknowledgement_of_the_last_one(mqtt: Running) -> None:
    """`stt`, `llm` and `tts start` come one after the other; the last must not lag behind the audio."""
    device = await mqtt.device()
    channel = mqtt.sink.channels[DEVICE]
    client = device.writer.get_extra_info("socket")
    with accepted_socket(client.getsockname()) as accepted:
        for _ in range(10):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            await device.round_trip()
            for message in (b'{"type":"stt"}', b'{"type":"llm"}', b'{"type":"tts"}'):
                channel.send(message)
                await mqtt.turn_of_the_loop()
                info = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                assert struct.unpack_from("=I", info, _NOT_SENT_OFFSET) == (0,)
            for _ in range(3):
                await device.expect(PacketType.PUBLISH)
