"""Upgrades that lead to nothing: half requests by the thousand, and devices that never say hello."""

import asyncio
import gc
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.http.protocol import BoundedHttpProtocol
from mimi_mqtt.http.websocket import BoundedWebSocketProtocol
from mimi_mqtt.transports.websocket import PATH
from mimi_mqtt.transports.websocket_device import WebSocketDevice
from tests.integration.http.raw import RawHttp
from tests.integration.http.test_tls import until
from tests.integration.websocket.test_devices import TIMEOUT_S, device, headers, opened, reply_to, serving

pytestmark = pytest.mark.timeout(120)

HALF = (
    f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def kept(*kinds: type) -> int:
    """Objects of these kinds that are still there."""
    gc.collect()
    return sum(isinstance(each, kinds) for each in gc.get_objects())


async def token(port: int, source: str, mac: str) -> str:
    """The token of a device that registers from `source`."""
    transport = httpx.AsyncHTTPTransport(local_address=source)
    async with httpx.AsyncClient(
        timeout=60.0, transport=transport, base_url=f"http://127.0.0.1:{port}"
    ) as http:
        reply = await http.post("/xiaozhi/ota/", headers={"Device-Id": mac, "Client-Id": "mute"})
    section: dict[str, str] = reply.json()["websocket"]
    return section["token"]


async def upgraded(port: int, source: str, mac: str, shown: str) -> tuple[RawHttp, bool]:
    """A connection of a device that asks for a WebSocket; False when it is refused."""
    client = await RawHttp.open(port, source)
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers(shown, mac, "mute").items())
    client.writer.write(f"{HALF}{fields}\r\n".encode())
    return client, (await client.head()).startswith(b"HTTP/1.1 101")


async def test_a_thousand_half_open_upgrades_are_bounded_and_leave_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, http={"max_connections": 600}) as app:
        assert app._http.server is not None
        async with device(app) as talks:
            session = await opened(talks)
            before = kept(BoundedHttpProtocol, BoundedWebSocketProtocol)
            clients = []
            for number in range(1_000):
                client = await RawHttp.open(app.http_port, f"127.0.1.{1 + number % 4}")
                client.writer.write(HALF.encode())
                clients.append(client)
                assert app._http.server.connections <= 300 + 2  # strangers have half; the device beside them
            _, frames = await reply_to(talks, session, "what is two plus two")
            assert len(frames) > 5
            async with device(app) as again:  # it takes the place of its old connection
                await opened(again)
            for client in clients:
                await client.close()
            await until(lambda: app._http.server is not None and app._http.server.connections == 0)
        assert kept(BoundedHttpProtocol, BoundedWebSocketProtocol) <= before


async def test_devices_that_say_no_hello_have_their_own_share_and_leave_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        port = app.http_port
        macs = [f"02:cd:00:00:00:{number:02x}" for number in range(55)]
        tokens = [await token(port, "127.0.1.1", mac) for mac in macs]
        mute = [
            await upgraded(port, "127.0.1.1", mac, shown) for mac, shown in zip(macs, tokens, strict=True)
        ]
        assert [let_in for _, let_in in mute] == [True] * 50 + [False] * 5
        assert len(app._parts.live.websockets) == 50
        async with device(app) as talks:
            session = await opened(talks)
            _, frames = await reply_to(talks, session, "what is two plus two")
            assert len(frames) > 5
        for client, _ in mute:
            await client.close()
        async with asyncio.timeout(TIMEOUT_S):
            await until(lambda: len(app._parts.live.websockets) == 0)
        await until(lambda: app._http.server is not None and app._http.server.connections == 0)
        assert kept(WebSocketDevice, BoundedWebSocketProtocol, BoundedHttpProtocol) == 0


async def test_websockets_of_strangers_take_no_place_from_a_device_that_was_there_before(
    tmp_path: Path,
) -> None:
    """A device over WebSocket makes its address known, as one over MQTT does."""
    async with serving(tmp_path, http={"max_connections": 40}) as app:
        async with device(app):
            pass
        strangers = []
        async with device(app) as back:
            session = await opened(back)
            for number in range(30):  # of 20 WebSockets strangers have 10
                strangers.append(await RawHttp.websocket(app.http_port, f"127.0.1.{1 + number}"))
                assert (await strangers[-1].head()).startswith(b"HTTP/1.1 101")
            _, frames = await reply_to(back, session, "what is two plus two")
            assert len(frames) > 5
        for client in strangers:
            await client.close()
