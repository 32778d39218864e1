import asyncio
import itertools
import json
import logging
from typing import Literal

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimi_mqtt.cli import main
from mimi_mqtt.config import HttpSettings, OtaSettings, SharesSettings
from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet import activation, registration
from mimi_mqtt.http.app import MAX_REASONS
from mimi_mqtt.store import activations
from tests.integration.http.conftest import Server, Start

MAC = "aa:bb:cc:00:11:22"
DEVICE = "aa-bb-cc-00-11-22"
HEADERS = {
    "Device-Id": MAC,
    "Client-Id": "7f9d2c1e-6a1b-4c62-9a3e-0123456789ab",
    "User-Agent": "bread-compact-wifi/2.0.4",
    "Accept-Language": "en-US",
    "Activation-Version": "1",
}


@pytest.fixture
async def generous(start: Start) -> Server:
    """A server that never says "too many"."""
    return await start(
        http=HttpSettings(requests_per_minute=100_000),
        shares=SharesSettings(http_requests_per_minute=100_000, http_cpu_percent=100),
    )


async def ask(server: Server, path: str = "/xiaozhi/ota/", **headers: str) -> httpx.Response:
    extra = {name.replace("_", "-"): text for name, text in headers.items()}
    return await server.client.post(path, headers=HEADERS | extra, json={"version": 2})


