"""The voice of tones in the server's registry and the devices' way through proxies, for all tests here."""

import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device import client
from mimi_mqtt.providers.catalog import registry
from tests.integration.network import talking, voice


@pytest.fixture(autouse=True)
def stage(monkeypatch: pytest.MonkeyPatch) -> voice.Stage:
    """The stage of the voice, empty."""
    for role, name in {"vad": "LoudnessVad", "stt": "NoteStt", "llm": "NoteLlm", "tts": "NoteTts"}.items():
        monkeypatch.setitem(registry._PROVIDERS[role], "tones", f"{voice.__name__}:{name}")  # type: ignore[index]

    async def synthesise(text: str, rate: int, *_: object) -> Pcm:
        return voice.sound(text, rate, voice.SAID_MS)

    monkeypatch.setattr(client, "synthesise", synthesise)
    monkeypatch.setattr(client, "boot", talking.boot_for_proxy)
    monkeypatch.setattr(talking, "mqtt_ports", {})
    fresh = voice.Stage()
    monkeypatch.setattr(voice, "stage", fresh)
    return fresh
