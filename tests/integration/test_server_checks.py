"""Checks of a running server through its own addresses."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.app.checks import ServerChecks
from mimi_mqtt.errors import LimitReached
from tests.integration.test_app import running


async def grades(checks: ServerChecks, browser_time: datetime | None = None) -> dict[str, str]:
    return {each.check: each.grade for each in await checks.run(browser_time)}


async def test_each_round_trip_of_a_running_server_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(tmp_path) as app:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await client.get(f"http://127.0.0.1:{app.http_port}/api/v1/server")  # loads the API
        found = {each.check: each for each in await app._health.checks.run(datetime.now(UTC))}
        for check in ("ota", "mqtt", "udp"):
            assert found[check].grade == "ok", found[check]
            assert found[check].ms is not None
        assert found["name"].grade == "warn", "the server listens on this machine alone"
        assert found["name"].cure
        assert found["clock"].grade == "ok"


async def test_what_does_not_work_is_told_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(tmp_path) as app:
        checks = app._health.checks
        monkeypatch.setattr("mimi_mqtt.app.checks.CHECK_TIMEOUT_S", 0.5)
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent.bind(("127.0.0.1", 0))
        with silent:
            monkeypatch.setattr(type(app._parts.live.udp), "advertised_port", silent.getsockname()[1])
            found = {each.check: each for each in await checks.run(datetime.now(UTC) - timedelta(hours=2))}
        assert (found["udp"].grade, found["clock"].grade) == ("fail", "warn")
        assert "firewall" in found["udp"].cure
        assert found["mqtt"].grade == "ok"


async def test_a_name_that_leads_nowhere_is_told_and_nothing_is_sent_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(tmp_path) as app:
        monkeypatch.setattr(app._health.checks, "_host", lambda: "no-such-host.invalid")
        assert await grades(app._health.checks) == {
            "name": "fail", "ota": "warn", "mqtt": "warn", "udp": "warn", "clock": "ok"
        }  # fmt: skip


async def test_one_check_runs_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(tmp_path) as app:
        with app._health.checks._turn, pytest.raises(LimitReached):
            await app._health.checks.run(None)
