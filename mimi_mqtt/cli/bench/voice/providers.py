"""The recognisers and voices of `bench voice`: installed models of the catalogue, or providers by name."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.cli.bench._corpus import RATE
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.models.catalog import Model, Role, for_language
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.local_models import models_folder
from mimi_mqtt.providers.contract.provider import Provider
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions

P = TypeVar("P", bound=Provider)


class Providers:
    """Builds providers with the settings' defaults and the models of `models_dir` (None: this user's)."""

    def __init__(self, models_dir: Path | None) -> None:
        self._settings = ProviderSettings(models_dir=models_dir)

    def installed(self, role: Role, language: str) -> list[Model]:
        """The installed models of a role for a language, the better ones first."""
        models = for_language(language, models_folder(self._settings).installed())
        return [model for model in models if model.role == role]

    @asynccontextmanager
    async def recogniser(self, name: str) -> AsyncIterator[SpeechToText]:
        """The started recogniser `name`, such as `faster_whisper:whisper-base`.

        Raises ConfigError and ProviderNotConfigured.
        """
        settings = self._settings.model_copy(update={"stt": (name,)})
        async with _started(registry.build("stt", settings, os.environ)) as stt:
            yield stt

    @asynccontextmanager
    async def voice(self, name: str) -> AsyncIterator[TextToSpeech]:
        """The started voice `name`, such as `piper:piper-en-joe`.

        Raises ConfigError and ProviderNotConfigured.
        """
        settings = self._settings.model_copy(update={"tts": (name,)})
        async with _started(registry.build("tts", settings, os.environ)) as tts:
            yield tts


async def spoken(tts: TextToSpeech, text: str, voice: VoiceOptions) -> Pcm:
    """`text` as `tts` says it, at 16 kHz. Raises ProviderError."""
    chunks: list[Pcm] = []
    rate = RATE
    async with aclosing(tts.speak(text, voice)) as speech:
        async for chunk in speech:
            chunks.append(chunk.pcm)
            rate = chunk.sample_rate
    return Resampler(rate, RATE).process(np.concatenate(chunks), last=True)


async def transcribed(stt: SpeechToText, pcm: Pcm, language: str, *, certain: bool = True) -> Transcript:
    """The transcript by `stt` of an utterance that is all there. Not `certain`: it finds the language itself.

    Raises ProviderError.
    """
    transcription = stt.open(language=language, certain=certain)
    try:
        transcription.push(pcm)
        return await transcription.finish()
    finally:
        await transcription.aclose()


def percentile(values: Sequence[float], percent: int) -> int | None:
    """One percentile in ms of times in seconds; None of nothing."""
    return round(1000 * sorted(values)[(len(values) - 1) * percent // 100]) if values else None


@asynccontextmanager
async def _started(provider: P) -> AsyncIterator[P]:
    try:
        await provider.start()
        yield provider
    finally:
        await provider.aclose()