@pytest.mark.parametrize("path", ["/xiaozhi/ota/", "/xiaozhi/ota", "/api/ota/", "/api/ota", "/ota/", "/ota"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_device_is_answered_at_every_known_address(server: Server, path: str, method: str) -> None:
    reply = await server.client.request(method, path, headers=HEADERS)
    assert reply.status_code == 200
    assert reply.headers["content-length"] == str(len(reply.content))
    assert "server" not in reply.headers
    told = reply.json()
    assert told["mqtt"]["endpoint"] == "127.0.0.1:1883"
    assert told["mqtt"]["client_id"] == told["mqtt"]["username"] == DEVICE
    assert isinstance(told["mqtt"]["keepalive"], int)
    assert len(bytes.fromhex(told["udp"]["key"])) == 16
    password = told["mqtt"]["password"].encode()
    assert server.directory.authenticate(DEVICE, DEVICE, password) is not None


async def test_credentials_survive_a_restart_of_the_server(start: Start) -> None:
    first = await start()
    before = (await ask(first)).json()
    await first.http.aclose()
    await first.directory.aclose()
    await first.store.aclose()
    second = await start()
    password = before["mqtt"]["password"].encode()
    assert second.directory.authenticate(DEVICE, DEVICE, password) is not None
    after = (await ask(second)).json()
    assert (before["mqtt"], before["udp"]) == (after["mqtt"], after["udp"])


@pytest.mark.parametrize(
    ("host", "advertised"),
    [
        ("voice.lan:8003", "voice.lan"),
        ("192.168.7.7", "192.168.7.7"),
        ("[::1]:8003", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
    ],
)
async def test_the_advertised_host_is_the_one_used_if_it_can_be_one(
    server: Server, host: str, advertised: str
) -> None:
    told = (await ask(server, Host=host)).json()
    assert told["mqtt"]["endpoint"] == f"{advertised}:1883"
    assert told["udp"]["server"] == advertised


async def test_forwarded_headers_of_strangers_are_not_believed(start: Start) -> None:
    server = await start(http=HttpSettings(requests_per_minute=2))
    replies = [
        await ask(server, X_Forwarded_Host="evil.example", X_Forwarded_For=f"10.0.0.{number}")
        for number in range(3)
    ]
    assert replies[0].json()["mqtt"]["endpoint"] == "127.0.0.1:1883"
    assert [reply.status_code for reply in replies] == [200, 200, 429]


async def test_a_public_host_is_told_whatever_the_device_used(start: Start) -> None:
    server = await start(public_host="voice.example")
    assert (await ask(server)).json()["mqtt"]["endpoint"] == "voice.example:1883"


async def test_a_server_reached_by_ipv6_alone_says_what_to_set(server: Server) -> None:
    transport = httpx.ASGITransport(app=server.app)
    async with httpx.AsyncClient(
        timeout=60.0, transport=transport, base_url="http://[fd00::1]:8003"
    ) as client:
        reply = await client.post("/ota/", headers=HEADERS)
    assert reply.status_code == 400
    assert "server.public_host" in reply.json()["error"]


async def test_activation_from_the_first_question_to_the_credentials(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = await start(ota=OtaSettings(new_devices="activate"))
    monkeypatch.chdir(server.folder)
    monkeypatch.setenv("MIMI_SERVER__DATA_DIR", str(server.folder))
    asked = (await ask(server)).json()
    assert "mqtt" not in asked
    assert "udp" not in asked
    code = asked["activation"]["code"]
    assert asked["activation"]["timeout_ms"] > 0

    async def poll(**headers: str) -> httpx.Response:
        return await server.client.post("/xiaozhi/ota/activate", headers=HEADERS | headers, json={})

    assert (await poll()).status_code == 202
    assert await asyncio.to_thread(main, ["devices", "allow", code]) == 0
    assert "is allowed" in capsys.readouterr().out
    assert (await poll()).status_code == 200
    assert (await poll(**{"Client-Id": "another"})).status_code == 403
    told = (await ask(server)).json()
    assert "activation" not in told
    password = told["mqtt"]["password"].encode()
    assert server.directory.authenticate(DEVICE, DEVICE, password) is not None


async def test_revoking_on_the_command_line_ends_a_running_servers_device(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(server.folder)
    monkeypatch.setenv("MIMI_SERVER__DATA_DIR", str(server.folder))
    password = (await ask(server)).json()["mqtt"]["password"].encode()
    revoked: asyncio.Queue[str] = asyncio.Queue()
    server.directory.on_revoked = revoked.put_nowait
    assert await asyncio.to_thread(main, ["devices", "revoke", MAC]) == 0
    assert await revoked.get() == DEVICE
    assert server.directory.authenticate(DEVICE, DEVICE, password) is None
    assert "activation" in (await ask(server)).json()
    assert "is revoked" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["/xiaozhi/ota/activate", "/ota/activate/", "/xiaozhi/ota//activate"])
async def test_a_poll_without_a_code_is_told_to_ask_again(server: Server, path: str) -> None:
    reply = await server.client.post(path, headers=HEADERS)
    assert reply.status_code == 403
    assert "request OTA again" in reply.json()["error"]


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b'{"algorithm":"none"}', b'{"algorithm":"hmac-sha256","challenge":1}', b"\xff" * 20],
)
async def test_a_broken_poll_is_a_400_that_says_why(server: Server, body: bytes) -> None:
    reply = await server.client.post("/xiaozhi/ota/activate", headers=HEADERS, content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]


async def test_a_version_two_poll_is_checked_by_its_challenge(start: Start) -> None:
    server = await start(ota=OtaSettings(new_devices="activate"))
    challenge = (await ask(server)).json()["activation"]["challenge"]
    for sent, status in ((challenge, 202), ("0" * 32, 403)):
        body = {"algorithm": "hmac-sha256", "serial_number": "s", "challenge": sent, "hmac": "00" * 32}
        reply = await server.client.post("/xiaozhi/ota/activate", headers=HEADERS, json=body)
        assert reply.status_code == status


@pytest.mark.parametrize("mac", [None, "", "nonsense", "aa:bb:cc:00:11", "aa:bb:cc:00:11:22:33", "é" * 17])
async def test_a_request_without_a_mac_address_is_told_what_is_missing(
    server: Server, mac: str | None
) -> None:
    headers = [] if mac is None else [(b"Device-Id", mac.encode("latin-1"))]
    reply = await server.client.post("/xiaozhi/ota/", headers=headers)
    assert reply.status_code == 400
    assert "Device-Id" in reply.json()["error"]


async def test_no_more_devices_than_configured_are_taken_in(start: Start) -> None:
    server = await start(ota=OtaSettings(max_devices=1))
    assert (await ask(server)).status_code == 200
    reply = await ask(server, Device_Id="aa:bb:cc:00:11:23")
    assert reply.status_code == 503
    assert "ota.max_devices" in reply.json()["error"]
    assert (await ask(server)).status_code == 200


@pytest.mark.parametrize("new_devices", ["allow", "activate"])
async def test_one_address_brings_so_many_new_devices_and_no_more(
    start: Start, new_devices: Literal["allow", "activate"]
) -> None:
    server = await start(ota=OtaSettings(new_devices=new_devices, new_devices_per_hour=3))
    macs = [f"aa:bb:cc:00:11:{number:02x}" for number in range(5)]
    replies = [await ask(server, Device_Id=mac) for mac in macs]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert "ota.new_devices_per_hour" in replies[3].json()["error"]
    assert replies[3].headers["retry-after"]
    assert [(await ask(server, Device_Id=mac)).status_code for mac in macs[:4]] == [200, 200, 200, 429]


async def test_who_claims_to_be_a_device_from_one_address_waits_once(server: Server) -> None:
    replies = [await ask(server, Client_Id=f"uuid-{number}") for number in range(10)]
    assert {reply.status_code for reply in replies} == {200}
    async with server.store.read() as session:
        (waiting,) = await activations.list_all(session)
    assert (waiting.client_id, waiting.address) == ("uuid-9", "127.0.0.1")


async def test_four_addresses_do_not_keep_others_from_a_code(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "MAX_WAITING", 40)
    server = await start(ota=OtaSettings(new_devices="activate"))

    async def code(address: str, number: int, client_id: str = "one") -> str:
        transport = httpx.AsyncHTTPTransport(local_address=address)
        base = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(timeout=60.0, base_url=base, transport=transport) as client:
            headers = HEADERS | {"Device-Id": f"aa:bb:cc:00:11:{number:02x}", "Client-Id": client_id}
            reply = await client.post("/xiaozhi/ota/", headers=headers, json={"version": 2})
        assert reply.status_code == 200, reply.text
        shown: str = reply.json()["activation"]["code"]
        return shown

    honest = await code("127.0.2.1", 0)
    for number in range(1, 101):
        await code(f"127.0.1.{number % 4}", number)
    owner = await code("127.0.2.2", 200, "owner")
    for number in range(10):  # others claim to be the owner's device
        await code(f"127.0.3.{number}", 200, f"thief {number}")
    assert await code("127.0.2.1", 0) == honest
    assert await code("127.0.2.2", 200, "owner") == owner
    async with server.store.read() as session:
        assert len(await activations.list_all(session)) == 40


async def test_a_new_device_is_told_to_ask_again_while_the_database_is_locked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "WRITE_WITHIN_S", 0.05)
    async with server.store.write():
        reply = await ask(server)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "10")
    assert (await ask(server)).status_code == 200


