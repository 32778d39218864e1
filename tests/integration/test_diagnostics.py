"""The archive for diagnostics of a running server holds no secret, no name, no speech and no whole MAC."""

import io
import json
import logging
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.app import App
from mimi_mqtt.config import Settings
from mimi_mqtt.fleet import secret_files
from mimi_mqtt.http.api.loading import API_PREFIX
from mimi_mqtt.log import setup_logging
from mimi_mqtt.log.recent import RecentLines
from mimi_mqtt.store.conversations import save_turns
from mimi_mqtt.store.tables import Activation
from mimi_mqtt.store.turn_record import TurnRecord
from tests.integration.test_app import boot

pytestmark = pytest.mark.timeout(120)

PLANTED = {
    "admin password": "correct horse battery 9417",
    "person's password": "bobs own long password 5521",
    "OIDC client secret": "oidc-client-secret-7713",
    "metrics token": "metrics-token-3302-abcdef",
    "provider key of a variable": "sk-environment-0123456789abcdef",
    "provider key of broker.yaml": "dg-options-fedcba9876543210",
    "managed provider key": "sk-managed-99887766554433221100",
    "prompt": "You are Eulalia, keeper of the seven lamps",
    "greeting": "Well met by candlelight, friend",
    "speech": "where did I hide the golden key",
    "reply": "under the third flowerpot",
    "database password": "db-password-4410",
    "companion secret": "a-companion-secret-of-32-characters!",
    "person": "Barnabas",
    "full name": "Barnabas Featherstone",
    "email": "barnabas@featherstone.example",
    "device name": "Winifred's turret",
    "room": "Observatory",
    "notes": "behind the portrait of the duke",
}


@pytest.fixture
def recent() -> Iterator[RecentLines]:
    root, ours = logging.getLogger(), logging.getLogger("mimi_mqtt")
    before = list(root.handlers), root.level, ours.level
    kept = RecentLines()
    setup_logging("info", "text", io.StringIO(), recent=kept)
    yield kept
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def settings_in(folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "server": {"data_dir": str(folder / "data")},
            "http": {"bind": "127.0.0.1:0"},
            "mqtt": {"bind": "127.0.0.1:0"},
            "udp": {"bind": "127.0.0.1:0"},
            "accounts": {"admin_password": PLANTED["admin password"]},
            "assistant": {"prompt": PLANTED["prompt"], "greeting": PLANTED["greeting"]},
            "providers": {
                "find_llm": False,
                "options": {"deepgram": {"api_key": PLANTED["provider key of broker.yaml"]}},
            },
        }
    )


