"""Devices over a WebSocket, with the whole server in this process: who is let in, speech, and the end."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mimi_mqtt.app import App
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.config import Settings
from mimi_mqtt.store import devices
from mimi_mqtt.transports.websocket_capacity import PROBE_INTERVAL_S
from mimi_mqtt.transports.websocket_device import MAX_UNSENT_AUDIO_BYTES
from mimi_mqtt.wire.messages import Stt, encode
from mimi_mqtt.wire.websocket_frame import pack, unpack
from tests.databases import new_database

MAC, CLIENT = "aa:bb:cc:00:11:22", "5f1e6a3e-0000-4000-8000-000000000001"
TIMEOUT_S = 20


@asynccontextmanager
async def serving(
    folder: Path,
    transport: str = "websocket",
    http: Mapping[str, object] | None = None,
    *,
    fallback: bool = True,
) -> AsyncIterator[App]:
    anywhere: dict[str, object] = {"bind": "127.0.0.1:0"}
    providers = {"stt": "offline", "llm": "offline", "tts": "offline"}
    settings = Settings.model_validate(
        {
            "server": {"data_dir": folder},
            "http": anywhere | dict(http or {}), "mqtt": anywhere, "udp": anywhere,
            "ota": {"transport": transport, "fallback": fallback}, "providers": providers,
            "assistant": {"wake_word": "answer"},
        }
    )  # fmt: skip
    new_database(folder)
    app = App(settings, {})
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def provisioned(
    app: App, mac: str = MAC, client: str = CLIENT, agent: str = "box/2.5.0"
) -> tuple[str, str]:
    """The address and the token that OTA gives a device whose User-Agent is `agent`."""
    asking = {"Device-Id": mac, "Client-Id": client, "User-Agent": agent}
    body = {"application": {"version": "2.5.0"}}
    async with httpx.AsyncClient(timeout=60.0, base_url=f"http://127.0.0.1:{app.http_port}") as http:
        reply = await http.post("/xiaozhi/ota/", headers=asking, json=body)
    section = reply.json()["websocket"]
    return section["url"], section["token"]


def headers(token: str, mac: str = MAC, client: str = CLIENT, version: int = 1) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}", "Device-Id": mac, "Client-Id": client,
        "Protocol-Version": str(version),
    }  # fmt: skip


def hello(version: int = 1) -> str:
    audio = {"format": "opus", "sample_rate": 16_000, "channels": 1, "frame_duration": 60}
    return json.dumps({"type": "hello", "version": version, "transport": "websocket", "audio_params": audio})


@asynccontextmanager
async def device(app: App, version: int = 1) -> AsyncIterator[ClientConnection]:
    url, token = await provisioned(app)
    async with connect(url, additional_headers=headers(token, version=version), compression=None) as socket:
        yield socket


async def answer(socket: ClientConnection) -> dict[str, Any]:
    """The next control message."""
    async with asyncio.timeout(TIMEOUT_S):
        while not isinstance(message := await socket.recv(), str):
            pass
    told: dict[str, Any] = json.loads(message)
    return told


async def ended(socket: ClientConnection) -> None:
    """Waits until the server has closed the connection."""
    async with asyncio.timeout(TIMEOUT_S):
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()


async def opened(socket: ClientConnection, version: int = 1) -> str:
    """Says hello; the session's id."""
    await socket.send(hello(version))
    told = await answer(socket)
    assert (told["type"], told["transport"]) == ("hello", "websocket")
    assert "udp" not in told
    return str(told["session_id"])


async def reply_to(
    socket: ClientConnection, session: str, text: str
) -> tuple[list[Mapping[str, Any]], list[bytes]]:
    """The messages and frames that answer `text`, up to the end of the speech."""
    await socket.send(json.dumps({"session_id": session, "type": "listen", "state": "detect", "text": text}))
    messages: list[Mapping[str, Any]] = []
    frames: list[bytes] = []
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            message = await socket.recv()
            if isinstance(message, bytes):
                frames.append(message)
                continue
            messages.append(json.loads(message))
            if messages[-1].get("state") == "stop":
                return messages, frames


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_device_is_answered_in_its_version(tmp_path: Path, version: int) -> None:
    async with serving(tmp_path) as app, device(app, version) as socket:
        session = await opened(socket, version)
        for _ in range(2):
            messages, frames = await reply_to(socket, session, "what is two plus two")
            kinds = [(message["type"], message.get("state")) for message in messages]
            assert kinds[0] == ("stt", None)
            assert ("tts", "start") in kinds
            assert len(frames) > 5
            content = [unpack(version, frame) for frame in frames]
            assert all(frame.payload and not frame.is_json for frame in content)
            if version == 2:
                stamps = [frame.timestamp for frame in content]
                assert stamps == sorted({*stamps})