async def test_forgetting_on_the_command_line_ends_a_running_servers_device(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(server.folder)
    monkeypatch.setenv("MIMI_SERVER__DATA_DIR", str(server.folder))
    password = (await ask(server)).json()["mqtt"]["password"].encode()
    revoked: asyncio.Queue[str] = asyncio.Queue()
    server.directory.on_revoked = revoked.put_nowait
    assert await asyncio.to_thread(main, ["devices", "forget", MAC]) == 0
    assert await revoked.get() == DEVICE
    assert server.directory.authenticate(DEVICE, DEVICE, password) is None
    assert (await ask(server)).json()["mqtt"]["password"].encode() != password
    assert "is forgotten" in capsys.readouterr().out


async def test_a_body_beyond_the_bound_is_refused_announced_or_not(start: Start) -> None:
    server = await start(http=HttpSettings(max_body_bytes=4096))

    async def chunks() -> object:
        for _ in range(50):
            yield b" " * 1000

    far = await server.client.post("/ota/activate", headers=HEADERS, content=b" " * 50_000)
    announced = await server.client.post("/ota/", headers=HEADERS, content=b" " * 4097)
    chunked = await server.client.post("/ota/", headers=HEADERS, content=chunks())  # type: ignore[arg-type]
    exact = await server.client.post("/ota/", headers=HEADERS, content=b" " * 4096)
    assert [reply.status_code for reply in (far, announced, chunked, exact)] == [413, 413, 413, 200]
    assert "http.max_body_bytes" in announced.json()["error"]


async def test_a_failing_database_is_a_503_without_its_details(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await server.directory.aclose()
    await server.store.aclose()
    replies = [await ask(server) for _ in range(5)]
    assert {reply.status_code for reply in replies} == {503}
    assert str(server.folder) not in replies[0].text
    assert len([line for line in caplog.records if line.name == "mimi_mqtt.http.app"]) == 1


async def test_a_database_that_fails_in_many_ways_does_not_flood_the_log(
    generous: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reasons = itertools.count()

    async def fail(_: str) -> None:
        raise StoreError(f"failure {next(reasons)}")

    monkeypatch.setattr(generous.directory, "registration", fail)
    replies = await asyncio.gather(*(ask(generous) for _ in range(150)))
    assert {reply.status_code for reply in replies} == {503}
    assert len([line for line in caplog.records if line.name == "mimi_mqtt.http.app"]) == MAX_REASONS


async def test_many_new_devices_at_once_are_all_taken_in(server: Server) -> None:
    replies = await asyncio.gather(
        *(ask(server, Device_Id=f"aa:bb:cc:00:11:{number:02x}") for number in range(50))
    )
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["mqtt"]["password"] for reply in replies}) == 50
    assert len(server.directory) == 50


async def test_no_secret_is_ever_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        server = await start()
        told = (await ask(server)).json()
        await ask(server, Client_Id="thief")
        server.directory.authenticate(DEVICE, DEVICE, told["mqtt"]["password"].encode())
    lines = [record.getMessage() for record in caplog.records if record.name.startswith(("mimi", "uvicorn"))]
    logged = "\n".join(lines)
    assert told["mqtt"]["password"] not in logged
    assert told["udp"]["key"] not in logged
    assert (server.folder / "server.secret").read_text().strip() not in logged


_HEADER_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=300)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    headers=st.dictionaries(
        st.sampled_from(["Device-Id", "Client-Id", "User-Agent", "Accept-Language", "Activation-Version",
                         "Serial-Number", "Host", "Accept", "Content-Type"]),
        _HEADER_TEXT.map(str.strip),
    ),
    body=st.one_of(st.binary(max_size=300), st.just(b"[" * 50_000), st.just(b'{"a":' * 12_000)),
    path=st.sampled_from(["/xiaozhi/ota/", "/ota", "/xiaozhi/ota/activate"]),
)  # fmt: skip
async def test_whatever_is_sent_is_answered_with_json(
    generous: Server, headers: dict[str, str], body: bytes, path: str
) -> None:
    reply = await generous.client.post(path, headers=headers, content=body)
    assert reply.status_code in (200, 202, 400, 403, 421)
    answered = json.loads(reply.content)
    assert reply.status_code in (200, 202) or answered["error"]