async def _archive(api: httpx.AsyncClient) -> dict[str, str]:
    answer = await api.get("/diagnostics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


async def test_archive_holds_nothing_that_was_planted(tmp_path: Path, recent: RecentLines) -> None:
    environ = {"OPENAI_API_KEY": PLANTED["provider key of a variable"]}
    environ |= {"METRICS_TOKEN": PLANTED["metrics token"], "COMPANION_SECRET": PLANTED["companion secret"]}
    environ |= {"OIDC_CLIENT_SECRET": PLANTED["OIDC client secret"]}
    environ |= {"MIMI_STORE__URL": f"postgresql://mimi:{PLANTED['database password']}@db/mimi"}
    app = App(settings_in(tmp_path), environ, recent)
    await app.start()
    secrets: dict[str, str] = dict(PLANTED)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False, timeout=30
        ) as http:
            access = await boot(http, 7)
            secrets |= {"device password": access["password"]}
            token = await app.setup_token()
            api = httpx.AsyncClient(base_url=f"{http.base_url}{API_PREFIX}", trust_env=False, timeout=30)
            made = await api.post(
                "/setup",
                json={"token": token, "user_name": "ada", "password": PLANTED["admin password"]},
            )
            assert made.status_code == 201, made.text
            secrets |= {"session cookie": api.cookies["mimi_session"]}
            device_id = access["username"]
            key = await api.post("/keys", json={"name": "x", "scopes": ["devices:read"]})
            secrets |= {"API key": key.json()["secret"]}
            signed = await api.post("/tokens", json={})
            secrets |= {"signed token": signed.json()["access_token"]}
            user = await api.post(
                "/users",
                json={
                    "name": PLANTED["person"], "password": PLANTED["person's password"], "role": "member",
                    "display_name": PLANTED["full name"], "email": PLANTED["email"],
                },
            )  # fmt: skip
            assert user.status_code == 201, user.text
            changed = await api.patch(
                f"/devices/{device_id}",
                json={
                    "name": PLANTED["device name"], "room": PLANTED["room"], "notes": PLANTED["notes"],
                    "user_name": PLANTED["full name"],
                },
            )  # fmt: skip
            assert changed.status_code == 200, changed.text
            managed = await api.put(
                "/providers/anthropic", json={"secrets": {"api_key": PLANTED["managed provider key"]}}
            )
            assert managed.status_code in (200, 201), managed.text
            async with app._parts.foundation.store.write() as session:
                turn = TurnRecord(
                    "s1", device_id, 1, datetime.now(UTC), "auto", PLANTED["speech"], PLANTED["reply"],
                    "answered", {}, agent="default",
                )  # fmt: skip
                await save_turns(session, [turn])
                now = datetime.now(UTC)
                waiting = Activation(
                    device_id="24-6f-28-00-00-99", client_id="c" * 20, code="402961", challenge="x",
                    created_at=now, asked_at=now, expires_at=now + timedelta(minutes=10),
                )  # fmt: skip
                session.add(waiting)
            udp_key = app._parts.fleet.directory.master_key(device_id)
            assert udp_key is not None
            secrets |= {"UDP key": udp_key.hex()}
            server_secret = (tmp_path / "data" / secret_files.SECRET_FILE).read_text().strip()
            secrets |= {"server's secret": server_secret}
            # What should never be in the log is taken out of it, too.
            log = logging.getLogger("mimi_mqtt.test")
            for name, value in secrets.items():
                if name not in ("speech", "reply", "notes", "server's secret", "UDP key", "device password",
                                "session cookie", "API key", "signed token", "person's password",
                                "database password"):  # fmt: skip
                    log.warning("a mistake told %s in the log", value, extra={"device": device_id})
            log.info("device waits to be allowed: mimi-mqtt devices allow %s", waiting.code)
            setup_logging("debug", "text", io.StringIO(), recent=recent)
            log.debug("heard: %s", PLANTED["speech"])
            files = await _archive(api)
            busy = await api.get("/problems")
            assert busy.status_code == 200
            await api.aclose()
    finally:
        await app.stop()
    for name, secret in secrets.items():
        for file, text in files.items():
            assert secret not in text, f"the {name} is in {file}"
            assert secret not in text.encode().decode("unicode_escape", "replace"), f"{name} in {file}"
    whole_mac = re.compile(re.escape(device_id).replace(r"\-", "[-:]?"), re.IGNORECASE)
    assert not any(whole_mac.search(text) for text in files.values())
    assert set(files) >= {"README.txt", "versions.json", "settings.json", "health.json", "log.jsonl"}
    assert "devices allow (secret)" in files["log.jsonl"]
    lines = [json.loads(line) for line in files["log.jsonl"].splitlines()]
    assert sum("a mistake told" in line["message"] for line in lines) >= 8
    assert {line["device_id"] for line in lines if line["device_id"]} != set()
    assert "mimi_mqtt" in json.loads(files["versions.json"])
    assert json.loads(files["devices.json"])["devices"] == 1
    settings = {each["key"]: each["value"] for each in json.loads(files["settings.json"])}
    assert settings["assistant.prompt"] == settings["assistant.greeting"] == "(set)"
