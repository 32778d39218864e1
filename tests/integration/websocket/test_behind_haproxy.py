"""The whole server behind a real HAProxy in which TLS ends: OTA, WebSocket, MQTT, and shares by address."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from mimi_mqtt.app import App
from mimi_mqtt.cli.device.client import converse
from mimi_mqtt.cli.device.options import DeviceOptions
from tests.integration.http.raw import BINARY, RawHttp, frame
from tests.integration.http.test_tls import until
from tests.integration.websocket.test_devices import CLIENT, MAC, headers, opened, reply_to, serving
from tests.integration.websocket.test_tls import secured
from tests.servers.haproxy import HaProxy, haproxy

TRUSTED: Mapping[str, object] = {"trusted_proxies": ["127.0.0.1"]}
PATIENCE_S = 20


@asynccontextmanager
async def proxied(folder: Path, transport: str = "websocket") -> AsyncIterator[tuple[App, HaProxy]]:
    async with (
        serving(folder, transport, http=TRUSTED) as app,
        haproxy(folder / "proxy", app.http_port, app.mqtt_port) as proxy,
    ):
        yield app, proxy


async def asked(
    proxy: HaProxy, url: str, source: str = "127.0.0.1", mac: str = MAC, **said: str
) -> httpx.Response:
    """OTA's answer to a device at `source`; `said` are further headers, with `_` for `-`."""
    transport = httpx.AsyncHTTPTransport(verify=proxy.context, local_address=source)
    extra = {name.replace("_", "-"): value for name, value in said.items()}
    async with httpx.AsyncClient(timeout=60.0, transport=transport) as client:
        return await client.post(url, headers={"Device-Id": mac, "Client-Id": CLIENT} | extra)


@asynccontextmanager
async def device(proxy: HaProxy, source: str, mac: str = MAC) -> AsyncIterator[ClientConnection]:
    """A device at `source` on its WebSocket through the proxy."""
    reply = await asked(proxy, f"https://localhost:{proxy.https}/xiaozhi/ota/", source, mac)
    section = reply.json()["websocket"]
    async with connect(
        section["url"], additional_headers=headers(section["token"], mac), compression=None,
        ssl=proxy.context, local_addr=(source, 0),
    ) as socket:  # fmt: skip
        yield socket


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_device_is_told_wss_and_the_proxys_name_and_talks_through_it(
    tmp_path: Path, version: int
) -> None:
    async with proxied(tmp_path) as (_, proxy):
        reply = await asked(proxy, f"https://localhost:{proxy.https}/xiaozhi/ota/")
        assert reply.json()["websocket"]["url"] == f"wss://localhost:{proxy.https}/xiaozhi/v1/"
        summary = await converse(
            DeviceOptions(
                ota=f"https://localhost:{proxy.https}/xiaozhi/ota/", mac="02:00:00:00:00:42",
                text="what is two plus two", timeout_s=60.0, websocket_version=version, tls_ca=proxy.ca,
            )
        )  # fmt: skip
        assert summary.ok, summary.error
        assert (summary.audio_ms > 500, summary.lost) == (True, 0)


async def test_who_comes_to_the_proxy_without_tls_is_told_ws(tmp_path: Path) -> None:
    async with proxied(tmp_path) as (_, proxy):
        reply = await asked(proxy, f"http://localhost:{proxy.http}/xiaozhi/ota/")
        assert reply.json()["websocket"]["url"] == f"ws://localhost:{proxy.http}/xiaozhi/v1/"


async def test_a_client_of_the_proxy_can_pretend_to_no_address_scheme_or_name(tmp_path: Path) -> None:
    forged = {
        "X_Forwarded_For": "192.0.2.1", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil.example",
    }  # fmt: skip
    async with proxied(tmp_path) as (app, proxy):
        reply = await asked(proxy, f"http://localhost:{proxy.http}/xiaozhi/ota/", "127.0.0.2", **forged)
        assert reply.json()["websocket"]["url"] == f"ws://localhost:{proxy.http}/xiaozhi/v1/"
        async with device(proxy, "127.0.0.2") as socket:
            await opened(socket)
            assert app._parts.live.websockets._devices["aa-bb-cc-00-11-22"].peer_host == "127.0.0.2"


