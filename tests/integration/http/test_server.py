import asyncio
import re
import socket
import struct
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from mimi_mqtt.config import HttpSettings, SharesSettings
from mimi_mqtt.http import limits
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.http.protocol import BoundedHttpProtocol
from mimi_mqtt.http.server import HttpServer
from tests.integration.http.conftest import Server, Start

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """What MQTT over WebSocket needs of the server: the subprotocol, and messages both ways."""
    websocket = WebSocket(scope, receive, send)
    await websocket.accept(subprotocol="mqtt")
    try:
        while True:
            await websocket.send_bytes(await websocket.receive_bytes())
    except WebSocketDisconnect:
        return


async def ended(reader: asyncio.StreamReader) -> bool:
    """Waits for the server to end the connection, in whatever way; whether nothing more came before."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("path", ["/", "/xiaozhi/ota/", "/ota"])
async def test_a_browser_gets_a_page_with_the_ota_address(server: Server, path: str) -> None:
    reply = await server.client.get(path, headers=BROWSER)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert f"http://127.0.0.1:{server.port}/xiaozhi/ota/" in reply.text
    assert "1883" in reply.text
    assert "8884" in reply.text
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.search(r"<(script|img|link|iframe)|https?://(?!127)", reply.text)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("voice.lan", "http://voice.lan/xiaozhi/ota/"),
        ("voice.lan:80", "http://voice.lan/xiaozhi/ota/"),
        ("voice.lan:8443", "http://voice.lan:8443/xiaozhi/ota/"),
        ("[::1]:9999", "http://127.0.0.1:{port}/xiaozhi/ota/"),
    ],
)
async def test_the_page_shows_the_address_that_was_used(server: Server, host: str, shown: str) -> None:
    page = (await server.client.get("/", headers=BROWSER | {"Host": host})).text
    assert f"<code>{shown.format(port=server.port)}</code>" in page


async def test_the_page_escapes_what_it_is_given(server: Server) -> None:
    server.health["<script>alert(1)</script>"] = PartHealth(False, '"><img src=x>')
    page = (await server.client.get("/", headers=BROWSER)).text
    assert "<script>" not in page
    assert "<img" not in page


async def test_health_says_which_part_is_down(server: Server) -> None:
    reply = await server.client.get("/healthz")
    assert reply.status_code == 200
    assert reply.json() == {"status": "ok", "parts": {"store": {"ok": True, "detail": "SQLite"}}}
    server.health["udp"] = PartHealth(False, "the socket is gone")
    reply = await server.client.get("/healthz")
    assert reply.status_code == 503
    assert reply.json()["status"] == "down"
    assert reply.json()["parts"]["udp"] == {"ok": False, "detail": "the socket is gone"}


async def test_metrics_are_what_prometheus_reads(server: Server) -> None:
    await server.client.post("/ota/", headers={"Device-Id": "aa:bb:cc:00:11:22"})
    reply = await server.client.get("/metrics")
    names = {family.name for family in text_string_to_metric_families(reply.text)}
    assert {"mimi_ota_answers", "mimi_http_refused", "mimi_fleet_devices"} <= names


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PUT", "/ota/", 405),
        ("GET", "/ota/activate", 405),
        ("POST", "/healthz", 405),
    ],
)
async def test_errors_are_json_with_security_headers(
    server: Server, method: str, path: str, status: int
) -> None:
    reply = await server.client.request(method, path)
    assert reply.status_code == status
    assert reply.json()["error"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "server" not in reply.headers
    assert "date" in reply.headers


async def test_a_silent_connection_is_ended(start: Start) -> None:
    server = await start(header_timeout_s=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert await ended(reader)
    writer.close()


async def test_a_head_that_never_ends_is_ended(start: Start) -> None:
    server = await start(header_timeout_s=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"}}}")).startswith(b"HTTP/1.1 200")
    writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
    assert await ended(reader)
    writer.close()


async def test_a_head_beyond_the_bound_is_refused(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 20_000)
    assert await reader.readline() == b"HTTP/1.1 400 Bad Request\r\n"
    writer.close()


async def test_mqtt_over_websocket_reaches_its_application(start: Start) -> None:
    server = await start(mqtt_websocket=echo)
    async with connect(f"ws://127.0.0.1:{server.port}/mqtt", subprotocols=[Subprotocol("mqtt")]) as websocket:
        assert websocket.subprotocol == "mqtt"
        await websocket.send(b"\xc0\x00")
        assert await websocket.recv() == b"\xc0\x00"


async def test_a_websocket_message_beyond_the_bound_ends_the_connection(start: Start) -> None:
    server = await start(mqtt_websocket=echo)
    async with connect(f"ws://127.0.0.1:{server.port}/mqtt", subprotocols=[Subprotocol("mqtt")]) as websocket:
        await websocket.send(b"x" * 5000)
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


async def test_websockets_beyond_an_addresss_share_are_refused(start: Start) -> None:
    server = await start(shares=SharesSettings(websockets_per_address=2), mqtt_websocket=echo)
    url = f"ws://127.0.0.1:{server.port}/mqtt"
    protocols = [Subprotocol("mqtt")]
    async with connect(url, subprotocols=protocols), connect(url, subprotocols=protocols):
        with pytest.raises(InvalidStatus) as caught:
            await connect(url, subprotocols=protocols)
        assert caught.value.response.status_code == 429
        assert (await server.client.get("/healthz")).status_code == 200


async def test_mqtt_without_a_websocket_is_explained(start: Start) -> None:
    server = await start(mqtt_websocket=echo)
    reply = await server.client.get("/mqtt")
    assert reply.status_code == 426
    assert "subprotocol" in reply.json()["error"]


async def test_without_mqtt_over_websocket_there_is_nothing_there(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws://127.0.0.1:{server.port}/mqtt")
    assert caught.value.response.status_code == 403


async def test_stopping_ends_everything_that_is_open(start: Start) -> None:
    server = await start(mqtt_websocket=echo)
    silent_reader, silent_writer = await asyncio.open_connection("127.0.0.1", server.port)
    websocket = await connect(f"ws://127.0.0.1:{server.port}/mqtt", subprotocols=[Subprotocol("mqtt")])
    health = [server.http.healthy]
    async with asyncio.timeout(3):
        await server.http.aclose()
        await server.http.aclose()
    health.append(server.http.healthy)
    assert health == [True, False]
    with pytest.raises(ConnectionClosed):
        await websocket.recv()
    assert await silent_reader.read() == b""
    silent_writer.close()
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", server.port)


async def refused(port: int) -> bool:
    """Whether a new connection is refused."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return True
    writer.close()
    return False


