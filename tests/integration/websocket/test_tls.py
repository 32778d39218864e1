"""The whole server with TLS on the HTTP port: devices, MQTT over WebSocket, certificates that are renewed."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiomqtt
import httpx
import pytest
from websockets.asyncio.client import connect

from mimi_mqtt.app import App
from mimi_mqtt.cli import doctor_tls
from mimi_mqtt.cli.device.client import converse
from mimi_mqtt.cli.device.options import DeviceOptions, Summary
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import StartupError
from tests.integration.websocket.test_devices import CLIENT, MAC, headers, opened, reply_to, serving
from tests.integration.websocket.test_slow_network import TURNS, is_whole
from tests.servers.impaired import TcpProxy
from tests.servers.tls import write_certificates


@asynccontextmanager
async def secured(folder: Path, http: Mapping[str, object] | None = None) -> AsyncIterator[App]:
    write_certificates(folder)
    files = {"tls_certificate": folder / "server.crt", "tls_key": folder / "server.key"}
    async with serving(folder, http=files | dict(http or {})) as app:
        yield app


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "ca.crt")


async def provisioned(app: App, folder: Path) -> tuple[str, str]:
    """The address and the token that OTA gives a device that asks by https."""
    async with httpx.AsyncClient(timeout=60.0, verify=trusting(folder), trust_env=False) as http:
        reply = await http.post(
            f"https://localhost:{app.http_port}/xiaozhi/ota/", headers={"Device-Id": MAC, "Client-Id": CLIENT}
        )
    section = reply.json()["websocket"]
    return section["url"], section["token"]


async def talk(port: int, **options: object) -> Summary:
    given = {
        "ota": f"https://localhost:{port}/xiaozhi/ota/", "mac": "02:00:00:00:00:42",
        "text": "what is two plus two", "timeout_s": 60.0,
    }  # fmt: skip
    return await converse(DeviceOptions(**(given | options)))  # type: ignore[arg-type]


async def shown(port: int) -> str:
    """The fingerprint of the certificate that new connections see."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return hashlib.sha256(certificate).hexdigest()


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_device_that_asks_by_https_talks_over_wss_in_each_version(
    tmp_path: Path, version: int
) -> None:
    async with secured(tmp_path) as app:
        url, _ = await provisioned(app, tmp_path)
        assert url == f"wss://localhost:{app.http_port}/xiaozhi/v1/"
        summary = await talk(app.http_port, websocket_version=version, tls_ca=tmp_path / "ca.crt")
        assert summary.ok, summary.error
        assert (summary.audio_ms > 500, summary.lost) == (True, 0)


async def test_a_device_that_asks_by_http_talks_over_ws_beside_it(tmp_path: Path) -> None:
    """Stock firmware refuses the certificate of a house, and is served all the same."""
    async with secured(tmp_path) as app:
        summary = await talk(app.http_port, ota=f"http://127.0.0.1:{app.http_port}/xiaozhi/ota/")
        assert summary.ok, summary.error


async def test_a_device_refuses_an_authority_that_it_does_not_know(tmp_path: Path) -> None:
    async with secured(tmp_path) as app:
        summary = await talk(app.http_port)
        assert "--tls-ca" in summary.error
        assert (await talk(app.http_port, tls_insecure=True)).ok


async def test_nothing_is_lost_over_tls_through_a_slow_connection_in_any_version(tmp_path: Path) -> None:
    async with secured(tmp_path) as app, TcpProxy(app.http_port, delay_s=0.08, bytes_per_s=16_000) as proxy:
        talks = (
            talk(
                proxy.port, mac=f"02:00:00:00:01:{version:02}", text=None, say=TURNS[:1], voice="offline",
                websocket_version=version, tls_ca=tmp_path / "ca.crt",
            )
            for version in (1, 2, 3)
        )  # fmt: skip
        assert all(is_whole(each, turns=1) for each in await asyncio.gather(*talks))


