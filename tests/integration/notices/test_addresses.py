"""One-time addresses over real HTTP: what a device is served, what anybody else is, and what it costs."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiomqtt
import httpx
import pytest
from starlette.applications import Starlette

from mimi_mqtt.commands import notice_urls, notices
from mimi_mqtt.commands.model import MAX_NOTICE_CHARS, Notify
from mimi_mqtt.commands.notice_urls import Fetch, FetchState, NoticeUrls
from mimi_mqtt.commands.notices import Notices
from mimi_mqtt.commands.waiting import MAX_PER_DEVICE
from mimi_mqtt.config import HttpSettings, SharesSettings
from mimi_mqtt.config.bind import BindAddress
from mimi_mqtt.events import EventBus
from mimi_mqtt.http.device import notices as endpoint
from mimi_mqtt.http.device.notices import GUESSES_PER_MINUTE, NOTICE_PATH, NoticeSound
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.session.reach import Reach
from mimi_mqtt.shares import Ledger
from mimi_mqtt.transports.listening import open_tcp
from mimi_mqtt.voice.notices.recording import Recording
from mimi_mqtt.voice.notices.speech import NoticeSpeech
from mimi_mqtt.voice.pool import VoicePool
from mimi_mqtt.wire.ogg import OggOpusReader
from tests.fakes.notices import FRAME, FakeDevices, MemoryOfNotices
from tests.fakes.voice import ToneTts
from tests.integration.notices.house import PASSWORD, connected, house_in, register
from tests.ogg import probe, read_by_libopusfile
from tests.unit.voice.notices.test_speech import Pool

pytestmark = pytest.mark.timeout(60)

ID = "aa-bb-cc-00-00-01"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that has connected is taken for idle almost at once."""
    monkeypatch.setattr(notices, "SETTLE_S", 0.05)


@dataclass
class Sounds:
    """An HTTP server of one-time addresses."""

    urls: NoticeUrls
    http: httpx.AsyncClient
    port: int

    def open(self, recording: Recording) -> tuple[str, Fetch]:
        """The path of a new address, and its fetch."""
        opened = self.urls.open(recording, asyncio.get_running_loop().time())
        assert opened is not None
        return NOTICE_PATH + opened[0], opened[1]


@asynccontextmanager
async def sounds(shares: Mapping[str, Any] | None = None) -> AsyncIterator[Sounds]:
    urls = NoticeUrls()
    app = Starlette(routes=NoticeSound(urls, Ledger()).routes())
    app.router.redirect_slashes = False
    plenty = {
        "http_connections_per_address": 2_000,
        "http_requests_per_minute": 100_000,
        "http_cpu_percent": 100,
    }
    server = HttpServer(
        app,
        HttpSettings(max_connections=2_000),
        shares=SharesSettings.model_validate(plenty | dict(shares or {})),
    )
    await server.start(open_tcp(BindAddress("127.0.0.1", 0), "http.bind"))
    limits = httpx.Limits(max_connections=200)
    url = f"http://127.0.0.1:{server.port}"
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, limits=limits, timeout=30) as http:
            yield Sounds(urls, http, server.port)
    finally:
        await server.aclose()


