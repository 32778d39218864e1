"""What one address may cost over HTTP: requests, pipelines, unread answers, connections, computing time."""

import asyncio
import logging
import time
from typing import cast

import httpx
import pytest

from mimi_mqtt.config import HttpSettings, OtaSettings, SharesSettings
from mimi_mqtt.http import admission, monitoring
from mimi_mqtt.http.admission import REFUSALS_BURST
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.http.protocol import MAX_HEAD_BYTES, MAX_PIPELINED
from mimi_mqtt.shares import KnownAddresses
from tests.integration.http.conftest import Server, Start
from tests.integration.http.raw import PATIENCE_S, RawHttp, wait_until_freed

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


async def status_from(server: Server, address: str, path: str = "/healthz") -> int:
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(
        timeout=60.0, transport=transport, base_url=f"http://127.0.0.1:{server.port}"
    ) as client:
        return (await client.get(path)).status_code


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/", "/nothing", "/xiaozhi/ota/", "/mqtt"])
async def test_requests_to_every_path_are_counted_by_address(start: Start, path: str) -> None:
    server = await start(shares=SharesSettings(http_requests_per_minute=5))
    statuses = [(await server.client.get(path)).status_code for _ in range(5)]
    assert 429 not in statuses
    refused = await server.client.get(path)
    assert refused.status_code == 429
    assert "shares.http_requests_per_minute" in refused.json()["error"]
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["connection"] == "close"
    assert await status_from(server, "127.0.0.2", path) == statuses[0]
    assert "HTTP requests" in server.ledger.summary()


async def test_an_address_over_its_bound_is_refused_before_its_request_is_read(start: Start) -> None:
    server = await start(shares=SharesSettings(http_requests_per_minute=1))
    assert (await server.client.get("/healthz")).status_code == 200
    client = await RawHttp.open(server.port)
    client.writer.write(b"\x00 this is no HTTP at all")
    assert (await client.head()).startswith(b"HTTP/1.1 429")
    assert b"http_requests_per_minute" in await client.rest()
    await client.close()


async def test_who_goes_on_over_its_bound_is_aborted_at_accept(start: Start) -> None:
    server = await start(shares=SharesSettings(http_requests_per_minute=1))
    assert (await server.client.get("/healthz")).status_code == 200
    answers = []
    for _ in range(int(REFUSALS_BURST) + 10):
        client = await RawHttp.open(server.port)
        client.writer.write(GET % b"/healthz")
        answers.append(await client.rest())
        await client.close()
    assert answers[0].startswith(b"HTTP/1.1 429")
    assert answers[-1] == b""
    assert await status_from(server, "127.0.0.2") == 200


async def test_a_pipeline_stops_at_the_bound_of_its_address(start: Start) -> None:
    server = await start(shares=SharesSettings(http_requests_per_minute=5))
    client = await RawHttp.open(server.port)
    client.writer.write(GET % b"/healthz" * 10)
    answers = await client.rest()
    assert answers.count(b"HTTP/1.1 200") == 5
    assert answers.count(b"HTTP/1.1 429") == 1
    await client.close()


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_connection_may_pipeline_so_many_requests(server: Server, at_once: bool) -> None:
    client = await RawHttp.open(server.port)
    requests = GET % b"/metrics" * 400
    if at_once:
        client.writer.write(requests)
    else:
        for at in range(0, len(requests), 1_000):
            client.writer.write(requests[at : at + 1_000])
            await asyncio.sleep(0)
    answers = await client.rest()
    assert 1 <= answers.count(b"HTTP/1.1 200") <= MAX_PIPELINED + 1
    assert "pipelined HTTP requests" in server.ledger.summary()
    await client.close()


async def test_requests_one_after_another_are_no_pipeline(server: Server) -> None:
    for _ in range(MAX_PIPELINED + 20):
        assert (await server.client.get("/healthz")).status_code == 200
    assert server.ledger.summary() == ""


