"""Local models and language models of a running server: those that come later are taken over."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.app import App
from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.models.folder import MANIFEST
from mimi_mqtt.providers.catalog import local_servers as discovery
from mimi_mqtt.providers.vendors.local import llm
from tests.integration.test_app import until
from tests.servers.model_servers import ModelServer

ANYWHERE = {"bind": "127.0.0.1:0"}


def settings(folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "server": {"data_dir": folder / "data"},
            "http": ANYWHERE,
            "mqtt": ANYWHERE,
            "udp": ANYWHERE,
            "providers": {"models_dir": folder / "models", "tts": "offline", "cache_mb": 0},
        }
    )


@pytest.fixture
async def ollama(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModelServer]:
    """An Ollama at OLLAMA_HOST, without a model; no LM Studio."""
    server = ModelServer()
    await server.start()
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    monkeypatch.setattr(discovery, "LM_STUDIO", "http://127.0.0.1:9")
    monkeypatch.setattr(llm, "LOOKS_EVERY_S", 0.01)
    yield server
    await server.aclose()


@pytest.mark.usefixtures("ollama")
async def test_a_model_that_is_installed_is_used_after_a_reload(tmp_path: Path) -> None:
    app = App(settings(tmp_path), {})
    await app.start()
    try:
        assert app.providers[DEFAULT_AGENT]["stt"] == ("offline",)
        model = tmp_path / "models" / "whisper-tiny-en"
        model.mkdir(parents=True)
        (model / MANIFEST).write_text("{}")
        await app.reload(settings(tmp_path))
        assert (
            app._parts.voices.pool.newest(DEFAULT_AGENT).services.stt.name
            == "faster_whisper:whisper-tiny-en+offline"
        )
        (model / MANIFEST).unlink()
        await app.reload(settings(tmp_path))
        assert app.providers[DEFAULT_AGENT]["stt"] == ("offline",)
    finally:
        await app.stop()


async def test_the_web_page_names_the_commands_until_a_model_is_found(
    tmp_path: Path, ollama: ModelServer
) -> None:
    app = App(settings(tmp_path), {})
    await app.start()
    try:
        async with httpx.AsyncClient(
            timeout=60.0, base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False
        ) as client:
            page = (await client.get("/ota", headers={"Accept": "text/html"})).text
            assert "ollama pull" in page
            ollama.ollama = {"helper:4b": ["completion", "tools"]}
            await until(lambda: app.answering != "offline")
            assert app.answering == f"helper:4b of Ollama at {ollama.url}/v1"
            assert "ollama pull" not in (await client.get("/ota", headers={"Accept": "text/html"})).text
    finally:
        await app.stop()