def speech(seconds: float) -> list[bytes]:
    """A tone as a device sends it."""
    encoder = OpusEncoder(16_000, application="voip")
    frame = (8_000 * np.sin(np.arange(960) * 0.2)).astype(np.int16)
    return [encoder.encode(frame) for _ in range(int(seconds / 0.06))]


@pytest.mark.parametrize(("version", "sent_as"), [(1, 1), (2, 2), (3, 3), (2, 1), (3, 1)])
async def test_audio_reaches_the_session_also_when_it_is_bare(
    tmp_path: Path, version: int, sent_as: int
) -> None:
    async with serving(tmp_path) as app, device(app, version) as socket:
        session = await opened(socket, version)
        audio = app._parts.live.websockets._devices["aa-bb-cc-00-11-22"].audio
        assert audio is not None
        await socket.send(
            json.dumps({"session_id": session, "type": "listen", "state": "start", "mode": "manual"})
        )
        for number, packet in enumerate(speech(1.2)):
            await socket.send(pack(sent_as, packet, number * 60))
        await socket.send(b"")
        await socket.send(b"\x00\x01garbage")
        await socket.send(json.dumps({"session_id": session, "type": "listen", "state": "stop"}))
        await socket.send(hello(version))  # answered after all that came before
        told = await answer(socket)
        while told["type"] != "hello":
            told = await answer(socket)
        assert (audio.stats.received, audio.ready) == (20, False)


async def test_a_connection_has_several_sessions_one_after_the_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        first = await opened(socket)
        await socket.send(json.dumps({"session_id": first, "type": "goodbye"}))
        second = await opened(socket)
        assert second != first
        _, frames = await reply_to(socket, second, "what is two plus two")
        assert frames


@pytest.mark.parametrize(
    ("changed", "status", "told"),
    [
        ({"Authorization": "Bearer nonsense"}, 401, "wrong token"),
        ({"Authorization": ""}, 401, "wrong token"),
        ({"Device-Id": "aa:bb:cc:00:11:99"}, 401, "wrong token"),
        ({"Client-Id": "somebody-else"}, 401, "wrong token"),
        ({"Device-Id": "nobody"}, 400, "is not a MAC address"),
        ({"Protocol-Version": "9"}, 400, "does not exist: there are 1, 2, 3"),
    ],
    ids=str,
)
async def test_who_does_not_show_its_own_credentials_is_refused(
    tmp_path: Path, changed: dict[str, str], status: int, told: str
) -> None:
    async with serving(tmp_path) as app:
        url, token = await provisioned(app)
        await provisioned(app, "aa:bb:cc:00:11:99", "another")
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(url, additional_headers=headers(token) | changed):
                pass
        assert refusal.value.response.status_code == status
        assert told in json.loads(refusal.value.response.body or b"{}")["error"]


@pytest.mark.parametrize("authorization", ["{token}", "bearer {token}", ""])
async def test_a_token_may_come_without_the_word_and_in_the_query(tmp_path: Path, authorization: str) -> None:
    async with serving(tmp_path) as app:
        url, token = await provisioned(app)
        if authorization:
            shown = headers(token) | {"Authorization": authorization.format(token=token)}
            async with connect(url, additional_headers=shown) as socket:
                await opened(socket)
        else:
            query = f"?token={token}&device-id={MAC}&client-id={CLIENT}"
            async with connect(url + query) as socket:
                await opened(socket)