async def fetched(port: int, path: str, source: str = "127.0.0.1") -> bytes:
    """The body at `path` for a device at `source`, by a client that costs less than what it measures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return body


def made(frames: int) -> Recording:
    recording = Recording()

    async def work() -> None:
        for _ in range(frames):
            recording.add([FRAME])

    recording.make(work(), "test")
    return recording


async def test_the_sound_is_served_once_chunked_and_uncacheable(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house, connected(await register(house)) as device:
        told = asyncio.create_task(house.notify(ID, "Dinner is ready."))
        path = await device.notified()
        first = await house.http.get(path)
        assert first.status_code == 200
        assert first.headers["content-type"] == "audio/ogg"
        assert first.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in first.headers
        assert first.headers["cache-control"] == "no-store"
        assert read_by_libopusfile(first.content).channels == 1
        assert probe(first.content).channels == 1
        assert await told == "delivered"
        for again in (path, NOTICE_PATH + "A" * 22):
            assert (await house.http.get(again)).status_code == 404
        assert (await house.http.get(path)).json() == (await house.http.get(NOTICE_PATH + "x")).json()


async def test_asking_for_the_head_alone_uses_nothing_up() -> None:
    async with sounds() as server:
        path, fetch = server.open(made(3))
        for _ in range(3):
            head = await server.http.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == "audio/ogg"
        assert len(server.urls) == 1
        assert (await server.http.post(path)).status_code == 405
        assert (await server.http.get(path)).status_code == 200
        assert (await server.http.head(path)).status_code == 404
        assert fetch.state is FetchState.WHOLE


async def test_two_at_once_get_it_once() -> None:
    async with sounds() as server:
        path, _ = server.open(made(3))
        replies = await asyncio.gather(*[server.http.get(path) for _ in range(20)])
        assert sorted(reply.status_code for reply in replies) == [200, *[404] * 19]


async def test_an_address_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice_urls, "FETCH_WITHIN_S", 0.05)
    async with sounds() as server:
        path, _ = server.open(made(3))
        await asyncio.sleep(0.1)
        assert (await server.http.get(path)).status_code == 404


async def test_the_first_sound_is_served_while_the_rest_is_made() -> None:
    go_on, recording = asyncio.Event(), Recording()

    async def work() -> None:
        recording.add([FRAME] * 4)
        await go_on.wait()
        recording.add([FRAME] * 4)

    recording.make(work(), "test")
    async with sounds() as server:
        path, fetch = server.open(recording)
        reader, packets = OggOpusReader(), 0
        async with server.http.stream("GET", path) as reply:
            async for piece in reply.aiter_raw():
                packets += len(reader.feed(piece))
                if packets:
                    go_on.set()
        assert packets == 8
        reader.finish()
        assert fetch.state is FetchState.WHOLE


async def test_no_more_than_some_seconds_are_sent_ahead() -> None:
    async with sounds() as server:
        path, fetch = server.open(made(1_000))
        reader, packets = OggOpusReader(), 0
        async with server.http.stream("GET", path) as reply:
            async for piece in reply.aiter_raw():
                packets += len(reader.feed(piece))
                if packets >= 75:
                    break
            assert packets * 0.06 < endpoint.AHEAD_S + 1.5
            assert not fetch.ended.is_set()
        await fetch.ended.wait()
        assert fetch.state is FetchState.PARTLY


async def test_a_device_that_leaves_half_way_ends_what_nobody_else_wants(
    tmp_path: Path, melody: bytes
) -> None:
    async with house_in(tmp_path) as house, connected(await register(house)) as device:
        told = asyncio.create_task(house.notify(ID, "A melody.", audio=melody))
        async with house.http.stream("GET", await device.notified()) as reply:
            async for _ in reply.aiter_raw():
                break
        assert await told == "partly"
        assert len(house.app._parts.commands.notices) == 0


async def test_a_reader_that_takes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_FETCH_S", 0.3)
    async with sounds() as server:
        path, fetch = server.open(made(1_000))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1_024)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await fetch.ended.wait()
        assert fetch.state is FetchState.PARTLY
        writer.close()
        del reader


@pytest.fixture
def _no_collection() -> Iterator[None]:
    """Spares clients the garbage collections of the tests' large process: each would be charged to the one
    that is being answered."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
