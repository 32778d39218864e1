"""A text-to-speech provider behind the speech cache: a phrase that is said often is made once for each voice.

Kept are fixed phrases (greetings, apologies) and short ones that are asked for a second time. Requests for
such a phrase while it is being made share that one synthesis.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, VoiceOptions, has_words, silence
from mimi_mqtt.providers.runtime.speech_cache import SpeechCache

MAX_CHARS: Final = 60
"""Longest text that is kept without being a fixed phrase."""

_KEEP_FROM: Final = 2  # requests


class CachedSpeech(TextToSpeech):
    """`inner` with the same interface, its phrases kept in `cache`, which providers share."""

    def __init__(self, inner: TextToSpeech, cache: SpeechCache) -> None:
        super().__init__(inner.name, inner.options, inner.limits)
        self.capabilities = inner.capabilities
        self._inner = inner
        self._cache = cache
        self._running: dict[str, _Synthesis] = {}  # by the key of what is being made and will be kept

    async def start(self) -> None:
        """Starts the provider. Raises ProviderNotConfigured."""
        await self._inner.start()
        self.capabilities = self._inner.capabilities

    async def aclose(self) -> None:
        """Ends what is being made and closes the provider; the cache is its owner's."""
        for synthesis in list(self._running.values()):
            await synthesis.stop()
        await self._inner.aclose()

    async def check(self) -> str:
        """Sends the provider a real request."""
        return await self._inner.check()

    def has_voice(self, wish: VoiceOptions) -> bool | None:
        """See `TextToSpeech`."""
        return self._inner.has_voice(wish)

    def speak(self, text: str, voice: VoiceOptions | None = None) -> AsyncGenerator[SpeechChunk, None]:
        """The speech of `text`, from the cache where it is kept. Raises ProviderError."""
        if not has_words(text):
            return silence()
        text = text.strip()
        if len(text) > MAX_CHARS and not self._cache.is_fixed(text):
            return self._inner.speak(text, voice)
        return self._speak(text, voice or VoiceOptions())

    async def _speak(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        key = self._key(text, voice)
        if key not in self._running and (kept := await self._cache.get(key)):
            for chunk in kept:
                yield replace(chunk, phrase=key)
            return
        # Not awaited between the look into `_running` and the entry there: two requests never both make it.
        synthesis = self._running.get(key)
        if synthesis is None:
            if self._cache.times_asked(key) < _KEEP_FROM and not self._cache.is_fixed(text):
                async with aclosing(self._inner.speak(text, voice)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                self._learn()
                return
            synthesis = self._running[key] = _Synthesis(self, key, self._inner.speak(text, voice))
        async with aclosing(synthesis.read()) as chunks:
            async for chunk in chunks:
                yield chunk

    def ended(self, key: str, made: Sequence[SpeechChunk]) -> None:
        """A synthesis is over: `made` is the whole phrase, or empty when it failed or was given up."""
        del self._running[key]
        if made:
            self._cache.put(key, made)
            self._learn()

    def _learn(self) -> None:
        self.capabilities = self._inner.capabilities  # some know more once they have spoken

    def _key(self, text: str, voice: VoiceOptions) -> str:
        """The digest of everything that the sound depends on; keys and passwords are not in the dump."""
        sound = [
            type(self._inner).__qualname__,
            self.name,
            self.options.model_dump(mode="json"),
            voice.voice,
            voice.gender,
            voice.language,
            round(voice.speed, 2),
            text,
        ]
        return hashlib.sha256(json.dumps(sound, sort_keys=True).encode()).hexdigest()

    def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        return self.speak(text, voice)


class _Synthesis:
    """One phrase while it is made, in a task of its own; any number of requests read it from its beginning.

    The last reader that leaves before the end stops it.
    """

    def __init__(self, owner: CachedSpeech, key: str, chunks: AsyncGenerator[SpeechChunk, None]) -> None:
        self._owner = owner
        self._key = key
        self._chunks = chunks
        self._made: list[SpeechChunk] = []
        self._readers = 0
        self._over = False
        self._stopped = False
        self._grown = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._make(), name=f"speech for {owner.name}")

    async def _make(self) -> None:
        whole = False
        try:
            async with aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    self._made.append(chunk)
                    self._wake()
            whole = True
        finally:
            self._end(whole=whole)

    def _end(self, *, whole: bool) -> None:
        if not self._over:
            self._over = True
            self._owner.ended(self._key, self._made if whole else ())
            self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def read(self) -> AsyncGenerator[SpeechChunk, None]:
        """All chunks, those made already at once. Raises ProviderError when the synthesis fails."""
        self._readers += 1
        at = 0
        try:
            while at < len(self._made) or not self._over:
                if at < len(self._made):
                    yield self._made[at]
                    at += 1
                else:
                    await self._grown.wait()
            if self._stopped:
                raise ProviderUnavailable(self._owner.name, "it was stopped")
            await self._task  # raises what the provider raised
        finally:
            self._readers -= 1
            if not self._readers:
                await self.stop()

    async def stop(self) -> None:
        """Ends the task, if it is still running, and waits for that."""
        if not self._over:
            self._stopped = True
            self._end(whole=False)  # a new request must not join what is being cancelled
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