async def test_an_answer_that_is_not_read_is_given_up(start: Start) -> None:
    server = await start(
        shares=SharesSettings(http_requests_per_minute=100_000, http_cpu_percent=100), write_timeout_s=0.05
    )
    # Answers larger than the kernel takes: the page shows each part's detail.
    server.health["big"] = PartHealth(True, "x" * 8_000_000)
    client = await RawHttp.open(server.port, limit=1_024)
    client.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        while "unread HTTP answers" not in server.ledger.summary():  # noqa: ASYNC110  # the ledger has no event
            await asyncio.sleep(0.01)
        while server.http.connections:  # noqa: ASYNC110  # nor have connections that end
            await asyncio.sleep(0)
    await client.close()


class Costly:
    """The health of a part that takes 10 ms of computing to find out, each time that it is asked."""

    detail = ""

    @property
    def ok(self) -> bool:
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass
        return True


async def test_the_computing_time_of_answers_is_bounded_by_address(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_CPU_BURST_MS", 100.0)
    server = await start(shares=SharesSettings(http_cpu_percent=1))
    server.health["costly"] = cast(PartHealth, Costly())
    statuses = [(await server.client.get("/healthz")).status_code for _ in range(12)]
    assert statuses[:3] == [200] * 3
    assert statuses[-1] == 429
    assert "shares.http_cpu_percent" in (await server.client.get("/")).json()["error"]
    assert await status_from(server, "127.0.0.2") == 200


async def test_metrics_are_collected_once_a_second_at_most(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = []

    def generate() -> bytes:
        collected.append(1)
        return b"some 1\n"

    monkeypatch.setattr(monitoring, "generate_latest", generate)
    monkeypatch.setattr(monitoring, "METRICS_CACHE_S", 3600.0)
    assert {(await server.client.get("/metrics")).text for _ in range(5)} == {"some 1\n"}
    assert len(collected) == 1


@pytest.mark.parametrize("step", [200_000, 1_000])
async def test_a_head_beyond_its_bound_is_refused_however_it_arrives(server: Server, step: int) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n"
    for beginning in (b"", GET % b"/healthz"):  # the first request, and one behind another
        client = await RawHttp.open(server.port)
        data = beginning + request
        for at in range(0, len(data), step):
            client.writer.write(data[at : at + step])
        answers = await client.rest()
        assert answers.count(b"HTTP/1.1 200") <= len(beginning[:1])
        await client.close()


async def test_a_head_of_the_greatest_size_is_answered(server: Server) -> None:
    client = await RawHttp.open(server.port)
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: %b\r\n\r\n"
    client.writer.write(head % (b"y" * (MAX_HEAD_BYTES - len(head) + 2)))
    assert (await client.rest()).startswith(b"HTTP/1.1 200")
    await client.close()


async def test_a_request_with_two_lengths_is_refused_and_its_connection_closed(server: Server) -> None:
    client = await RawHttp.open(server.port)
    client.writer.write(
        b"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: x\r\nDevice-Id: aa:bb:cc:00:11:22\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET % b"/healthz"
    )
    answers = await client.rest()
    assert answers.startswith(b"HTTP/1.1 400")
    assert answers.count(b"HTTP/1.1") == 1
    assert len(server.directory) == 0
    await client.close()


@pytest.mark.parametrize(
    "half",
    [
        b"GET /healthz HTTP/1.1\r\nHo",
        b"POST /ota/ HTTP/1.1\r\nHost: x\r\nDevice-Id: aa:bb:cc:00:11:22\r\nContent-Length: 50\r\n\r\n{",
        b"POST /ota/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"GET / HTTP/1.1\r\n\r\nnonsense",
        GET % b"/healthz" + b"GET",
    ],
)
async def test_a_stop_amid_half_sent_requests_logs_no_traceback(
    server: Server, half: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    clients = [await RawHttp.open(server.port) for _ in range(5)]
    for client in clients:
        client.writer.write(half)
        await client.written()
    await server.client.get("/healthz")  # what was sent before has been read
    async with asyncio.timeout(5):
        await server.http.aclose()
    for client in clients:
        await client.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []


async def test_a_fleet_behind_one_address_boots_at_once(start: Start) -> None:
    """300 devices after a power cut, by default settings: all have connected before the first one asks."""
    server = await start(ota=OtaSettings(new_devices_per_hour=1_000))

    async def connected(number: int, source: str) -> tuple[int, RawHttp]:
        return number, await RawHttp.open(server.port, source)

    async def boot(number: int, client: RawHttp) -> bytes:
        client.writer.write(
            b"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: 192.168.1.5:8003\r\nConnection: close\r\n"
            b"Device-Id: aa:bb:cc:00:%02x:%02x\r\nClient-Id: %d\r\nContent-Length: 2\r\n\r\n{}"
            % (number // 256, number % 256, number)
        )
        answer = await client.rest()
        await client.close()
        return answer

    for sources in (["127.0.0.2", "127.0.0.3", "127.0.0.4"], ["127.0.0.5"] * 3):  # new ones, then a fleet
        clients = [await connected(number, sources[number // 100]) for number in range(300)]
        answers = await asyncio.gather(*(boot(*client) for client in clients))
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    assert server.ledger.summary() == ""


class TestConnections:
    async def test_an_address_loses_its_own_oldest_beyond_its_share(self, start: Start) -> None:
        server = await start(shares=SharesSettings(http_connections_per_address=3))
        mine = [await RawHttp.open(server.port, "127.0.0.2") for _ in range(4)]
        assert await mine[0].rest() == b""
        mine[3].writer.write(GET % b"/healthz")
        assert (await mine[3].head()).startswith(b"HTTP/1.1 200")
        assert "HTTP connections" in server.ledger.summary()
        assert "127.0.0.2" in server.ledger.summary()
        for client in mine:
            await client.close()

    async def test_when_full_the_oldest_of_whoever_has_most_goes(self, start: Start) -> None:
        server = await start(
            http=HttpSettings(max_connections=6), shares=SharesSettings(device_reserve_percent=0)
        )
        other = await RawHttp.open(server.port, "127.0.0.3")
        greedy = [await RawHttp.open(server.port, "127.0.0.2") for _ in range(5)]
        assert await status_from(server, "127.0.0.4") == 200
        assert await greedy[0].rest() == b""
        other.writer.write(GET % b"/healthz")
        assert (await other.head()).startswith(b"HTTP/1.1 200")
        for client in [other, *greedy]:
            await client.close()

    async def test_addresses_of_devices_have_a_reserve(self, start: Start) -> None:
        known = KnownAddresses()
        known.add("127.0.0.9")
        server = await start(http=HttpSettings(max_connections=4), known=known)
        strangers = [await RawHttp.open(server.port, f"127.0.0.{number}") for number in (2, 3, 4)]
        assert await strangers[0].rest() == b""
        devices = [await RawHttp.open(server.port, "127.0.0.9") for _ in range(2)]
        for client in (*devices, *strangers[1:]):
            client.writer.write(GET % b"/healthz")
            assert (await client.head()).startswith(b"HTTP/1.1 200")
        for client in [*devices, *strangers]:
            await client.close()

    async def test_one_that_is_being_answered_is_spared(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = await start(shares=SharesSettings(http_connections_per_address=2))
        asked, answer = asyncio.Event(), asyncio.Event()

        async def slow(_: str) -> None:
            asked.set()
            await answer.wait()

        monkeypatch.setattr(server.directory, "registration", slow)
        busy = await RawHttp.open(server.port)
        busy.writer.write(
            b"POST /ota/ HTTP/1.1\r\nHost: x\r\nDevice-Id: aa:bb:cc:00:11:22\r\nContent-Length: 2\r\n\r\n{}"
        )
        async with asyncio.timeout(PATIENCE_S):
            await asked.wait()
        idle = [await RawHttp.open(server.port) for _ in range(2)]
        assert await idle[0].rest() == b""
        answer.set()
        assert (await busy.head()).startswith(b"HTTP/1.1")
        for client in [busy, *idle]:
            await client.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    ],
    ids=["silent", "half a head", "answered", "half a body", "pipelined"],
)
async def test_a_connection_that_ended_is_freed_without_the_garbage_collector(
    server: Server, sent: bytes
) -> None:
    """What a flood of connections leaves would wait for a full collection otherwise, which are rare."""
    client = await RawHttp.open(server.port)
    client.writer.write(sent)
    if sent.endswith(b"\r\n\r\n"):
        await client.head()
    assert server.http._server is not None
    connections = server.http._server.server_state.connections
    async with asyncio.timeout(PATIENCE_S):
        while not connections:  # noqa: ASYNC110  # the accept has no event
            await asyncio.sleep(0.001)
    await wait_until_freed(client, connections)
