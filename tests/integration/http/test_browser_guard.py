"""Hosts and origins at the running server: what web pages of strangers can't do, and devices still can."""

import asyncio

import httpx
import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from mimi_mqtt.config import HttpSettings, SharesSettings
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.transports.mqtt.websocket import WebSocketTransport
from tests.integration.http.conftest import Server, Start
from tests.integration.http.raw import RawHttp
from tests.integration.http.test_server import echo

DEVICE = {"Device-Id": "aa:bb:cc:00:11:22", "Client-Id": "7f9d2c1e-6a1b-4c62-9a3e-0123456789ab"}
PATHS = [
    "/xiaozhi/ota/",
    "/ota",
    "/api/ota/",
    "/xiaozhi/ota/activate",
    "/",
    "/healthz",
    "/metrics",
    "/nothing",
]


@pytest.mark.parametrize("path", PATHS)
async def test_a_foreign_host_is_refused_at_every_path(server: Server, path: str) -> None:
    reply = await server.client.get(path, headers=DEVICE | {"Host": "evil.example:8003"})
    assert reply.status_code == 421
    assert "http.allowed_hosts" in reply.json()["error"]
    assert "requests to foreign host names" in server.ledger.summary()


async def test_a_host_can_not_forge_a_log_line_or_a_page(server: Server) -> None:
    reply = await server.client.get("/", headers={"Host": "<script>\x7f"})
    assert reply.status_code == 421
    assert reply.headers["content-type"] == "application/json"
    assert "\x7f" not in reply.text


async def test_a_listed_host_is_served(start: Start) -> None:
    server = await start(http=HttpSettings(allowed_hosts=("voice.example.org", "*.example.net")))
    for host, status in (("voice.example.org", 200), ("a.example.net:80", 200), ("b.example.org", 421)):
        reply = await server.client.post("/xiaozhi/ota/", headers=DEVICE | {"Host": host}, json={})
        assert reply.status_code == status


async def test_the_public_host_is_served(start: Start) -> None:
    server = await start(public_host="voice.example")
    reply = await server.client.post("/xiaozhi/ota/", headers=DEVICE | {"Host": "voice.example"}, json={})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"GET /healthz", b"200"), (b"GET /", b"200"), (b"GET /ota/", b"421"), (b"POST /ota/", b"421")],
)
async def test_without_a_host_only_pages_without_credentials_are_served(
    server: Server, request_line: bytes, status: bytes
) -> None:
    client = await RawHttp.open(server.port)
    client.writer.write(request_line + b" HTTP/1.0\r\nDevice-Id: aa:bb:cc:00:11:22\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 " + status)
    await client.close()


@pytest.mark.parametrize("path", ["/xiaozhi/ota/", "/ota/activate", "/xiaozhi/ota//activate"])
@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
async def test_a_cross_site_post_registers_nothing(server: Server, path: str, sent: dict[str, str]) -> None:
    reply = await server.client.post(
        path,
        headers=DEVICE | {"Content-Type": "text/plain"} | sent,
        content=b'{"mac_address": "aa:bb:cc:00:11:22"}',
    )
    assert reply.status_code == 403
    assert "http.allowed_hosts" in reply.json()["error"]
    assert len(server.directory) == 0
    assert "requests of foreign web pages" in server.ledger.summary()


@pytest.mark.parametrize(
    "sent", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}]
)
async def test_a_foreign_page_is_told_no_credentials(server: Server, sent: dict[str, str]) -> None:
    assert (await server.client.get("/xiaozhi/ota/", headers=DEVICE | sent)).status_code == 403
    assert len(server.directory) == 0


async def test_a_link_to_the_page_for_people_works_from_anywhere(server: Server) -> None:
    sent = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    for path in ("/", "/xiaozhi/ota/"):
        reply = await server.client.get(path, headers=sent)
        assert (reply.status_code, reply.headers["content-type"][:9]) == (200, "text/html")


@pytest.mark.parametrize("sent", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}])
async def test_devices_and_the_servers_own_pages_are_served(server: Server, sent: dict[str, str]) -> None:
    assert (await server.client.post("/ota/", headers=DEVICE | sent, json={})).status_code == 200
    origin = {"Origin": f"http://127.0.0.1:{server.port}"}
    assert (await server.client.post("/ota/", headers=DEVICE | origin, json={})).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