async def test_one_text_to_a_thousand_devices_is_synthesised_once() -> None:
    voice = ToneTts(ms_per_char=20, delay_s=0.05)
    speech = NoticeSpeech(cast(VoicePool, Pool(voice)), 24_000)

    class Voices:
        async def speak(self, text: str, agent: str, language: str) -> Recording:
            return await speech.speak(text, agent, language)

        async def record(self, sound: object) -> Recording:
            raise NotImplementedError

    ids = [f"aa-bb-cc-00-{number // 256:02x}-{number % 256:02x}" for number in range(1_000)]
    devices = FakeDevices(dict.fromkeys(ids, Reach.NOTIFY))
    async with sounds() as server:
        desk = Notices(
            devices, Voices(), server.urls, MemoryOfNotices(), EventBus(),
            address=lambda _: "", path=NOTICE_PATH,
        )  # fmt: skip
        await desk.start()

        at_once = asyncio.Semaphore(100)

        async def hear(path: str, number: int) -> int:
            reader = OggOpusReader()
            async with at_once:
                packets = len(reader.feed(await fetched(server.port, path, f"127.0.1.{number % 200 + 1}")))
            reader.finish()
            return packets

        told = [
            asyncio.create_task(desk.tell(Notify(device_id=each, text="Fire! Leave the house."), 50))
            for each in ids
        ]
        while len(devices.notified) < len(ids):  # noqa: ASYNC110 - it has no event of its own
            await asyncio.sleep(0.02)
        heard = await asyncio.gather(
            *[hear(url, number) for number, (_, url, _) in enumerate(devices.notified)]
        )
        assert len(heard) == 1_000
        assert set(heard) == {heard[0]}
        assert {how for how, _ in await asyncio.gather(*told)} == {"delivered"}
        await desk.aclose()
    assert voice.texts == ["Fire!", "Leave the house."]


# ── attacks ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_guessing_addresses_is_refused_after_some(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        statuses = [
            (await house.http.get(f"{NOTICE_PATH}{number:022d}")).status_code
            for number in range(GUESSES_PER_MINUTE + 5)
        ]
        assert statuses == [404] * GUESSES_PER_MINUTE + [429] * 5
        refused = await house.http.get(NOTICE_PATH + "x" * 22)
        assert int(refused.headers["retry-after"]) >= 1
        # Other paths go on.
        assert (await house.http.get("/healthz")).status_code == 200


async def test_a_device_behind_the_same_proxy_as_who_guesses_is_served() -> None:
    async with sounds() as server:
        while (await server.http.get(NOTICE_PATH + "x" * 22)).status_code != 429:
            pass
        path, fetch = server.open(made(3))
        assert (await server.http.get(path)).status_code == 200
        assert fetch.state is FetchState.WHOLE


async def test_guesses_count_among_all_requests_of_an_address() -> None:
    async with sounds({"http_requests_per_minute": 5}) as server:
        statuses = [(await server.http.get(NOTICE_PATH + "x" * 22)).status_code for _ in range(8)]
        assert statuses == [404] * 5 + [429] * 3


@pytest.mark.parametrize("path", ["../n/x", "%2e%2e/", "x" * 5_000, "a/b", "é", "%00", " "])
async def test_odd_addresses_are_not_found(path: str) -> None:
    async with sounds() as server:
        assert (await server.http.get(NOTICE_PATH + path)).status_code in (404, 405)


