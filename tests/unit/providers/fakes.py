"""Providers that follow a script: a list for each try, of parts, errors to raise, and HANG for silence."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final, Generic, TypeVar

import numpy as np
from prometheus_client import REGISTRY

from mimi_mqtt.audio import Pcm
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import Provider, ProviderOptions
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.runtime.resilience import Limits

T = TypeVar("T")

FAST: Final = Limits(timeout_s=5.0, retries=1, backoff_s=0.0)
IMPATIENT: Final = Limits(timeout_s=0.02, retries=0, backoff_s=0.0)


class Hang:
    """Waits until it is cancelled."""


HANG: Final = Hang()


class Script(Generic[T]):
    """Plays one list of steps a try; the last list is played again when there are more tries."""

    def __init__(self, *tries: Sequence[T | BaseException | Hang]) -> None:
        self._tries = tries
        self.played = 0
        self.closed = 0
        self.hanging = asyncio.Event()

    async def play(self) -> AsyncGenerator[T, None]:
        steps = self._tries[min(self.played, len(self._tries) - 1)]
        self.played += 1
        try:
            for step in steps:
                if isinstance(step, Hang):
                    self.hanging.set()
                    await asyncio.Event().wait()
                elif isinstance(step, BaseException):
                    raise step
                else:
                    yield step
        finally:
            self.closed += 1


class Startable(Provider):
    """Counts starts and closes; `start_errors` are raised by the first starts."""

    start_errors: Sequence[Exception] = ()
    started = 0
    closed = 0

    async def start(self) -> None:
        self.started += 1
        if self.started <= len(self.start_errors):
            raise self.start_errors[self.started - 1]

    async def aclose(self) -> None:
        self.closed += 1


class FakeStt(Startable, SpeechToText):
    """Hears everything, then plays its script."""

    def __init__(
        self,
        *tries: Sequence[Transcript | BaseException | Hang],
        name: str = "fake",
        limits: Limits = FAST,
        streaming: bool = True,
        languages: frozenset[str] | None = None,
        sample_rate: int = 16_000,
        detects: frozenset[str] | None = frozenset(),
    ) -> None:
        super().__init__(name, ProviderOptions(), limits)
        self.capabilities = SttCapabilities(streaming, languages, sample_rate, detects)
        self.script = Script(*tries)
        self.heard: list[list[Pcm]] = []
        self.heard_something = asyncio.Event()
        self.language: str | None = None

    async def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        self.language = language
        heard: list[Pcm] = []
        self.heard.append(heard)
        async for chunk in audio:
            heard.append(chunk)
            self.heard_something.set()
        async for transcript in self.script.play():
            yield transcript


class FakeLlm(Startable, LanguageModel):
    """Answers by its script."""

    def __init__(
        self,
        *tries: Sequence[LlmEvent | BaseException | Hang],
        name: str = "fake",
        limits: Limits = FAST,
    ) -> None:
        super().__init__(name, ProviderOptions(), limits)
        self.script: Script[LlmEvent] = Script(*tries)
        self.asked: list[list[ChatMessage]] = []

    def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        self.asked.append([*messages])
        return self.script.play()


class FakeTts(Startable, TextToSpeech):
    """Speaks its script."""

    def __init__(
        self,
        *tries: Sequence[SpeechChunk | BaseException | Hang],
        name: str = "fake",
        limits: Limits = FAST,
        languages: frozenset[str] | None = None,
    ) -> None:
        super().__init__(name, ProviderOptions(), limits)
        self.capabilities = TtsCapabilities(streaming=True, languages=languages)
        self.script = Script(*tries)
        self.asked: list[tuple[str, VoiceOptions]] = []

    def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        self.asked.append((text, voice))
        return self.script.play()


def pcm(*values: int) -> Pcm:
    return np.array(values, np.int16)


def chunk(*values: int) -> SpeechChunk:
    return SpeechChunk(pcm(*values), 16_000)


async def collect(parts: AsyncIterator[T]) -> list[T]:
    return [part async for part in parts]


def metric(sample: str, /, **labels: str) -> float:
    """The present value of a counter or histogram sample."""
    return REGISTRY.get_sample_value(sample, labels) or 0.0