async def test_a_foreign_page_opens_no_websocket(start: Start, origin: str) -> None:
    server = await start(mqtt_websocket=echo)
    with pytest.raises(InvalidStatus) as caught:
        await connect(
            f"ws://127.0.0.1:{server.port}/mqtt",
            subprotocols=[Subprotocol("mqtt")],
            origin=Origin(origin),
        )
    assert caught.value.response.status_code == 403
    assert b"http.allowed_hosts" in (caught.value.response.body or b"")


async def test_pages_of_listed_hosts_and_the_servers_own_open_websockets(start: Start) -> None:
    server = await start(http=HttpSettings(allowed_hosts=("mqttx.example.org",)), mqtt_websocket=echo)
    for origin in (None, "https://mqttx.example.org", f"http://127.0.0.1:{server.port}"):
        async with connect(
            f"ws://127.0.0.1:{server.port}/mqtt",
            subprotocols=[Subprotocol("mqtt")],
            origin=Origin(origin) if origin else None,
        ) as websocket:
            assert websocket.subprotocol == "mqtt"


async def test_a_rebound_name_opens_no_websocket(start: Start) -> None:
    server = await start(mqtt_websocket=echo)
    client = await RawHttp.open(server.port)
    client.writer.write(
        b"GET /mqtt HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert (await client.rest()).startswith(b"HTTP/1.1 421")
    await client.close()


class TestBehindAProxy:
    async def test_each_client_has_its_own_share(self, start: Start) -> None:
        server = await start(
            http=HttpSettings.model_validate({"trusted_proxies": ["127.0.0.1"], "requests_per_minute": 2})
        )
        statuses = [
            (
                await server.client.post(
                    "/ota/", headers=DEVICE | {"X-Forwarded-For": f"192.0.2.{client}"}, json={}
                )
            ).status_code
            for client in (1, 1, 1, 2)
        ]
        assert statuses == [200, 200, 429, 200]
        assert "192.0.2.1" in server.ledger.summary()

    async def test_one_clients_excess_does_not_close_the_proxys_connection(self, start: Start) -> None:
        server = await start(
            http=HttpSettings.model_validate({"trusted_proxies": "127.0.0.0/8"}),
            shares=SharesSettings(http_requests_per_minute=1, http_connections_per_address=1),
        )
        client = await RawHttp.open(server.port)
        others = [await RawHttp.open(server.port) for _ in range(3)]
        answers = []
        for number in (1, 1, 1, 2):
            client.writer.write(
                b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n" % number
            )
            head = await client.head()
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await client.reader.readexactly(length)
            answers.append(head[9:12])
        assert answers == [b"200", b"429", b"429", b"200"]
        for each in [client, *others]:
            await each.close()

    async def test_a_websockets_peer_is_the_client(self, start: Start) -> None:
        peers: list[object] = []

        async def note(scope: Scope, receive: Receive, send: Send) -> None:
            peers.append(WebSocketTransport(scope, asyncio.Protocol()).get_extra_info("peername")[0])
            await echo(scope, receive, send)

        server = await start(
            http=HttpSettings.model_validate({"trusted_proxies": ["127.0.0.1"]}),
            shares=SharesSettings(websockets_per_address=1),
            mqtt_websocket=note,
        )
        url = f"ws://127.0.0.1:{server.port}/mqtt"

        def opened(number: int) -> connect:
            forwarded = {"X-Forwarded-For": f"192.0.2.{number}"}
            return connect(url, subprotocols=[Subprotocol("mqtt")], additional_headers=forwarded)

        async with opened(1), opened(2):
            with pytest.raises(InvalidStatus):
                await opened(1)
        assert peers == ["192.0.2.1", "192.0.2.2"]

    async def test_scheme_and_host_of_the_client_are_shown_and_advertised(self, start: Start) -> None:
        server = await start(
            http=HttpSettings.model_validate(
                {"trusted_proxies": ["127.0.0.1"], "allowed_hosts": ["voice.example.org"]}
            )
        )
        sent = {
            "X-Forwarded-Host": "voice.example.org",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": "192.0.2.1",
        }
        page = await server.client.get("/", headers=sent | {"Accept": "text/html"})
        assert "<code>https://voice.example.org/xiaozhi/ota/</code>" in page.text
        told = await server.client.post("/ota/", headers=DEVICE | sent, json={})
        assert told.json()["mqtt"]["endpoint"] == "voice.example.org:1883"

    async def test_a_foreign_host_is_refused_whoever_names_it(self, start: Start) -> None:
        server = await start(http=HttpSettings.model_validate({"trusted_proxies": ["127.0.0.1"]}))
        for headers in (
            {"Host": "evil.example", "X-Forwarded-For": "192.0.2.1"},
            {"Host": "evil.example", "X-Forwarded-Host": "192.0.2.7", "X-Forwarded-For": "192.0.2.1"},
            {"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "192.0.2.1"},
        ):
            assert (await server.client.get("/ota/", headers=DEVICE | headers)).status_code == 421


class TestReaders:
    async def test_by_default_only_this_machine_reads_metrics_and_details(self, start: Start) -> None:
        server = await start(http=HttpSettings.model_validate({"trusted_proxies": ["127.0.0.3"]}))
        assert (await server.client.get("/metrics")).status_code == 200
        assert "parts" in (await server.client.get("/healthz")).json()
        async with from_proxy(server) as far:
            assert (await far.get("/metrics")).status_code == 403
            assert (await far.get("/healthz")).json() == {"status": "ok"}
            page = (await far.get("/", headers={"Accept": "text/html"})).text
            assert "All parts work." in page
            assert "SQLite" not in page
        # A proxy on this machine that is not trusted passes strangers on.
        passed_on = {"X-Forwarded-For": "192.0.2.1"}
        assert (await server.client.get("/metrics", headers=passed_on)).status_code == 403

    async def test_a_token_lets_other_machines_read(self, start: Start) -> None:
        server = await start(
            http=HttpSettings.model_validate(
                {"trusted_proxies": ["127.0.0.3"], "metrics": "token", "metrics_token": "s3cret"}
            )
        )
        assert (await server.client.get("/metrics")).status_code == 200
        async with from_proxy(server) as far:
            refused = await far.get("/metrics")
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            for wrong in ("Bearer s3cre", "Bearer", "Basic s3cret", "s3cret", "Bearer \xfc"):
                sent = [(b"Authorization", wrong.encode("latin-1"))]
                assert (await far.get("/metrics", headers=sent)).status_code == 401
            right = {"Authorization": "Bearer s3cret"}
            assert (await far.get("/metrics", headers=right)).status_code == 200
            assert "parts" in (await far.get("/healthz", headers=right)).json()
            assert "parts" not in (await far.get("/healthz")).json()

    async def test_open_lets_everyone_read(self, start: Start) -> None:
        server = await start(
            http=HttpSettings.model_validate({"trusted_proxies": ["127.0.0.3"], "metrics": "open"})
        )
        async with from_proxy(server) as far:
            assert (await far.get("/metrics")).status_code == 200
            assert "parts" in (await far.get("/healthz")).json()

    async def test_everyone_is_told_that_a_part_is_down_but_not_which(self, start: Start) -> None:
        server = await start(http=HttpSettings.model_validate({"trusted_proxies": ["127.0.0.3"]}))
        server.health["udp"] = PartHealth(False, "the socket is gone")
        async with from_proxy(server) as far:
            reply = await far.get("/healthz")
            assert (reply.status_code, reply.json()) == (503, {"status": "down"})
            assert "A part is down." in (await far.get("/")).text


def from_proxy(server: Server) -> httpx.AsyncClient:
    """A client of another machine, behind a proxy at 127.0.0.3."""
    return httpx.AsyncClient(
        timeout=60.0,
        base_url=f"http://127.0.0.1:{server.port}",
        transport=httpx.AsyncHTTPTransport(local_address="127.0.0.3"),
        headers={"X-Forwarded-For": "192.0.2.1"},
    )
