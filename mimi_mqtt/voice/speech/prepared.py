"""Apologies and fillers spoken beforehand, for when text to speech doesn't work or an answer is late.

`answer.reply` and `turn.filler` play them. The speech cache keeps them
over a restart.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final, get_args

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, VoiceOptions
from mimi_mqtt.voice.speech.manner import manner
from mimi_mqtt.voice.speech.phrases import Phrase, apologies, language_of

_log = logging.getLogger(__name__)

_PHRASES: Final[tuple[Phrase, ...]] = get_args(Phrase)
_PATIENCE_S: Final = 60.0
"""Longest time for making the phrases of one language, in seconds, over all providers."""
_AGAIN_AFTER_S: Final = 60.0
"""Time after a failed attempt before the next, in seconds."""


class SpokenApologies:
    """Phrases for a reply that failed or is late, in each language asked for, as samples.

    `spare` is asked when `tts` can't: the offline voice, where it isn't a part of `tts` anyway; it is started
    when it is needed first, and its owner closes it. Make it on the running loop.
    """

    def __init__(self, tts: TextToSpeech, spare: TextToSpeech | None, agent: AgentSettings) -> None:
        self._tts = tts
        self._spare = spare
        self._agent = agent
        self._loop = asyncio.get_running_loop()
        self._made: dict[tuple[str, Phrase], Sequence[SpeechChunk]] = {}
        self._not_before: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def prepare(self, language: str) -> None:
        """Makes the phrases for a tag such as `vi` or `zh-CN` in the background, unless they are there."""
        known = language_of(language)
        waits = self._loop.time() < self._not_before.get(known, float("-inf"))
        made = all((known, phrase) in self._made for phrase in _PHRASES)
        if not made and known not in self._tasks and not waits:
            task = self._loop.create_task(self._make(known), name=f"apology-{known}")
            self._tasks[known] = task
            task.add_done_callback(lambda _: self._tasks.pop(known, None))

    def speech(self, language: str, phrase: Phrase = "failed") -> Sequence[SpeechChunk]:
        """`phrase` as samples: in another language rather than none; empty when there is none at all."""
        others = (known for known, made in self._made if made == phrase)
        for known in (language_of(language), "en", *others):
            if (known, phrase) in self._made:
                return self._made[known, phrase]
        return ()

    async def prepared(self) -> None:
        """Returns when no phrase is being made."""
        while self._tasks:
            await asyncio.wait([*self._tasks.values()])

    async def aclose(self) -> None:
        """Cancels the phrases being made; safe to call twice."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _make(self, language: str) -> None:
        self._not_before[language] = self._loop.time() + _AGAIN_AFTER_S
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._make_by(self._tts, manner(self._agent, language))
                return
        except (ProviderError, TimeoutError) as error:
            _log.info("no apology in %s by %s: %s", language, self._tts.name, error)
        if self._spare is None:
            return
        try:
            await self._spare.start()
            await self._make_by(self._spare, replace(manner(self._agent, language), voice=None))
        except ProviderError as error:
            _log.warning("if text to speech fails, nothing will be heard (%s): %s", language, error)

    async def _make_by(self, tts: TextToSpeech, options: VoiceOptions) -> None:
        language = options.language
        for phrase in _PHRASES:
            if (language, phrase) not in self._made:
                async with aclosing(tts.speak(apologies(language).text(phrase), options)) as chunks:
                    self._made[language, phrase] = [chunk async for chunk in chunks]


async def played(speech: Sequence[SpeechChunk]) -> AsyncIterator[SpeechChunk]:
    """Prepared speech, as a provider would yield it."""
    for chunk in speech:
        yield chunk
