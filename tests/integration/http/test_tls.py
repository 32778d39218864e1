"""TLS on the HTTP port: real clients beside plain ones, and handshakes that are made to harm."""

import asyncio
import gc
import signal
import ssl
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import connect

from mimi_mqtt.config import HttpSettings, SharesSettings
from mimi_mqtt.http.arrival import Arrival
from mimi_mqtt.http.protocol import BoundedHttpProtocol
from mimi_mqtt.tls.transport import TlsTransport
from tests.integration.http.conftest import Server, Start
from tests.integration.http.raw import PATIENCE_S, RawHttp
from tests.integration.http.test_websocket_bounds import echo
from tests.servers import key_updates
from tests.servers.tls import write_certificates

IDS = {"Device-Id": "aa:bb:cc:00:11:22", "Client-Id": "one"}
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

StartTls = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start_tls(start: Start, tmp_path: Path) -> StartTls:
    """Starts a server with a certificate; `http` has further settings."""
    write_certificates(tmp_path)

    async def started(http: dict[str, object] | None = None, **options: Any) -> Server:
        files = {"tls_certificate": tmp_path / "server.crt", "tls_key": tmp_path / "server.key"}
        return await start(http=HttpSettings.model_validate(files | (http or {})), **options)

    return started


@pytest.fixture
async def server(start_tls: StartTls) -> Server:
    return await start_tls(mqtt_websocket=echo, websocket_path="/xiaozhi/v1/")


def trusting(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.folder / "ca.crt")


async def opened(server: Server, address: str = "127.0.0.1") -> RawHttp:
    """A connection whose handshake is complete."""
    return RawHttp(
        *await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=trusting(server), server_hostname="localhost",
            local_addr=(address, 0),
        )
    )  # fmt: skip


@cache
def client_hello() -> bytes:
    """The first flight of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def half_open(server: Server, address: str = "127.0.0.1") -> RawHttp:
    """A client that has the server's part of the handshake, and does not go on."""
    client = await RawHttp.open(server.port, address)
    client.writer.write(client_hello())
    async with asyncio.timeout(PATIENCE_S):
        assert (await client.reader.read(65_536))[0] == 0x16
    return client


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # the end of a socket has no event
            await asyncio.sleep(0.01)