async def test_mqtt_over_websocket_over_tls(tmp_path: Path) -> None:
    async with secured(tmp_path) as app:
        _, token = await provisioned(app, tmp_path)
        client = aiomqtt.Client(
            "localhost", app.http_port, identifier="desk", username="aa-bb-cc-00-11-22", password=token,
            transport="websockets", websocket_path="/mqtt", tls_context=trusting(tmp_path),
        )  # fmt: skip
        async with client, asyncio.timeout(10):
            await client.subscribe("mimi/devices/aa-bb-cc-00-11-22/#")
            await client.publish("mimi/devices/aa-bb-cc-00-11-22/up", b'{"type":"hello","transport":"udp"}')
            assert (await anext(client.messages)).topic.matches("mimi/devices/+/+")


async def test_a_certificate_is_renewed_while_a_device_talks(tmp_path: Path) -> None:
    async with secured(tmp_path) as app:
        url, token = await provisioned(app, tmp_path)
        old, context = await shown(app.http_port), trusting(tmp_path)
        async with connect(url, additional_headers=headers(token), ssl=context) as socket:
            session = await opened(socket)
            write_certificates(tmp_path, host="voice.example.org")
            changes = await app.reload(app.settings)
            assert [line for line in changes.effective if line.startswith("http.tls_certificate: ")]
            assert await shown(app.http_port) != old
            messages, frames = await reply_to(socket, session, "what is two plus two")
            assert (messages[0]["type"], len(frames) > 5) == ("stt", True)


async def test_a_certificate_is_renewed_without_a_reload_and_half_a_file_is_not(tmp_path: Path) -> None:
    async with secured(tmp_path) as app:
        first = await shown(app.http_port)
        whole = (tmp_path / "server.crt").read_bytes()
        (tmp_path / "server.crt").write_bytes(whole[:300])
        for _ in range(2):
            await app._parts.certificates.look()
        assert await shown(app.http_port) == first
        assert (app.health()["tls"].ok, "see the log" in app.health()["tls"].detail) == (True, True)
        with pytest.raises(StartupError, match="in PEM"):
            await app.reload(app.settings)
        write_certificates(tmp_path)
        for _ in range(2):
            await app._parts.certificates.look()
        assert await shown(app.http_port) != first
        assert "see the log" not in app.health()["tls"].detail


async def test_a_name_in_the_certificate_is_the_servers_own(tmp_path: Path) -> None:
    async with secured(tmp_path) as app:
        url = f"http://127.0.0.1:{app.http_port}/healthz"
        async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
            for expected in (421, 200):
                reply = await http.get(url, headers={"Host": f"voice.example.org:{app.http_port}"})
                assert reply.status_code == expected
                write_certificates(tmp_path, host="voice.example.org")
                await app.reload(app.settings)


async def test_health_tells_of_a_certificate_that_expires_and_of_one_that_has(tmp_path: Path) -> None:
    async with secured(tmp_path) as app:
        assert (app.health()["tls"].ok, "valid until" in app.health()["tls"].detail) == (True, True)
        write_certificates(tmp_path, timedelta(days=9, hours=1))
        await app.reload(app.settings)
        assert app.health()["tls"].ok
        assert "certificate of http expires in 9 days" in app.health()["tls"].detail
        write_certificates(tmp_path, -timedelta(days=2))
        await app.reload(app.settings)
        assert not app.health()["tls"].ok
        assert "expired on" in app.health()["tls"].detail
    async with serving(tmp_path) as app:
        assert "tls" not in app.health()


async def test_a_certificate_that_can_not_be_used_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write_certificates(tmp_path / "other")
    with pytest.raises(StartupError, match=r"http\.tls_certificate .* not that of the certificate"):
        async with secured(tmp_path, {"tls_key": tmp_path / "other" / "server.key"}):
            pass


async def test_the_doctor_compares_the_certificate_that_is_shown_with_its_file(tmp_path: Path) -> None:
    async with secured(tmp_path) as app:

        async def grade() -> str:
            settings = app.settings.model_dump() | {
                "http": app.settings.http.model_dump() | {"bind": f"127.0.0.1:{app.http_port}"}
            }
            finding = await doctor_tls.https(Settings.model_validate(settings), "127.0.0.1")
            assert finding is not None
            return finding.grade

        assert await grade() == "ok"
        write_certificates(tmp_path)
        assert await grade() == "warn"
        await app.reload(app.settings)
        assert await grade() == "ok"
