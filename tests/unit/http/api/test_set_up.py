"""The routes that the set-up page is made of, beside the log of OTA requests."""

from typing import ClassVar

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.errors import Invalid
from mimi_mqtt.http.api import providers
from mimi_mqtt.http.health import CheckResult
from mimi_mqtt.managed.model_installs import Installation
from mimi_mqtt.managed.trials import StageResult
from mimi_mqtt.providers.catalog.found_servers import FoundServer
from tests.fakes.api import client

MODEL = "whisper-base"


class Managed:
    environ: ClassVar[dict[str, str]] = {}

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def in_force(self) -> Settings:
        return self._settings

    def providers_of(self, key: str) -> dict[str, list[str]]:
        return {"llm": ["ollama", "offline"]} if key == "default" else {}


class Installs:
    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []

    def of(self, name: str) -> Installation | None:
        return Installation(name, "running", 5, 10, "unpacking") if name == MODEL else None

    async def install(self, name: str, author: object, *, accept_licence: bool) -> Installation:
        self.asked.append((name, accept_licence))
        if not accept_licence:
            raise Invalid("accept_licence: agree to it")
        return Installation(name, "waiting", 0, 10)


class Stages:
    def __init__(self) -> None:
        self.heard: list[tuple[bytes, str, str]] = []

    async def hear(self, recording: bytes, sentence: str, language: str) -> StageResult:
        self.heard.append((recording, sentence, language))
        return StageResult(("offline",), "hello", "", sentence, 0.5, None, 1.25)

    async def think(self, question: str) -> StageResult:
        return StageResult(("openai",), error=f"no key for {question!r}")


class Checks:
    async def run(self, browser_time: object) -> list[CheckResult]:
        return [CheckResult("udp", "fail", f"silent at {browser_time is not None}", None, "let it through")]


async def test_models_are_told_with_the_progress_of_their_installation() -> None:
    async with client(managed=Managed(Settings()), installs=Installs()) as api:
        models = {model["name"]: model for model in (await api.get("/models")).json()["items"]}
    assert models[MODEL]["installation"] == {
        "state": "running", "done_bytes": 5, "total_bytes": 10, "step": "unpacking", "error": ""
    }  # fmt: skip
    assert "en" in models[MODEL]["advised_for"]
    others = [model for name, model in models.items() if name != MODEL]
    assert all(model["installation"] is None for model in others)


async def test_an_installation_begins_or_says_what_has_to_be_agreed_to() -> None:
    installs = Installs()
    async with client(installs=installs) as api:
        refused = await api.post(f"/models/{MODEL}/install", json={})
        begun = await api.post(f"/models/{MODEL}/install", json={"accept_licence": True})
    assert (refused.status_code, begun.status_code) == (422, 202)
    assert begun.json()["state"] == "waiting"
    assert installs.asked == [(MODEL, False), (MODEL, True)]


async def test_found_servers_are_told_with_what_asks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"base_url": "http://127.0.0.1:11434/v1"}
    found = FoundServer("ollama", "Ollama", "llm", "http://127.0.0.1:11434/v1", ("a",), "llm_model", options)

    async def look(environ: object) -> list[FoundServer]:
        return [found]

    monkeypatch.setattr(providers, "found_servers", look)
    unused = Settings()
    used = Settings(providers={"options": {"ollama": options}})
    for settings, in_use in ((unused, False), (used, True)):
        async with client(managed=Managed(settings)) as api:
            (item,) = (await api.get("/providers/found")).json()["items"]
        assert (item["provider"], item["models"], item["in_use"]) == ("ollama", ["a"], in_use)


async def test_stages_are_told_with_their_times_in_ms() -> None:
    stages = Stages()
    async with client(stages=stages) as api:
        said = (await api.post("/stages/hear", json={"sentence": "hello", "language": "en"})).json()
        recorded = await api.post("/stages/hear/recording?language=vi", content=b"RIFF")
        nothing = await api.post("/stages/hear/recording", content=b"")
        thought = (await api.post("/stages/think", json={"question": "why?"})).json()
    assert (said["ok"], said["start_ms"], said["first_ms"], said["answer_ms"]) == (True, 500, None, 1250)
    assert stages.heard == [(b"", "hello", "en"), (b"RIFF", "", "vi")]
    assert (recorded.status_code, nothing.status_code) == (200, 422)
    assert (thought["ok"], thought["error"]) == (False, "no key for 'why?'")


async def test_recordings_are_bounded() -> None:
    async with client(stages=Stages()) as api:
        assert (await api.post("/stages/hear/recording", content=b"x" * 2_000_001)).status_code == 413


async def test_checks_compare_the_clock_of_the_caller() -> None:
    async with client(checks=Checks()) as api:
        told = await api.post("/server/checks", json={"browser_time": "2026-11-27T12:00:00Z"})
        wrong = await api.post("/server/checks", json={"browser_time": 5})
    assert told.json()["items"] == [
        {"check": "udp", "grade": "fail", "told": "silent at True", "cure": "let it through", "ms": None}
    ]
    assert wrong.status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/models/{MODEL}/install"),
        ("DELETE", f"/models/{MODEL}/install"),
        ("DELETE", f"/models/{MODEL}"),
        ("GET", "/providers/found"),
        ("POST", "/stages/hear"),
        ("POST", "/stages/hear/recording"),
        ("POST", "/stages/think"),
        ("POST", "/server/checks"),
    ],
)
async def test_members_neither_install_nor_test(method: str, path: str) -> None:
    async with client(as_="bob") as api:
        assert (await api.request(method, path, json={})).status_code == 403
