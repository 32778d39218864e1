"""A text as an agent, or a voice by its name, would say it; without a device."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.config import AgentSettings, Settings
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.models.catalog import catalog
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.local_models import models_folder, provider_name
from mimi_mqtt.providers.catalog.model_voices import ANY_LANGUAGE, owners, wish_of
from mimi_mqtt.providers.catalog.selection import with_providers
from mimi_mqtt.providers.catalog.voice_list import cure_of
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions
from mimi_mqtt.voice.speech.manner import manner


@dataclass(frozen=True, slots=True)
class SampleWish:
    """The wish for a sample; what is empty is the agent's."""

    language: str = ""
    voice: str = ""
    gender: str = ""
    speed: float | None = None


def sample_options(settings: Settings, agent: AgentSettings, wish: SampleWish) -> VoiceOptions:
    """The request for text to speech. Raises ConfigError for a voice and a gender."""
    language = wish.language or _voice_language(wish.voice) or agent.language or settings.server.language
    usual = manner(agent, language)
    if not (wish.voice or wish.gender):
        return wish_of(language, usual.voice or usual.gender or None, wish.speed or usual.speed)
    if wish.voice and wish.gender:
        raise ConfigError("gender: not with voice, which has its own")
    return wish_of(language, wish.voice or wish.gender, wish.speed or usual.speed)


def _voice_language(voice: str) -> str:
    """The language of a voice of the catalogue; empty for others, and for one that speaks several."""
    languages = [known.language for _, known in owners(voice) if known.language != ANY_LANGUAGE]
    return next(iter(languages), "")


def sample_provider(
    settings: Settings,
    agent: AgentSettings,
    environ: Mapping[str, str],
    wish: SampleWish,
    options: VoiceOptions,
) -> TextToSpeech:
    """The providers that are asked, not started: the model of a named voice alone, else those of the agent.
    Raises ConfigError for a voice that they do not have."""
    providers, folder = settings.providers, models_folder(settings.providers)
    if wish.voice and (models := [model for model, _ in owners(wish.voice)]):
        ready = next((model for model in models if not cure_of(model, folder)), None)
        if ready is None:
            raise ConfigError(f"voice {wish.voice}: {cure_of(models[0], folder)}")
        names: tuple[str, ...] = (provider_name(ready),)
    else:
        given = with_providers(providers, "tts", agent.tts or providers.tts)
        voice = options.voice or options.gender or None
        names = registry.resolve("tts", given, environ, "assistant.tts", options.language, voice)
    tts = registry.build("tts", with_providers(providers, "tts", names), environ)
    if wish.voice in catalog() and catalog()[wish.voice].voices:
        known = ", ".join(voice.name for voice in catalog()[wish.voice].voices)
        raise ConfigError(f"voice: {wish.voice} is a model; its voices: {known}")
    wished = options.voice or options.gender
    if wished and tts.has_voice(options) is False:
        raise ConfigError(
            f"{tts.name} has no voice {wished} for {options.language}: see "
            f"mimi-mqtt voices --language {options.language}"
        )
    return tts


async def spoken(tts: TextToSpeech, text: str, options: VoiceOptions, *, max_s: float) -> tuple[Pcm, int]:
    """`text` as `tts`, which was started, says it, at most `max_s` seconds; with its sample rate. Raises
    ConfigError for a text without words, ProviderError."""
    parts: list[Pcm] = []
    rate = samples = 0
    async with aclosing(tts.speak(text, options)) as chunks:
        async for chunk in chunks:
            rate = rate or chunk.sample_rate
            same = chunk.sample_rate == rate  # another provider may go on when one fails
            pcm = chunk.pcm if same else Resampler(chunk.sample_rate, rate).process(chunk.pcm, last=True)
            parts.append(pcm)
            samples += pcm.size
            if samples > max_s * rate:
                break
    if not parts:
        raise ConfigError(f"there is nothing to say in {text[:80]!r}")
    pcm = np.concatenate(parts)
    return (pcm if pcm.size <= max_s * rate else pcm[: int(max_s * rate)]), rate
