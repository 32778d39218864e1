"""Timed tests of the stages of a conversation, asked for by people: hear a recording, think of an answer.

Each runs on providers of its own, as the default agent is set to ask them, so that conversations go on as
they are. `VoiceSamples` is the test of speaking.
"""

import asyncio
import io
import time
import wave
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.errors import ConfigError, Invalid, ProviderError
from mimi_mqtt.managed.trials import OneAtATime, StageResult
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.selection import select_of_agent, with_providers
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, TextDelta
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import Role
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.voice.speech.sample import SampleWish, sample_options, sample_provider, spoken

TEST_TIMEOUT_S: Final = 30.0
"""Longest time for a provider to start and to answer, in seconds."""
MAX_RECORDING_S: Final = 10.0
"""Longest recording that is listened to, in seconds."""
RATES: Final = (8_000, 48_000)
"""Lowest and highest sample rate of a recording, in Hz."""
MAX_ANSWER_CHARS: Final = 1_000
"""The part of an answer that is told."""

_PROMPT: Final = "You are a voice assistant. Answer in one or two short sentences, without formatting."


class StageTests:
    """Tests with the settings that `settings` returns; one of each stage at a time."""

    def __init__(self, settings: Callable[[], Settings], environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._hearing = OneAtATime("test of hearing")
        self._thinking = OneAtATime("test of thinking")

    async def hear(self, recording: bytes, sentence: str, language: str) -> StageResult:
        """Recognises the speech of a WAV file, or of `sentence`, which the server says, where there is none.
        An empty `language` is that of the agent. Raises Invalid for a file that is none, LimitReached."""
        pcm, rate = wav_pcm(recording) if recording else (np.zeros(0, np.int16), 16_000)
        with self._hearing:
            asked = self._asked("stt")
            provider: SpeechToText | None = None
            try:
                async with asyncio.timeout(TEST_TIMEOUT_S):
                    if not recording:
                        pcm, rate = await self._spoken(sentence, language)
                    provider = await asyncio.to_thread(self._stt, asked)
                    began = time.perf_counter()
                    await provider.start()
                    started = time.perf_counter()
                    text = await _transcribed(provider, pcm, rate, language or self._language())
                    ended = time.perf_counter()
            except (ConfigError, ProviderError) as error:
                return StageResult(asked, error=str(error))
            except TimeoutError:
                return StageResult(asked, error=f"no answer within {TEST_TIMEOUT_S:g} s")
            finally:
                if provider is not None:
                    await provider.aclose()
        said = "" if recording else sentence
        return StageResult(asked, text, "", said, started - began, None, ended - started)

    async def think(self, question: str) -> StageResult:
        """The answer to a question. Raises LimitReached."""
        with self._thinking:
            asked = self._asked("llm")
            provider: LanguageModel | None = None
            try:
                async with asyncio.timeout(TEST_TIMEOUT_S):
                    provider = await asyncio.to_thread(self._llm, asked)
                    began = time.perf_counter()
                    await provider.start()
                    started = time.perf_counter()
                    text, first_s = await _answered(provider, question, self._language())
                    ended = time.perf_counter()
            except (ConfigError, ProviderError) as error:
                return StageResult(asked, error=str(error))
            except TimeoutError:
                return StageResult(asked, error=f"no answer within {TEST_TIMEOUT_S:g} s")
            finally:
                if provider is not None:
                    await provider.aclose()
        return StageResult(asked, text, "", "", started - began, first_s, ended - started)

    def _language(self) -> str:
        settings = self._settings()
        return settings.every_agent[DEFAULT_AGENT].language or settings.server.language

    def _asked(self, role: Role) -> tuple[str, ...]:
        settings = self._settings()
        agent = settings.every_agent[DEFAULT_AGENT]
        return select_of_agent(settings, DEFAULT_AGENT, agent, self._environ)[role]

    def _stt(self, names: tuple[str, ...]) -> SpeechToText:
        return registry.build("stt", with_providers(self._settings().providers, "stt", names), self._environ)

    def _llm(self, names: tuple[str, ...]) -> LanguageModel:
        return registry.build("llm", with_providers(self._settings().providers, "llm", names), self._environ)

    async def _spoken(self, sentence: str, language: str) -> tuple[Pcm, int]:
        settings = self._settings()
        agent, wish = settings.every_agent[DEFAULT_AGENT], SampleWish(language)
        options = sample_options(settings, agent, wish)
        tts = await asyncio.to_thread(sample_provider, settings, agent, self._environ, wish, options)
        try:
            await tts.start()
            return await spoken(tts, sentence, options, max_s=MAX_RECORDING_S)
        finally:
            await tts.aclose()


async def _transcribed(provider: SpeechToText, pcm: Pcm, rate: int, language: str) -> str:
    wanted = provider.capabilities.sample_rate
    sound = Resampler(rate, wanted).process(pcm, last=True) if rate != wanted else pcm
    heard = provider.open(language=language, certain=False, max_s=MAX_RECORDING_S + 1)
    try:
        heard.push(sound)
        return (await heard.finish()).text
    finally:
        await heard.aclose()


async def _answered(provider: LanguageModel, question: str, language: str) -> tuple[str, float | None]:
    """The answer, and the seconds to the first of it."""
    began = time.perf_counter()
    text, first_s = "", None
    messages = [ChatMessage("system", _PROMPT), ChatMessage("user", question)]
    async with aclosing(provider.chat(messages, options=ChatOptions(language=language))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                first_s = time.perf_counter() - began if first_s is None else first_s
                text += event.text
                if len(text) > MAX_ANSWER_CHARS:
                    break
    return text.strip()[:MAX_ANSWER_CHARS], first_s


def wav_pcm(content: bytes) -> tuple[Pcm, int]:
    """The sound of a WAV file of 16 bits, mixed to one channel, with its sample rate. Raises Invalid."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, rate, frames = file.getnchannels(), file.getframerate(), file.getnframes()
            if file.getsampwidth() != 2 or channels not in (1, 2) or not RATES[0] <= rate <= RATES[1]:
                raise Invalid("send 16-bit PCM of one or two channels, at 8,000 to 48,000 Hz")
            if frames > MAX_RECORDING_S * rate:
                raise Invalid(f"send at most {MAX_RECORDING_S:g} s")
            samples = np.frombuffer(file.readframes(frames), dtype="<i2")
    except (wave.Error, EOFError, ValueError) as error:
        raise Invalid(f"this is no WAV file: {error}") from None
    if samples.size < channels:
        raise Invalid("the recording is empty")
    samples = samples[: samples.size - samples.size % channels]
    mono = samples.reshape(-1, channels).mean(axis=1) if channels > 1 else samples
    return mono.astype(np.int16), rate
