"""Speaking to a provider, and what it makes of it."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.recording import Recording, Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText

RATE = 16_000


def provider(name: str, **options: Any) -> SpeechToText:
    """The provider as the server builds it, without retries."""
    settings = {"stt": name, "retries": 0, "options": {name: options}}
    return registry.build("stt", ProviderSettings.model_validate(settings), {})


def speech(samples: int = 1600) -> Pcm:
    """Samples that tell their place."""
    return np.arange(samples, dtype=np.int16)


def begun(samples: int = 1600) -> Recording:
    """An utterance that is still going on."""
    recording = Recording(RATE, 60.0)
    recording.push(speech(samples))
    return recording


async def transcripts(
    stt: SpeechToText, *, language: str | None = "en", certain: bool = True, samples: int = 1600
) -> list[Transcript]:
    """All that becomes of an utterance; the provider is closed."""
    recording = begun(samples)
    recording.end()
    try:
        async with aclosing(stt.listen(recording, language, certain)) as heard:
            return [transcript async for transcript in heard]
    finally:
        await stt.aclose()


async def final(
    stt: SpeechToText, *, language: str | None = "en", certain: bool = True, samples: int = 1600
) -> Transcript:
    """The last of them."""
    return (await transcripts(stt, language=language, certain=certain, samples=samples))[-1]


def query(path: str) -> Mapping[str, list[str]]:
    """The query of a path, with all its values."""
    return parse_qs(urlsplit(path).query)
