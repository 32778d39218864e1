"""Every operation of the OpenAPI document, asked by Schemathesis: what the server answers is in the document,
and nothing that is sent makes it fail."""

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.app import App, stage_tests
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import ModelError
from mimi_mqtt.http.api import rates
from mimi_mqtt.models.catalog import Model
from mimi_mqtt.models.installing import Installer
from mimi_mqtt.people.access import Caller, Presented
from mimi_mqtt.people.authenticators import FirstOf
from tests.fakes.api import ADMIN, MEMBER
from tests.integration.test_app import boot

pytestmark = pytest.mark.timeout(300)

CALLERS = {"ada": ADMIN, "bob": MEMBER}
DEVICE = "aa-bb-cc-00-11-01"
MAX_EXAMPLES = 5
"""Cases of one operation that are made up; those at the edges of its schema come besides."""
PHASES = {"ada": "coverage,fuzzing", "bob": "fuzzing"}
REFUSALS = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429]
"""Statuses that answer what the document does not allow. 412: the version is compared before the settings of
an agent, which may depend on it."""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection,unsupported_method,ignored_auth"
)


def _not_here(_: Installer, model: Model, *, again: bool = False) -> bool:
    raise ModelError(f"{model.name} is not downloaded in a test{' again' * again}")


async def known(_: FirstOf, shown: Presented) -> Caller | None:
    return CALLERS.get(shown.bearer)


@pytest.mark.parametrize("caller", CALLERS)
async def test_the_document_is_true(caller: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FirstOf, "authenticate", known)
    monkeypatch.setattr(rates, "REQUESTS_PER_S", 100_000.0)
    monkeypatch.setattr(stage_tests, "TEST_TIMEOUT_S", 0.5)  # of many sentences
    anywhere = {"bind": "127.0.0.1:0"}
    no_share = {"http_requests_per_minute": 1_000_000, "http_cpu_percent": 100}
    # Names of models are found in answers: nothing is downloaded, and no installed one is removed.
    monkeypatch.setattr(Installer, "install", _not_here)
    app = App(
        Settings.model_validate(
            {
                "server": {"data_dir": tmp_path}, "shares": no_share,
                "providers": {"models_dir": tmp_path / "models"},
                "http": anywhere, "mqtt": anywhere, "udp": anywhere,
            }
        ),
        {},
    )  # fmt: skip
    await app.start()
    try:
        url = f"http://127.0.0.1:{app.http_port}"
        async with httpx.AsyncClient(timeout=60.0, base_url=url, trust_env=False) as client:
            await boot(client, 1)
        config = f"[checks.negative_data_rejection]\nexpected-statuses = {REFUSALS}\n"
        if caller == "ada":  # requests that reach a device; bob's lead to ids of all kinds
            config = f'[parameters]\n"path.device_id" = "{DEVICE}"\n{config}'
        (tmp_path / "schemathesis.toml").write_text(config)
        app._parts.streams.close()  # a stream that never ends would never be answered
        ran = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--url", f"{url}/api/v1", "-H", f"Authorization: Bearer {caller}", "--seed", "1"),
            *("--max-examples", str(MAX_EXAMPLES), "--phases", PHASES[caller]),
            *("--checks", CHECKS, "--no-color", "--generation-database", "none"),
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await ran.communicate()
        assert ran.returncode == 0, out.decode()
        assert all(part.ok for part in app.health().values())
    finally:
        await app.stop()
