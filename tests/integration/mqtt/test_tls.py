"""MQTT over TLS: handshakes that are made to harm, and a certificate that is renewed."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from mimi_mqtt.tls.watch import CertificateWatch
from tests.integration.mqtt.conftest import DEVICE, PASSWORDS, Running, StartServer
from tests.integration.mqtt.raw import PATIENCE_S, RawClient, trusting_context
from tests.servers import key_updates
from tests.servers.tls import write_certificates


@pytest.fixture
async def mqtt(start_server: StartServer, tmp_path: Path) -> Running:
    write_certificates(tmp_path)
    return await start_server(tls_certificate=tmp_path / "server.crt", tls_key=tmp_path / "server.key")


async def shown(mqtt: Running) -> bytes:
    """The certificate that a new connection sees."""
    _, writer = await asyncio.open_connection("127.0.0.1", mqtt.tls_port, ssl=trusting_context())
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return certificate


async def device(mqtt: Running) -> RawClient:
    client = await RawClient.open(mqtt.tls_port, tls=True)
    mqtt.clients.append(client)
    assert await client.connack(DEVICE, DEVICE, PASSWORDS[DEVICE].decode()) == 0
    return client


async def test_a_certificate_is_renewed_and_open_connections_go_on(mqtt: Running, tmp_path: Path) -> None:
    watch = CertificateWatch(mqtt.server.certificate)
    old, client = await shown(mqtt), await device(mqtt)
    write_certificates(tmp_path)
    for _ in range(2):
        await watch.look()
    assert await shown(mqtt) != old
    assert await client.round_trip() == []


async def test_a_handshake_of_a_hundred_kilobytes_is_not_kept(mqtt: Running) -> None:
    hello = b"\x01\x01\xf0\x00" + b"\x03\x03" + bytes(126_970)
    reader, writer = await asyncio.open_connection("127.0.0.1", mqtt.tls_port)
    for at in range(0, len(hello) - 16_000, 16_000):
        writer.write(b"\x16\x03\x01" + (16_000).to_bytes(2, "big") + hello[at : at + 16_000])
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.transport.abort()
    assert await (await device(mqtt)).round_trip() == []


async def test_a_flood_of_key_updates_is_cut_off(mqtt: Running) -> None:
    client = await device(mqtt)
    sent = await asyncio.to_thread(key_updates.flood, mqtt.tls_port, 100_000)
    assert 1_000 < sent < 90_000
    assert await client.round_trip() == []


async def test_a_connection_in_its_handshake_makes_no_room_for_newer_ones_of_its_address_at_once(
    start_server: StartServer, tmp_path: Path
) -> None:
    """A handshake takes two seconds where hundreds of devices come at once; half a second is not enough."""
    write_certificates(tmp_path)
    mqtt = await start_server(
        tls_certificate=tmp_path / "server.crt", tls_key=tmp_path / "server.key",
        shares={"pending_connects_per_address": 1},
    )  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", mqtt.tls_port)
    await mqtt.until(lambda: mqtt.server.counters.pending == 1)
    mqtt.pass_time(0.5)
    newer, other = await asyncio.open_connection("127.0.0.1", mqtt.tls_port)
    async with asyncio.timeout(PATIENCE_S):
        assert await newer.read() == b""
    tls = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = trusting_context().wrap_bio(*tls, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    writer.write(tls[1].read())
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.read(1)) == b"\x16"
    for each in (writer, other):
        each.transport.abort()