async def test_a_server_that_stops_accepting_finishes_what_it_began(start: Start) -> None:
    server = await start(mqtt_websocket=echo)
    port = server.port
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
    idle_writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await idle_reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /ota/ HTTP/1.1\r\nHost: x\r\nDevice-Id: aa:bb:cc:00:11:22\r\nContent-Length: 2\r\n"
                 b"Expect: 100-continue\r\n\r\n")  # fmt: skip
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")  # the request runs
    async with connect(f"ws://127.0.0.1:{port}/mqtt", subprotocols=[Subprotocol("mqtt")]) as websocket:
        server.http.stop_accepting()
        server.http.stop_accepting()
        assert await refused(port)
        assert not server.http.healthy
        assert server.http.port == port
        assert b"HTTP/1.1" not in await idle_reader.read()  # closed, after the first answer
        await websocket.send(b"\xc0\x00")
        assert await websocket.recv() == b"\xc0\x00"
        writer.write(b"{}")
        answer = await reader.read()  # and then the connection ends
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"mqtt"' in answer
    idle_writer.close()
    writer.close()
    await server.http.aclose()
    assert server.http.port == 0


async def test_a_server_that_was_not_started_stops_accepting_all_the_same() -> None:
    server = HttpServer(echo, HttpSettings())
    server.stop_accepting()
    await server.aclose()
    assert not server.healthy


async def test_a_body_without_end_is_cut_off(start: Start) -> None:
    server = await start(http=HttpSettings(max_body_bytes=4096))
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /ota/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent = 0
    try:
        while sent < 100_000_000:
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()
            sent += 4096
    except ConnectionError:
        pass
    assert sent < 20_000_000
    writer.close()
    assert (await server.client.get("/healthz")).status_code == 200


async def test_a_slow_body_is_refused_in_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_TIMEOUT_S", 0.05)
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /ota/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert await reader.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
    writer.close()


async def test_nothing_of_a_connection_that_was_reset_waits_for_its_time(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"}")
    assert server.http._server is not None
    (protocol,) = server.http._server.server_state.connections
    assert isinstance(protocol, BoundedHttpProtocol)
    linger = struct.pack("ii", 1, 0)  # the end is a reset
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    while server.http.connections:  # noqa: ASYNC110  # the end of a connection has no event
        await asyncio.sleep(0)
    assert protocol.timeout_keep_alive_task is None


async def test_a_client_that_leaves_in_the_middle_harms_nobody(server: Server) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /ota/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    await writer.drain()
    writer.close()
    assert (await server.client.get("/healthz")).status_code == 200


async def test_a_mistake_of_ours_is_a_500_without_its_details(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.health["udp"] = cast(PartHealth, None)
    reply = await server.client.get("/healthz")
    assert reply.status_code == 500
    assert reply.json() == {"error": "the server made a mistake: see its log"}
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


async def test_a_request_that_hangs_does_not_hold_up_the_stop(start: Start) -> None:
    arrived = asyncio.Event()
    cancelled = asyncio.Event()

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await WebSocket(scope, receive, send).accept()
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server = await start(mqtt_websocket=hang)
    websocket = await connect(f"ws://127.0.0.1:{server.port}/mqtt")
    await arrived.wait()
    async with asyncio.timeout(3):
        await server.http.aclose()
    assert cancelled.is_set()
    await websocket.close()
