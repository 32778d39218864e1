"""`mimi-mqtt api` against a running server."""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from mimi_mqtt.app import App
from mimi_mqtt.cli import main
from tests.integration.test_app import boot, running, until

pytestmark = pytest.mark.timeout(60)

DEVICE = "aa-bb-cc-00-11-01"
Ask = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with running(tmp_path) as started:
        (tmp_path / "broker.yaml").write_text(
            json.dumps(
                {"server": {"data_dir": str(tmp_path)}, "http": {"bind": f"127.0.0.1:{started.http_port}"}}
            )
        )
        async with httpx.AsyncClient(
            timeout=60.0, base_url=f"http://127.0.0.1:{started.http_port}", trust_env=False
        ) as client:
            await boot(client, 1)
        yield started


@pytest.fixture
def ask(app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs the command; returns its exit code and what it printed."""

    async def asked(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, ["api", *arguments, "--config", str(tmp_path / "broker.yaml")])
        out, err = capsys.readouterr()
        return code, out, err

    return asked


async def test_answers_are_printed_as_json(ask: Ask) -> None:
    for path in ("server", "/server", "/api/v1/server"):
        code, out, _ = await ask(path)
        assert code == 0
        assert json.loads(out)["details"]["ports"]["http"] > 0


async def test_a_body_is_sent_by_post(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"device_id": DEVICE, "seconds": 600, "text": "tea"})
    (tmp_path / "body.json").write_text(body)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(body.encode())))
    made = [json.loads((await ask("reminders", "-d", given))[1]) for given in (f"@{tmp_path}/body.json",)]
    assert made[0]["title"] == "tea timer"
    path = f"reminders/{made[0]['id']}"
    code, out, _ = await ask(path, "-X", "patch", "-d", '{"text": "coffee"}', "-H", 'If-Match: "1"')
    assert (code, json.loads(out)["title"]) == (0, "coffee timer")
    assert await ask(path, "-X", "DELETE") == (0, "", "")
    assert json.loads((await ask("reminders", "-d", "@-"))[1])["title"] == "tea timer"


async def test_a_refusal_is_told_with_its_reason(ask: Ask) -> None:
    code, out, err = await ask(f"devices/{DEVICE}/commands/say", "-d", '{"text": "hello"}')
    assert (code, out) == (1, "")
    assert "409 Conflict" in err
    assert "not connected" in err
    assert "404" in (await ask("nowhere"))[2]
    assert "422" in (await ask("sessions?limit=0"))[2]


async def test_a_list_is_followed_to_its_end(ask: Ask) -> None:
    for seconds in (500, 600, 700):
        await ask("reminders", "-d", json.dumps({"device_id": DEVICE, "seconds": seconds}))
    code, out, _ = await ask("reminders?limit=1", "--all")
    assert code == 0
    assert [each["duration_s"] for each in json.loads(out)] == [500, 600, 700]
    assert json.loads((await ask("sessions", "--all"))[1]) == []
    code, _, err = await ask("server", "--all")
    assert code == 1
    assert "--all" in err


async def test_events_are_printed_until_the_stream_ends(app: App, ask: Ask) -> None:
    asking = asyncio.ensure_future(ask("events?types=device_booted"))
    await until(lambda: len(app._parts.streams.events) == 1)
    async with httpx.AsyncClient(
        timeout=60.0, base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False
    ) as client:
        await boot(client, 2)
    app._parts.streams.events.close()
    code, out, _ = await asking
    assert code == 0
    assert '"device_id":"aa-bb-cc-00-11-02"' in out


async def test_a_server_with_another_secret_is_told(ask: Ask, app: App, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with running(tmp_path / "other") as other:
        port = other.http_port
        settings = {"server": {"data_dir": str(tmp_path)}, "http": {"bind": f"127.0.0.1:{port}"}}
        (tmp_path / "broker.yaml").write_text(json.dumps(settings))
        assert "does not use the secret" in (await ask("problems"))[2]
    assert "no server answers" in (await ask("problems"))[2]
