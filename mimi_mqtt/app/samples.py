"""Samples of voices for people: a short text as WAV, one at a time, bounded in length and time."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from mimi_mqtt.config import Settings
from mimi_mqtt.errors import NotFound, ProviderTimeout
from mimi_mqtt.managed.trials import OneAtATime
from mimi_mqtt.providers.http.audio import wav_file
from mimi_mqtt.voice.speech.sample import SampleWish, sample_options, sample_provider, spoken

MAX_SAMPLE_S: Final = 30.0
"""Longest sample, in seconds of audio."""
SAMPLE_TIMEOUT_S: Final = 30.0
"""Longest time to make a sample, in seconds."""


class VoiceSamples:
    """Says texts with the voices of the settings that `settings` returns, by providers of its own, so that
    conversations go on as they are."""

    def __init__(self, settings: Callable[[], Settings], environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._turn = OneAtATime("sample of a voice")

    async def wav(self, text: str, key: str, wish: SampleWish) -> bytes:
        """`text` as the agent `key` says it, or as `wish` asks: 16-bit mono WAV. Raises NotFound,
        ConfigError, LimitReached, ProviderError."""
        settings = self._settings()
        agent = settings.every_agent.get(key)
        if agent is None:
            raise NotFound(f"there is no agent {key[:64]!r}")
        with self._turn:
            options = sample_options(settings, agent, wish)
            tts = await asyncio.to_thread(sample_provider, settings, agent, self._environ, wish, options)
            try:
                async with asyncio.timeout(SAMPLE_TIMEOUT_S):
                    await tts.start()
                    pcm, rate = await spoken(tts, text, options, max_s=MAX_SAMPLE_S)
            except TimeoutError:
                raise ProviderTimeout(tts.name, f"not said within {SAMPLE_TIMEOUT_S:g} s") from None
            finally:
                await tts.aclose()
        return wav_file(pcm, rate)
