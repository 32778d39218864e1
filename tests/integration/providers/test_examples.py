"""The set-ups under examples, each asked for real in every role; only the addresses are fake vendors."""

from contextlib import aclosing
from pathlib import Path

import pytest

from mimi_mqtt.config import load_settings
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.overview import attempt
from mimi_mqtt.providers.catalog.selection import with_providers
from mimi_mqtt.providers.contract.provider import Role
from mimi_mqtt.providers.contract.tts import VoiceOptions
from tests.integration.providers.row import Vendor
from tests.integration.providers.vendors import VENDORS
from tests.servers.openai_server import KEY, OpenAiServer
from tests.servers.wyoming_tts_server import WyomingTtsServer, voice

EXAMPLES = Path(__file__).parents[3] / "examples"
PROVIDERS: dict[tuple[str, Role], str] = {
    ("openai", "stt"): "openai",
    ("openai", "llm"): "openai",
    ("openai", "tts"): "openai",
    ("gemini", "stt"): "gemini",
    ("gemini", "llm"): "gemini",
    ("gemini", "tts"): "gemini",
    ("openai-realtime", "s2s"): "openai_realtime",
    ("openai-realtime", "stt"): "openai",
    ("openai-realtime", "llm"): "openai",
    ("openai-realtime", "tts"): "openai",
    ("gemini-live", "s2s"): "gemini_live",
    ("gemini-live", "stt"): "gemini",
    ("gemini-live", "llm"): "gemini",
    ("gemini-live", "tts"): "gemini",
    ("ollama-wyoming", "stt"): "wyoming",
    ("ollama-wyoming", "llm"): "ollama",
    ("ollama-wyoming", "tts"): "wyoming",
}
OLLAMA = Vendor("ollama", OpenAiServer, lambda url: {"base_url": f"{url}/v1", "api_key": KEY}, {})


def row(role: Role, name: str) -> Vendor:
    return next(vendor for vendor in (*VENDORS[role], OLLAMA) if vendor.name == name)


@pytest.mark.parametrize(("example", "role"), PROVIDERS, ids="-".join)
async def test_an_example_is_answered_by_its_provider(
    example: str, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = PROVIDERS[example, role]
    vendor = row(role, name)
    settings = load_settings(EXAMPLES / f"{example}.yaml", {}).providers
    assert name in registry.resolve(role, settings, {})
    server = vendor.server()
    await server.start()
    vendor.arrange(server.url, monkeypatch)
    try:
        options = {**settings.options[name], **vendor.options(server.url)}
        led_astray = settings.model_copy(update={"options": {**settings.options, name: options}})
        trial = await attempt(registry.build(role, with_providers(led_astray, role, [name]), {}), 30)
    finally:
        await server.aclose()
    assert trial.said
    assert trial.first_result_s is not None


async def test_the_voice_of_a_wyoming_server_reads_its_own_language_only() -> None:
    settings = load_settings(EXAMPLES / "ollama-wyoming.yaml", {}).providers
    server = WyomingTtsServer()
    # As Piper's server does it: all voices that it could download are listed as installed.
    server.voices = [voice("en_US-lessac-medium", "en_US"), voice("es_ES-davefx-medium", "es_ES")]
    await server.start()
    options = {**settings.options["wyoming"], "tts_uri": server.url}
    chain = registry.build("tts", settings.model_copy(update={"options": {"wyoming": options}}), {})
    try:
        await chain.start()
        for text, language in (("Buenos días.", "es"), ("Good morning.", "en")):
            async with aclosing(chain.speak(text, VoiceOptions(language))) as chunks:
                assert [chunk async for chunk in chunks]
    finally:
        await chain.aclose()
        await server.aclose()
    assert [asked.fields["text"] for asked in server.asked] == ["Good morning."]