async def test_devices_behind_the_proxy_have_each_the_shares_of_their_own_address(tmp_path: Path) -> None:
    """All come from the proxy's one address, to look at their sockets."""
    async with proxied(tmp_path) as (app, proxy), device(proxy, "127.0.0.3", "aa:bb:cc:00:11:33") as talks:
        session = await opened(talks)
        url = f"https://localhost:{proxy.https}/xiaozhi/ota/"
        transport = httpx.AsyncHTTPTransport(verify=proxy.context, local_address="127.0.0.2")
        async with httpx.AsyncClient(timeout=60.0, transport=transport) as greedy:
            codes = [
                (await greedy.post(url, headers={"Device-Id": MAC, "Client-Id": CLIENT})).status_code
                for _ in range(700)
            ]
        assert 429 in codes
        assert "127.0.0.2" in app._parts.foundation.ledger.summary()
        assert (await asked(proxy, url, "127.0.0.4", "aa:bb:cc:00:11:44")).status_code == 200
        _, frames = await reply_to(talks, session, "what is two plus two")
        assert len(frames) > 5


async def test_frames_behind_the_proxy_count_for_the_address_of_their_client(tmp_path: Path) -> None:
    """A flood of one client of the proxy takes nothing from what another one may send."""
    async with proxied(tmp_path) as (app, proxy), device(proxy, "127.0.0.3", "aa:bb:cc:00:11:33") as talks:
        session = await opened(talks)
        flood = RawHttp(
            *await asyncio.open_connection(
                "localhost", proxy.https, ssl=proxy.context, family=socket.AF_INET,
                local_addr=("127.0.0.2", 0),
            )
        )  # fmt: skip
        flood.upgrade()
        assert (await flood.head()).startswith(b"HTTP/1.1 101")
        flood.writer.write(frame(BINARY) * 40_000)
        await until(lambda: "WebSocket frames" in app._parts.foundation.ledger.summary())
        _, frames = await reply_to(talks, session, "what is two plus two")
        assert len(frames) > 5
        assert "127.0.0.2" in app._parts.foundation.ledger.summary()
        assert "127.0.0.1" not in app._parts.foundation.ledger.summary()
        await flood.close()


async def test_mqtt_goes_through_the_proxys_tls(tmp_path: Path) -> None:
    async with proxied(tmp_path, "mqtt") as (_, proxy):
        section = (await asked(proxy, f"https://localhost:{proxy.https}/xiaozhi/ota/")).json()["mqtt"]
        for where in (
            {"port": proxy.mqtt},
            {"port": proxy.https, "transport": "websockets", "websocket_path": "/mqtt"},
        ):
            client = aiomqtt.Client(
                "localhost", identifier="desk", username=section["username"], password=section["password"],
                tls_context=proxy.context, **where,
            )  # fmt: skip
            async with asyncio.timeout(PATIENCE_S), client:
                await client.subscribe("mimi/devices/aa-bb-cc-00-11-22/#")
                await client.publish(section["publish_topic"], b'{"type":"hello","transport":"udp"}')
                message = await anext(client.messages)
                assert str(message.topic).startswith("mimi/devices/aa-bb-cc-00-11-22/")


async def test_a_proxy_may_speak_tls_to_a_server_that_wants_nothing_else(tmp_path: Path) -> None:
    async with (
        secured(tmp_path, {**TRUSTED, "plain": False}) as app,
        haproxy(tmp_path / "proxy", app.http_port, app.mqtt_port, upstream_tls=True) as proxy,
        device(proxy, "127.0.0.2") as socket,
    ):
        session = await opened(socket)
        _, frames = await reply_to(socket, session, "what is two plus two")
        assert len(frames) > 5
        reply = await asked(proxy, f"http://localhost:{proxy.http}/xiaozhi/ota/")
        assert reply.json()["websocket"]["url"] == f"ws://localhost:{proxy.http}/xiaozhi/v1/"


async def test_a_device_whose_proxy_ends_is_gone(tmp_path: Path) -> None:
    async with serving(tmp_path, http=TRUSTED) as app:
        async with (
            haproxy(tmp_path / "proxy", app.http_port, app.mqtt_port) as proxy,
            device(proxy, "127.0.0.2") as socket,
        ):
            await opened(socket)
            assert len(app._parts.live.websockets) == 1
        async with asyncio.timeout(PATIENCE_S):
            while len(app._parts.live.websockets):  # noqa: ASYNC110  # the end of a socket has no event
                await asyncio.sleep(0.01)