async def test_behind_a_proxy_with_tls_a_device_is_told_the_proxy_and_is_let_in(tmp_path: Path) -> None:
    passed_on = {
        "X-Forwarded-Host": "voice.example.org",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "192.0.2.1",
    }
    known: dict[str, object] = {"trusted_proxies": ["127.0.0.1"], "allowed_hosts": ["voice.example.org"]}
    async with serving(tmp_path, http=known) as app:
        async with httpx.AsyncClient(timeout=60.0, base_url=f"http://127.0.0.1:{app.http_port}") as http:
            ids = {"Device-Id": MAC, "Client-Id": CLIENT}
            section = (await http.post("/ota/", headers=ids | passed_on)).json()["websocket"]
        assert section["url"] == "wss://voice.example.org/xiaozhi/v1/"
        shown = headers(section["token"]) | passed_on
        async with connect(f"ws://127.0.0.1:{app.http_port}/xiaozhi/v1/", additional_headers=shown) as socket:
            await opened(socket)
    async with (
        serving(tmp_path) as app,
        httpx.AsyncClient(timeout=60.0, base_url=f"http://127.0.0.1:{app.http_port}") as http,
    ):
        stranger = (await http.post("/ota/", headers=ids | passed_on)).json()["websocket"]
        assert stranger["url"].startswith("ws://127.0.0.1:")


async def test_a_query_of_many_fields_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        url, token = await provisioned(app)
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(url + "?" + "a=b&" * 100, additional_headers=headers(token)):
                pass
        assert refusal.value.response.status_code == 400
        assert b"more than 16 fields" in (refusal.value.response.body or b"")


async def test_a_new_connection_of_a_device_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as old:
        await opened(old)
        async with device(app) as new:
            await ended(old)
            await opened(new)
            assert len(app._parts.live.websockets) == 1


async def test_a_revoked_device_is_told_goodbye_and_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        session = await opened(socket)
        app._parts.live._revoked("aa-bb-cc-00-11-22")
        told = await answer(socket)
        assert (told["type"], told["session_id"]) == ("goodbye", session)
        with pytest.raises(ConnectionClosed):
            await answer(socket)


async def test_stock_firmware_is_sent_home_by_the_end_of_its_connection(tmp_path: Path) -> None:
    """It does not know `goodbye`, and listened for ever."""
    stale = {"type": "listen", "session_id": "0" * 32, "state": "start", "mode": "auto"}
    async with serving(tmp_path) as app:
        for idle in (True, False):
            async with device(app) as socket:
                if idle:
                    over = await opened(socket)
                    current = app._parts.live.sessions.session("aa-bb-cc-00-11-22")
                    assert current is not None
                    current.end("idle", goodbye=True)
                else:
                    over = stale["session_id"]
                    await socket.send(json.dumps(stale))
                assert await answer(socket) == {"type": "goodbye", "session_id": over}
                await ended(socket)
                assert socket.close_code == 1000


@pytest.mark.parametrize("version", [1, 3])
async def test_espressifs_component_stays_connected_after_goodbye(tmp_path: Path, version: int) -> None:
    """Its binary frames can't tell it from stock firmware over version 1: OTA does."""
    async with serving(tmp_path) as app:
        url, token = await provisioned(app, agent="esp32s3")
        shown = headers(token, version=version)
        async with connect(url, additional_headers=shown, compression=None) as socket:
            for _ in range(2):
                over = await opened(socket, version)
                current = app._parts.live.sessions.session("aa-bb-cc-00-11-22")
                assert current is not None
                current.end("idle", goodbye=True)
                assert await answer(socket) == {"type": "goodbye", "session_id": over}
            stopping = asyncio.create_task(app.stop())
            await ended(socket)
            assert socket.close_code == 1001
            await stopping


