"""A text-to-speech provider behind the speech cache: what is said often is made once for each voice.

Kept are fixed phrases (greetings, apologies) and short ones that are asked for a second time.
"""

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, VoiceOptions, silence, speakable
from mimi_mqtt.providers.runtime.speech_cache import SpeechCache

MAX_CHARS: Final = 60
"""Longest text that is kept without being a fixed phrase."""

_KEEP_FROM: Final = 2  # requests


class CachedSpeech(TextToSpeech):
    """`inner` as a user of it sees it, its phrases in `cache`, which others share."""

    def __init__(self, inner: TextToSpeech, cache: SpeechCache) -> None:
        super().__init__(inner.name, inner.options, inner.limits)
        self.capabilities = inner.capabilities
        self._inner = inner
        self._cache = cache

    async def start(self) -> None:
        """Starts the provider. Raises ProviderNotConfigured."""
        await self._inner.start()
        self.capabilities = self._inner.capabilities

    async def aclose(self) -> None:
        """Closes the provider; the cache is its owner's."""
        await self._inner.aclose()

    async def check(self) -> str:
        """Really asks the provider."""
        return await self._inner.check()

    def speak(self, text: str, voice: VoiceOptions | None = None) -> AsyncGenerator[SpeechChunk, None]:
        """As the provider's own; a phrase from the cache costs no request. Raises ProviderError."""
        if not speakable(text):
            return silence()
        text = text.strip()
        if len(text) > MAX_CHARS and not self._cache.is_fixed(text):
            return self._inner.speak(text, voice)
        return self._speak(text, voice or VoiceOptions())

    async def _speak(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        key = self._key(text, voice)
        if kept := await self._cache.get(key):
            for chunk in kept:
                yield chunk
            return
        keep = self._cache.times_asked(key) >= _KEEP_FROM or self._cache.is_fixed(text)
        made: list[SpeechChunk] = []
        async with aclosing(self._inner.speak(text, voice)) as chunks:
            async for chunk in chunks:
                if keep:
                    made.append(chunk)
                yield chunk
        self._cache.put(key, made)
        self.capabilities = self._inner.capabilities  # some know more once they have spoken

    def _key(self, text: str, voice: VoiceOptions) -> str:
        """Of everything that the sound depends on; keys and passwords are not in the dump."""
        sound = [
            type(self._inner).__qualname__,
            self.name,
            self.options.model_dump(mode="json"),
            voice.voice,
            voice.language,
            round(voice.speed, 2),
            text,
        ]
        return hashlib.sha256(json.dumps(sound, sort_keys=True).encode()).hexdigest()

    def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        return self.speak(text, voice)