# The device contract, section 1: a device writes every key of these two sections to its flash; an unlisted or
# too long one makes it abort at each boot.
LISTED = {
    "mqtt": {
        "endpoint": str, "client_id": str, "username": str, "password": str, "publish_topic": str,
        "subscribe_topic": str, "keepalive": int,
    },
    "websocket": {"url": str, "token": str, "version": int},
}  # fmt: skip


@pytest.mark.parametrize("transport", ["mqtt", "websocket"])
async def test_a_device_is_told_no_key_that_it_does_not_know(
    start: Start, transport: Literal["mqtt", "websocket"]
) -> None:
    server = await start(ota=OtaSettings(transport=transport), websocket_path="/xiaozhi/v1/")
    told = (await ask(server)).json()
    other = ({"mqtt", "websocket"} - {transport}).pop()
    assert other not in told
    assert {key: type(value) for key, value in told[transport].items()} == LISTED[transport]
    assert all(len(key) <= 15 for key in told[transport])
    assert set(told["server_time"]) == {"timestamp", "timezone_offset"}
    assert set(told["firmware"]) <= {"version", "url", "force"}


async def test_an_activation_has_no_key_that_the_device_does_not_know(start: Start) -> None:
    server = await start(ota=OtaSettings(new_devices="activate"))
    told = (await ask(server)).json()
    assert set(told["activation"]) <= {"code", "message", "challenge", "timeout_ms"}
    assert set(told) == {"activation", "server_time", "firmware"}