async def test_a_client_id_may_have_128_characters(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        client = "c" * 128
        url, token = await provisioned(app, client=client)
        async with connect(url, additional_headers=headers(token, client=client)) as socket:
            await opened(socket)


async def test_a_server_that_stops_says_goodbye(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        session = await opened(socket)
        stopping = asyncio.create_task(app.stop())
        told = await answer(socket)
        assert (told["type"], told["session_id"]) == ("goodbye", session)
        with pytest.raises(ConnectionClosed) as closed:
            await answer(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        await stopping


async def test_a_flood_ends_its_own_connection_only(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        await opened(socket)
        url, token = await provisioned(app, "aa:bb:cc:00:11:33", "other")
        shown = headers(token, "aa:bb:cc:00:11:33", "other")
        async with connect(url, additional_headers=shown) as other:
            for _ in range(3_000):
                await socket.send('{"type":"listen"}')
            await ended(socket)
            session = await opened(other)
            _, frames = await reply_to(other, session, "what is two plus two")
            assert frames


async def test_messages_over_mqtt_reach_it_and_watchers_see_what_it_says(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        await opened(socket)
        assert app._parts.live.mqtt.elsewhere.push("aa-bb-cc-00-11-22", b'{"type":"alert"}')
        assert await answer(socket) == {"type": "alert"}
        assert app._parts.live.mqtt.elsewhere.speak_as("aa-bb-cc-00-11-22", hello().encode())
        assert (await answer(socket))["type"] == "hello"
        assert not app._parts.live.mqtt.elsewhere.push("aa-bb-cc-00-11-99", b"{}")
        assert not app._parts.live.mqtt.elsewhere.speak_as("aa-bb-cc-00-11-99", b"{}")


async def test_only_a_device_that_is_sent_glyphs_is_pinged_and_its_pong_shows_its_speed(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        await opened(socket)
        connected = app._parts.live.websockets._devices["aa-bb-cc-00-11-22"]
        text = encode(Stt("x" * 7_000))
        connected.send(text)
        assert connected._capacity is None
        assert connected.spare_bytes() == 1_200
        connected.send(text)
        assert connected.spare_bytes() == 0
        async with asyncio.timeout(TIMEOUT_S):
            while connected.spare_bytes() <= 1_200:
                await asyncio.sleep(PROBE_INTERVAL_S)
                connected.send(text)
                await asyncio.sleep(PROBE_INTERVAL_S / 2)


async def test_a_device_that_reads_nothing_is_cut_off_with_bounded_memory(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        await opened(socket)
        connected = app._parts.live.websockets._devices["aa-bb-cc-00-11-22"]
        socket.transport.pause_reading()
        dropped = 0
        for number in range(50_000):
            if not connected.send_audio(bytes(900), number):
                dropped += 1
                break
        assert dropped
        assert connected._frames.unsent <= MAX_UNSENT_AUDIO_BYTES + 1_000
        for _ in range(200):
            connected.send(b'{"type":"alert","message":"' + b"x" * 2_000 + b'"}')
        assert not connected.open
        assert len(app._parts.live.websockets) == 0
        socket.transport.abort()  # a closing handshake would wait ten seconds for what is not read


async def test_a_frame_of_a_megabyte_ends_its_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        await opened(socket)
        with suppress(ConnectionClosed):
            await socket.send(bytes(1 << 20))
        await ended(socket)
        assert socket.close_code == 1009
        async with device(app) as again:
            await opened(again)


async def test_empty_frames_and_what_is_no_json_change_nothing_and_a_flood_is_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        await opened(socket)
        for junk in (b"", b"\xff", "", "not json", '"hello"', "[]", '{"type":', "\x00" * 100):
            await socket.send(junk)
        session = await opened(socket)
        _, frames = await reply_to(socket, session, "what is two plus two")
        assert frames
        for _ in range(6_000):
            await socket.send(b"")
        await ended(socket)


async def test_half_a_message_waits_for_its_end_and_disturbs_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, device(app) as socket:
        whole = hello()
        await socket.send([whole[:20], whole[20:]])
        assert (await answer(socket))["type"] == "hello"

        async def never_ends() -> AsyncIterator[str]:
            yield '{"type":'
            await asyncio.sleep(TIMEOUT_S)

        half = asyncio.create_task(socket.send(never_ends()))
        url, token = await provisioned(app, "aa:bb:cc:00:11:33", "other")
        async with connect(url, additional_headers=headers(token, "aa:bb:cc:00:11:33", "other")) as other:
            session = await opened(other)
            _, frames = await reply_to(other, session, "what is two plus two")
            assert frames
        half.cancel()


async def test_the_token_of_a_revoked_device_is_worth_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        url, token = await provisioned(app)
        async with app._parts.foundation.store.write() as session:
            row = await devices.get(session, "aa-bb-cc-00-11-22", lock=True)
            assert row is not None
            row.epoch += 1
            await devices.save_changed(session, row, datetime.now(UTC))
        await app._parts.fleet.directory.refresh()
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(url, additional_headers=headers(token)):
                pass
        assert refusal.value.response.status_code == 401


async def test_a_web_page_of_a_stranger_may_not_connect(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        url, token = await provisioned(app)
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(url, additional_headers=headers(token), origin="http://evil.example"):  # type: ignore[arg-type]
                pass
        assert refusal.value.response.status_code == 403