async def serves(server: Server, address: str = "127.0.0.9") -> None:
    """Somebody else is answered, over TLS and without."""
    for client in (await opened(server, address), await RawHttp.open(server.port, address)):
        client.writer.write(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 200")
        await client.close()


async def run(*command: str, given: bytes = b"") -> tuple[int, str]:
    """A program's exit code and what it prints."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_S):
        output, _ = await process.communicate(given)
    return process.returncode or 0, output.decode(errors="replace")


# ── real clients ─────────────────────────────────────────────────────────────────────────────────────────


async def test_one_port_speaks_both_and_a_device_is_told_the_way_it_came(server: Server) -> None:
    async with httpx.AsyncClient(timeout=60.0, verify=trusting(server), trust_env=False) as client:
        for scheme, websocket in (("http", "ws"), ("https", "wss")):
            address = f"127.0.0.1:{server.port}"
            assert (await client.get(f"{scheme}://{address}/healthz")).status_code == 200
            reply = await client.post(
                f"{scheme}://{address}/xiaozhi/ota/", headers=IDS | {"User-Agent": "esp32s3"}
            )
            assert reply.json()["websocket"]["url"] == f"{websocket}://{address}/xiaozhi/v1/"
            page = (await client.get(f"{scheme}://{address}/")).text
            assert f"<code>{scheme}://{address}/xiaozhi/ota/</code>" in page


async def test_a_device_that_names_no_port_is_told_the_servers_own(server: Server) -> None:
    client = await opened(server)
    client.writer.write(
        b"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: localhost\r\nDevice-Id: aa:bb:cc:00:11:22\r\n"
        b"Client-Id: one\r\nUser-Agent: esp32s3\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    assert f"wss://localhost:{server.port}/xiaozhi/v1/".encode() in await client.rest()


async def test_many_requests_go_over_one_connection_and_large_answers_arrive_whole(server: Server) -> None:
    client = await opened(server)
    for _ in range(20):
        client.writer.write(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 200")
        await client.reader.readuntil(b"}}}")
    client.writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"python_info" in await client.rest()
    await until(lambda: server.http.connections == 0)


async def test_curl_is_served_http_1_1_after_offering_http_2(server: Server) -> None:
    ca = str(server.folder / "ca.crt")
    code, output = await run(
        "curl", "--silent", "--http2", "--cacert", ca, "--write-out", " %{http_version}",
        f"https://localhost:{server.port}/healthz",
    )  # fmt: skip
    assert (code, output.endswith(" 1.1")) == (0, True), output


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)], ids=str
)
async def test_of_the_protocols_that_a_client_offers_http_1_1_is_chosen(
    server: Server, offered: list[str], chosen: str | None
) -> None:
    context = trusting(server)
    if offered:
        context.set_alpn_protocols(offered)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
    writer.transport.abort()


async def test_mqtt_over_websocket_and_large_messages_over_tls(server: Server) -> None:
    url = f"wss://127.0.0.1:{server.port}/mqtt"
    async with connect(url, ssl=trusting(server), subprotocols=["mqtt"]) as socket:  # type: ignore[list-item]
        for size in (0, 1, 125, 4_000):
            await socket.send(bytes(size))
            assert await socket.recv() == bytes(size)
        assert await asyncio.wait_for(await socket.ping(), PATIENCE_S) >= 0


async def test_a_stop_ends_connections_in_every_state(server: Server) -> None:
    silent, half, idle = await RawHttp.open(server.port), await half_open(server), await opened(server)
    async with asyncio.timeout(PATIENCE_S):
        await server.http.aclose()
    for client in (silent, half, idle):
        await client.rest()
        await client.close()


# ── plain: false ─────────────────────────────────────────────────────────────────────────────────────────


async def test_without_plain_http_this_machine_may_still_do_without_tls(start_tls: StartTls) -> None:
    """For the health check of a container, and for `mimi-mqtt` itself."""
    await serves(await start_tls({"plain": False}))


# ── attacks ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_old_versions_of_tls_are_refused(server: Server, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    await serves(server)


@pytest.mark.parametrize(
    "ciphers", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-NULL-SHA", "ADH-AES128-SHA"]
)
async def test_ciphers_without_secrecy_are_refused(server: Server, ciphers: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    await serves(server)


async def test_a_handshake_counts_as_completed_whether_a_request_follows_or_not(server: Server) -> None:
    def count(outcome: str) -> float:
        return REGISTRY.get_sample_value("mimi_http_tls_handshakes_total", {"outcome": outcome}) or 0.0

    completed, failed = count("completed"), count("failed")
    silent, asking = await opened(server), await opened(server)
    asking.writer.write(GET)
    assert (await asking.head()).startswith(b"HTTP/1.1 200")
    for client in (silent, asking, await half_open(server)):
        await client.close()
    await until(lambda: server.http.connections == 0)
    assert (count("completed"), count("failed")) == (completed + 2, failed + 1)


async def test_renegotiation_is_refused(server: Server) -> None:
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{server.port}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            await process.stdout.readuntil(b"Verify return code")
            process.stdin.write(b"R\n")
            assert b"no renegotiation" in (await process.stdout.read()).lower()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
    await serves(server)


@pytest.mark.parametrize("stage", ["silent", "half a hello", "half a handshake", "no request"])
async def test_a_handshake_that_never_ends_is_cut_off_in_time(start_tls: StartTls, stage: str) -> None:
    server = await start_tls(handshake_timeout_s=0.3)
    if stage == "no request":
        client = await opened(server)
    elif stage == "half a handshake":
        client = await half_open(server)
    else:
        client = await RawHttp.open(server.port)
        client.writer.write(client_hello()[:100] if stage == "half a hello" else b"")
    await client.rest()
    await client.close()
    await until(lambda: server.http.connections == 0)


async def test_a_handshake_byte_by_byte_has_no_more_time(start_tls: StartTls) -> None:
    server = await start_tls(handshake_timeout_s=0.5)
    client = await RawHttp.open(server.port)
    for byte in client_hello():
        client.writer.write(bytes([byte]))
        if not await client.written() or client.reader.at_eof():
            break
        await asyncio.sleep(0.01)
    assert await client.rest() == b""
    await client.close()
    await serves(server)


async def test_a_plain_head_has_no_more_time_than_without_a_certificate(start_tls: StartTls) -> None:
    server = await start_tls(header_timeout_s=0.4)
    client = await RawHttp.open(server.port)
    await asyncio.sleep(0.5)
    client.writer.write(b"GET / HT")  # its time was over with the first byte
    assert await client.rest() == b""
    await client.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16",
        b"\x16" + b"\x00" * 4_000,
        b"\x16\x03\x01\x40\x00" + b"\xff" * 16_384,
        b"\x16\x03\x01\xff\xff" + b"A" * 65_535,
        b"\x16" * 100_000,
        b"\x16GET / HTTP/1.1\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x80\x2e\x01\x00\x02",
    ],
    ids=["one byte", "zeros", "no hello", "too long", "flood", "http", "alert", "sslv2"],
)
async def test_garbage_in_the_place_of_a_handshake_ends_its_own_connection(
    start_tls: StartTls, garbage: bytes
) -> None:
    server = await start_tls(handshake_timeout_s=0.5, header_timeout_s=0.5)
    client = await RawHttp.open(server.port)
    client.writer.write(garbage)
    await client.rest()
    await client.close()
    await serves(server)
    await until(lambda: server.http.connections == 0)


async def test_a_handshake_of_a_hundred_kilobytes_is_not_kept(start_tls: StartTls) -> None:
    """OpenSSL waits for the end of a client hello of up to 128 KiB, and holds all of it."""
    server = await start_tls()
    client = await RawHttp.open(server.port)
    hello = b"\x01\x01\xf0\x00" + b"\x03\x03" + bytes(126_970)
    records = b"".join(
        b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece
        for piece in (hello[at : at + 16_000] for at in range(0, len(hello), 16_000))
    )
    client.writer.write(records[:-1])
    await client.rest()
    await client.close()
    await serves(server)


@pytest.mark.timeout(120)
async def test_a_thousand_half_open_handshakes_are_bounded_by_address_and_others_are_served(
    start_tls: StartTls,
) -> None:
    server = await start_tls(
        {"max_connections": 600},
        shares=SharesSettings(http_connections_per_address=100, http_cpu_percent=100),
    )
    clients = []
    for number in range(1_000):
        client = await RawHttp.open(server.port, f"127.0.0.{2 + number // 250}")
        client.writer.write(client_hello())
        clients.append(client)
        assert server.http.connections <= 4 * 100
    await until(lambda: server.http.connections >= 300)  # strangers have half of all
    await serves(server)
    assert "HTTP connections" in server.ledger.summary()
    for client in clients:
        await client.close()
    await until(lambda: server.http.connections == 0)
    gc.collect()
    kept = [
        each for each in gc.get_objects() if isinstance(each, Arrival | TlsTransport | BoundedHttpProtocol)
    ]
    assert kept == []


async def test_connections_in_their_handshake_make_room_for_others_and_answers_are_spared(
    start_tls: StartTls,
) -> None:
    server = await start_tls({"max_connections": 6}, shares=SharesSettings(device_reserve_percent=0))
    greedy = [await half_open(server, "127.0.0.2") for _ in range(6)]
    await serves(server, "127.0.0.3")
    assert await greedy[0].rest() == b""
    for client in greedy:
        await client.close()


async def test_handshakes_are_charged_to_their_address(start_tls: StartTls) -> None:
    """Also to one that never sends a request."""
    server = await start_tls(shares=SharesSettings(http_cpu_percent=1))
    admission = server.http._accounting._admission
    admission.charge("127.0.0.2", 0.98)
    refused = 0
    for _ in range(200):
        client = await RawHttp.open(server.port, "127.0.0.2")
        client.writer.write(client_hello())
        try:
            refused += await client.reader.read(1) == b""
        except ConnectionError:
            refused += 1
        await client.close()
    assert refused > 50
    assert "HTTP computing time" in server.ledger.summary()
    await serves(server)


@pytest.mark.parametrize("kind", [0, key_updates.BOTH_UPDATE], ids=["one way", "to be answered"])
async def test_a_flood_of_key_updates_is_cut_off(server: Server, kind: int) -> None:
    sent = await asyncio.to_thread(key_updates.flood, server.port, 100_000, kind)
    assert 1_000 < sent < 90_000  # what the sockets between them hold is sent in vain
    await until(lambda: server.http.connections == 0)
    await serves(server)


async def test_a_few_key_updates_are_ordinary(server: Server) -> None:
    assert await asyncio.to_thread(key_updates.flood, server.port, 50) == 50


async def test_who_does_not_read_answers_over_tls_is_cut_off(start_tls: StartTls) -> None:
    server = await start_tls(write_timeout_s=0.5)
    client = await opened(server)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(200):
        client.writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(0)
    await until(lambda: server.http.connections == 0)
    await client.close()
    await serves(server)
