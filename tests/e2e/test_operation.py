"""Starting, stopping and being asked how it is."""

import json
import os
import re
import socket
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import MakeServer, Server, clean_environ, run_command

pytestmark = pytest.mark.timeout(180)


async def test_welcome_tells_all_a_newcomer_needs(server: Server) -> None:
    for needed in (
        "/xiaozhi/ota/",
        "MQTT",
        "versions 3.1.1 and 5",
        "UDP",
        "offline",
        "mimi-mqtt device --ota",
    ):
        assert needed in server.welcome


async def test_health_and_metrics(server: Server) -> None:
    base = server.ota.removesuffix("/xiaozhi/ota/")
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as client:
        health = await client.get(base + "/healthz")
        metrics = await client.get(base + "/metrics")
        page = await client.get(base + "/ota", headers={"Accept": "text/html"})
    assert health.status_code == 200
    assert {"mqtt", "udp", "http", "store"} <= set(health.json()["parts"])
    assert "mimi_sessions_active" in metrics.text
    assert "/xiaozhi/ota/" in page.text


async def test_orderly_stop_on_a_signal(server: Server) -> None:
    assert await server.stop() == 0
    assert "Traceback" not in server.log


async def test_doctor_proves_a_running_server(server: Server) -> None:
    await server.restart()  # at ports that the doctor can be told
    done = await server.run("doctor", timeout=120)
    assert "MQTT and UDP work" in done.out, done.out + done.err + server.log
    assert done.code == 0, done.out


async def test_doctor_looks_at_the_security_of_a_running_server(server: Server) -> None:
    done = await server.run("doctor", "--security", "--json", timeout=60)
    findings = {finding["what"]: finding for finding in json.loads(done.out)["findings"]}
    assert done.code == any(finding["level"] == "warning" for finding in findings.values())
    assert findings["server's secret"]["level"] == findings["data folder"]["level"] == "ok"
    assert "the server (pid" in findings["user"]["seen"]


async def test_secret_is_private(server: Server) -> None:
    data = server.folder / "data"
    for path in [data, *data.iterdir()]:
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0, path


async def test_wrong_setting_is_named_and_exits_with_2(tmp_path: Path) -> None:
    (tmp_path / "broker.yaml").write_text("mqtt:\n  bnd: 1\n")
    done = await run_command("serve", cwd=tmp_path, environ=clean_environ())
    assert done.code == 2
    assert "mqtt.bnd (broker.yaml, line 2)" in done.err


async def test_taken_configured_port_names_its_owner(make_server: MakeServer, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environ = make_server().environ | {"MIMI_MQTT__BIND": f"127.0.0.1:{port}"}
        done = await run_command("serve", cwd=tmp_path, environ=environ)
    assert done.code == 1
    assert f"TCP port {port} is taken by pid {os.getpid()}" in done.err
    assert "mqtt.bind" in done.err


async def test_openai_key_chooses_openai_with_offline_behind(make_server: MakeServer) -> None:
    without = make_server()
    await without.start()
    assert "openai" not in without.welcome
    server = make_server(OPENAI_API_KEY="not-a-real-key")
    await server.start()
    (voice,) = [line for line in server.welcome.splitlines() if line.startswith("  Voice ")]
    for role in ("stt", "llm", "tts"):
        (chain,) = re.findall(rf"{role} (\S+?)(?:,|$)", voice)
        first, *_, last = chain.split("+")
        assert (first, last) == ("openai", "offline")