async def test_another_page_may_not_fetch_it_through_a_browser(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house, connected(await register(house)) as device:
        told = asyncio.create_task(house.notify(ID))
        path = await device.notified()
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            assert (await house.http.get(path, headers=headers)).status_code in (403, 421)
        assert (await house.http.get(path)).status_code == 200
        assert await told == "delivered"


async def test_the_address_is_in_no_log_and_shown_to_no_watcher(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with house_in(tmp_path) as house, connected(await register(house)) as device:
        watcher = aiomqtt.Client("127.0.0.1", house.app.mqtt_port, username="admin", password=PASSWORD)
        async with watcher:
            await watcher.subscribe(f"mimi/devices/{ID}/down")
            told = asyncio.create_task(house.notify(ID, "A secret dinner."))
            path = await device.notified()
            async with asyncio.timeout(10):
                shown = await anext(aiter(watcher.messages))
            assert isinstance(shown.payload, bytes)
            assert b'"notify"' in shown.payload
            assert b"***" in shown.payload
            await house.http.get(path)
            await house.http.get(path)
            assert await told == "delivered"
    secret = path.rpartition("/")[2]
    assert secret.encode() not in shown.payload
    ours = [record for record in caplog.records if not record.name.startswith("http")]  # the client's own
    assert not [record for record in ours if secret in record.getMessage()]
    written = [record.getMessage() for record in ours if record.levelno >= logging.INFO]
    assert written
    assert not [line for line in written if "secret dinner" in line]


async def test_a_flood_of_notices_is_refused_and_harms_no_other_device(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        await register(house, 1)
        async with connected(await register(house, 2)) as other:
            flood = [
                house.run(Notify(device_id=ID, text="x" * MAX_NOTICE_CHARS, expires_s=100.0))
                for _ in range(300)
            ]
            results = await asyncio.gather(*flood)
            accepted = [result for result in results if result.status == "done"]
            assert len(accepted) == MAX_PER_DEVICE
            assert {result.refusal.value for result in results if result.refusal is not None} == {"busy"}
            told = asyncio.create_task(house.notify(other.device_id))
            await house.http.get(await other.notified())
            assert await told == "delivered"


async def test_one_device_may_not_notify_another(tmp_path: Path, bell: bytes) -> None:
    async with house_in(tmp_path) as house:
        first, second = await register(house, 1), await register(house, 2)
        mine = (first["username"], first["password"])
        path = f"/xiaozhi/notify/{second['client_id']}"
        assert (await house.http.post(path, content=bell, auth=mine)).status_code == 403
        own = await house.http.post(f"/xiaozhi/notify/{first['client_id']}", content=bell, auth=mine)
        assert own.json()["result"]["how"] == "waiting"
        assert len(house.app._parts.commands.notices) == 1


# ── sounds that people send ──────────────────────────────────────────────────────────────────────────────


async def test_a_sound_is_sent_over_http_by_who_may(tmp_path: Path, bell: bytes) -> None:
    async with house_in(tmp_path) as house, connected(await register(house)) as device:
        path, admin = f"/xiaozhi/notify/{ID}", ("admin", PASSWORD)
        for wrong in (("admin", "guess"), ("", ""), (ID, "guess"), ("$command-line", "guess")):
            refused = await house.http.post(path, content=bell, auth=wrong)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic")
        sending = asyncio.create_task(
            house.http.post(path, params={"text": "A bell.", "urgent": "true"}, content=bell, auth=admin)
        )
        sound = await house.http.get(await device.notified())
        assert read_by_libopusfile(sound.content).channels == 1
        told = (await sending).json()
        assert (told["status"], told["result"]["how"]) == ("done", "delivered")


@pytest.mark.parametrize(
    ("query", "body", "status", "complaint"),
    [
        ({}, b"", 400, "sound file"),
        ({}, b"no sound at all, but a text", 400, "decoded"),
        ({"urgent": "maybe"}, b"x", 400, "urgent"),
        ({"expires_s": "soon"}, b"x", 400, "expires_s"),
        ({"expires_s": "nan"}, b"x", 400, "expires_s"),
        ({"text": "x" * 2_001}, b"x", 400, "text"),
        ({"volume": "11"}, b"x", 400, "volume"),
    ],
)
async def test_a_wrong_sound_or_query_is_refused_with_the_reason(
    tmp_path: Path, query: dict[str, str], body: bytes, status: int, complaint: str
) -> None:
    async with house_in(tmp_path) as house:
        await register(house)
        reply = await house.http.post(
            f"/xiaozhi/notify/{ID}", params=query, content=body, auth=("admin", PASSWORD)
        )
        assert reply.status_code == status
        assert complaint in reply.text
        stranger = await house.http.post(
            "/xiaozhi/notify/aa-bb-cc-00-00-99", content=b"x" * 100, auth=("admin", PASSWORD)
        )
        assert stranger.status_code in (400, 404)


async def test_a_sound_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bell: bytes
) -> None:
    monkeypatch.setattr(endpoint, "MAX_UPLOAD_BYTES", 1_000)
    async with house_in(tmp_path) as house:
        await register(house)
        reply = await house.http.post(f"/xiaozhi/notify/{ID}", content=bell, auth=("admin", PASSWORD))
        assert reply.status_code == 413


async def test_sounds_that_are_being_sent_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bell: bytes
) -> None:
    monkeypatch.setattr(endpoint, "MAX_UPLOADS", 0)
    async with house_in(tmp_path) as house:
        await register(house)
        reply = await house.http.post(f"/xiaozhi/notify/{ID}", content=bell, auth=("admin", PASSWORD))
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "5")