async def test_py_xiaozhi_is_let_in_by_its_nested_version_two_poll(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start(ota=OtaSettings(new_devices="activate"))
    monkeypatch.chdir(server.folder)
    monkeypatch.setenv("MIMI_SERVER__DATA_DIR", str(server.folder))
    headers = {"Activation-Version": "2", "Serial-Number": "SN-0123456789"}
    activation = (await ask(server, **headers)).json()["activation"]
    proof = {
        "algorithm": "hmac-sha256", "serial_number": "SN-0123456789", "challenge": activation["challenge"],
        "hmac": "00" * 32,
    }  # fmt: skip

    async def poll(**changed: str) -> int:
        body = {"Payload": proof | changed}
        reply = await server.client.post("/xiaozhi/ota/activate", headers=HEADERS | headers, json=body)
        return reply.status_code

    assert await poll() == 202
    assert await asyncio.to_thread(main, ["devices", "allow", activation["code"]]) == 0
    assert await poll(challenge="0" * 32) == 403
    assert await poll() == 200
    assert await poll(hmac="nonsense") == 400


# The device contract, section 8.
ESPRESSIF = {
    "Device-Id": MAC,
    "Client-Id": "7f9d2c1e-6a1b-4c62-9a3e-0123456789ab",
    "User-Agent": "esp32s3",
    "Content-Type": "application/json",
}
ESPRESSIF_BODY = {
    "version": 2,
    "minimum_free_heap_size": 8_123_456,
    "mac_address": MAC,
    "uuid": "7f9d2c1e-6a1b-4c62-9a3e-0123456789ab",
    "application": {"name": "xiaozhi", "version": "0.1.1"},
}


async def test_espressifs_client_gets_in_by_asking_again_without_ever_polling(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start(ota=OtaSettings(new_devices="activate"))
    monkeypatch.chdir(server.folder)
    monkeypatch.setenv("MIMI_SERVER__DATA_DIR", str(server.folder))

    async def once() -> httpx.Response:
        reply = await server.client.post("/xiaozhi/ota/", headers=ESPRESSIF, json=ESPRESSIF_BODY)
        assert reply.status_code == 200
        assert len(reply.content) <= 8192
        assert "transfer-encoding" not in reply.headers
        assert int(reply.headers["content-length"]) == len(reply.content)
        return reply

    first = (await once()).json()["activation"]
    assert (await once()).json()["activation"] == first
    assert await asyncio.to_thread(main, ["devices", "allow", first["code"]]) == 0
    told = (await once()).json()
    assert "activation" not in told
    channel = told["websocket"] if "websocket" in told else told["mqtt"]
    password = (channel.get("token") or channel.get("password")).encode()
    assert server.directory.authenticate(DEVICE, DEVICE, password) is not None
    known = server.directory.get(DEVICE)
    assert known is not None
    assert (known.board, known.firmware_version, known.cellular) == ("esp32s3", "0.1.1", False)


async def test_the_longest_reply_fits_espressifs_client(start: Start) -> None:
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    for server in (
        await start(public_host=name),
        await start(public_host=name, ota=OtaSettings(new_devices="activate")),
    ):
        reply = await ask(server, Client_Id="u" * 128, User_Agent=f"{'b' * 300}/{'9' * 300}")
        assert reply.status_code == 200
        assert len(reply.content) <= 8192


async def test_what_identifies_a_sim_card_is_neither_stored_nor_logged(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    imei, iccid, cell = "868123456789012", "89860412345678901234", "0C3D4E5F"
    board = {
        "type": "ml307", "name": f"ml307 {imei}", "revision": "ML307R", "carrier": "CMCC", "csq": "25",
        "imei": imei, "iccid": iccid, "cereg": {"stat": 1, "tac": "1A2B", "ci": cell},
    }  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        for settings in (OtaSettings(), OtaSettings(new_devices="activate")):
            server = await start(ota=settings)
            for headers in (HEADERS, HEADERS | {"Client-Id": "other", "User-Agent": f"ml307-{imei}/1.0"}):
                body = {"version": 2, "board": board, "modem": [{"id": int(imei)}], "sim": f"card {iccid}"}
                reply = await server.client.post("/xiaozhi/ota/", headers=headers, json=body)
                assert reply.status_code == 200
            broken = await server.client.post(
                "/xiaozhi/ota/", headers=HEADERS, content=f'{{"imei": {imei}'.encode()
            )
            assert broken.status_code == 200
        known = server.directory.get(DEVICE)
        assert known is not None
        # The last report was broken: what the one before told stays.
        assert (known.board, known.cellular) == ("ml307", True)
        await server.http.aclose()
        await server.directory.aclose()
        await server.store.aclose()
    stored = b"".join(path.read_bytes() for path in server.folder.glob("mimi.db*"))
    assert b"ML307R" in stored
    logged = "\n".join(f"{record.getMessage()} {record.args} {record.exc_info}" for record in caplog.records
                       if not record.name.startswith(("httpx", "httpcore")))  # fmt: skip
    for secret in (imei, iccid, cell):
        assert secret.encode() not in stored
        assert secret not in logged
