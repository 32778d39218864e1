"""A speech-to-speech service that follows a script, in virtual time, and writes down what it was told."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderError, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.recording import Recording, Transcript
from mimi_mqtt.providers.contract.stt import SttCapabilities
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.realtime.provider import (
    Opening,
    S2sCapabilities,
    S2sEvent,
    SpeechDuplex,
    SpeechSession,
    SpeechSetup,
    SpeechToSpeech,
    SpeechUtterance,
)
from mimi_mqtt.providers.runtime.resilience import Limits
from tests.fakes.voice import Wait

RATE = 24_000


@dataclass(frozen=True)
class Sound:
    """A step of an answer: so much speech, in ms, of one loudness."""

    ms: int


Step = str | Sound | ToolCall | ProviderError | Wait
Words = str | ProviderError | Wait


def spoken(text: str, ms_per_char: int = 60) -> list[Step]:
    """Words and their sound, a word at a time, as services send them."""
    steps: list[Step] = []
    for word in text.split(" "):
        steps += [word + " ", Sound(ms_per_char * (len(word) + 1))]
    return steps


class FakeUtterance(SpeechUtterance):
    """Understood as the service's script says, once it is over."""

    def __init__(self, session: "FakeSession", max_s: float) -> None:
        self.recording = Recording(RATE, max_s)
        self.answered = False
        self.closed = False
        self.words: Transcript | None = None
        self._session = session
        self._finishing = asyncio.Lock()

    @property
    def interim(self) -> str:
        """The script's, while it is spoken."""
        return self._session.service.interim

    @property
    def endpoint(self) -> bool:
        """The script's."""
        return self._session.service.endpoint

    def push(self, pcm: Pcm) -> None:
        """Keeps it; the first of it connects."""
        first = self.recording.empty
        self.recording.push(pcm)
        if first and not self.recording.empty:
            self._session.told("audio")
            self._session.connect_soon()

    def end(self) -> None:
        """No more audio."""
        self.recording.end()

    async def finish(self) -> Transcript:
        """The next words of the script; the last ones are repeated. Empty without audio."""
        self.end()
        if self.recording.empty:
            return Transcript("", final=True)
        async with self._finishing:
            while self.words is None:
                script = self._session.service.words
                step = script.pop(0) if len(script) > 1 else script[0]
                if isinstance(step, ProviderError):
                    raise step
                if isinstance(step, str):
                    self.words = Transcript(step, final=True)
                else:
                    await step.over()
        return self.words

    async def discard(self) -> None:
        """Forgotten even if it was answered."""
        await self.aclose()
        if self.answered:
            self.answered = False
            self._session.told("discard")

    async def aclose(self) -> None:
        """Forgotten unless it was answered."""
        if not self.closed and not self.answered:
            self._session.told("discard")
        self.closed = True
        self.end()


class FakeSession(SpeechSession):
    """One conversation; `service.log` has what it was told."""

    def __init__(self, service: "FakeService", setup: SpeechSetup) -> None:
        self.service = service
        self.setup = setup
        self.is_connected = False
        self.closed = False
        self.utterances: list[FakeUtterance] = []
        self._connecting = asyncio.Lock()
        self._early: asyncio.Task[None] | None = None
        self._called = False

    def told(self, what: str) -> None:
        """Writes down what the service was told."""
        self.service.log.append(what)

    @property
    def capabilities(self) -> SttCapabilities:
        """At the service's rate."""
        return SttCapabilities(streaming=True, sample_rate=RATE)

    @property
    def connected(self) -> bool:
        """True while there is a live connection."""
        return self.is_connected and not self.closed

    async def connect(self) -> None:
        """Begins with the prompt and the history of now."""
        async with self._connecting:
            self._check_open()
            if self.is_connected:
                return
            if self.service.refuses is not None:
                raise self.service.refuses
            await asyncio.sleep(self.service.connects_after_s)
            self._check_open()
            self.is_connected = True
            self.told("connect")
            self.service.histories.append([(m.role, m.content) for m in self.setup.history()])
            self.service.prompts.append(self.setup.prompt())

    def connect_soon(self) -> None:
        """Connects beside the speaker; a failure is the answer's to tell."""

        async def connect() -> None:
            with suppress(ProviderError):
                await self.connect()

        if self._early is None or self._early.done():
            self._early = asyncio.create_task(connect(), name="the fake service's connection")

    def _check_open(self) -> None:
        if self.closed:
            raise ProviderUnavailable("fake-s2s", "the conversation was closed")

    def open(self, *, language: str | None = None, max_s: float | None = None) -> FakeUtterance:
        """Begins an utterance."""
        self.utterances.append(FakeUtterance(self, max_s or self.setup.max_s))
        return self.utterances[-1]

    async def answer(self, utterance: SpeechUtterance) -> AsyncGenerator[S2sEvent, None]:
        """The next answer of the script."""
        assert utterance in self.utterances
        utterance.end()
        if utterance.recording.empty:
            raise ProviderRefused("fake-s2s", "an utterance without audio can't be answered")
        await self.connect()
        assert isinstance(utterance, FakeUtterance)
        utterance.answered = True
        self.told(f"answer {utterance.recording.seconds:.1f}")
        async for event in self._events():
            yield event

    async def ask(self, text: str) -> AsyncGenerator[S2sEvent, None]:
        """As an answer."""
        await self.connect()
        self.told(f"ask {text}")
        async for event in self._events():
            yield event

    async def say(self, text: str) -> AsyncGenerator[S2sEvent, None]:
        """The text as a sound, without words of its own."""
        await self.connect()
        self.told(f"say {text}")
        await asyncio.sleep(self.service.says_after_s)
        if self.service.mute is not None:
            raise self.service.mute
        yield SpeechChunk(_tone(60 * len(text)), RATE)

    async def tool_results(self, results: Sequence[ChatMessage]) -> AsyncGenerator[S2sEvent, None]:
        """The next answer of the script. Refused when the last one had no calls."""
        if not self._called:
            raise ProviderRefused("fake-s2s", "these are results of tools that it has not called")
        self.told("results " + "; ".join(message.content for message in results))
        self.service.offered.append(tuple(tool.name for tool in self.setup.tools()))
        async for event in self._events():
            yield event

    async def _events(self) -> AsyncIterator[S2sEvent]:
        answers = self.service.answers
        self._called = False
        for step in answers.pop(0) if len(answers) > 1 else answers[0]:
            self._check_open()
            match step:
                case ProviderError():
                    self.is_connected = False
                    raise step
                case Wait():
                    await step.over()
                case Sound(ms):
                    yield SpeechChunk(_tone(ms), RATE)
                case str(text):
                    yield TextDelta(text)
                case _:
                    self._called = True
                    yield step

    async def interrupted(self, heard_ms: int) -> None:
        """Written down."""
        self.told(f"interrupted {heard_ms}")

    async def aclose(self) -> None:
        """Written down, once."""
        if not self.closed:
            self.told("close")
        self.closed = True
        if self._early is not None:
            self._early.cancel()
            await asyncio.wait([self._early])


class FakeService(SpeechToSpeech):
    """`answers` are followed step by step, `words` are what utterances are understood as; the last of each is
    repeated."""

    def __init__(self, *answers: Sequence[Step], words: Sequence[Words] = ("hello",)) -> None:
        super().__init__("fake-s2s", ProviderOptions(), Limits(timeout_s=15.0, retries=0))
        self.capabilities = S2sCapabilities(input_rate=RATE, endpoints=True)
        self.answers = list(answers) or [spoken("Hi there, how are you?")]
        self.words = list(words)
        self.interim = ""
        self.endpoint = False
        self.refuses: ProviderError | None = None
        """The error of connecting, if it is to fail."""
        self.mute: ProviderError | None = None
        """The error of reciting, if it is to fail."""
        self.connects_after_s = 0.0
        self.says_after_s = 0.0
        """How long reciting takes to begin."""
        self.log: list[str] = []
        self.histories: list[list[tuple[str, str]]] = []
        self.prompts: list[str] = []
        self.offered: list[tuple[str, ...]] = []
        self.sessions: list[FakeSession] = []

    def open(self, setup: SpeechSetup) -> FakeSession:
        """A fake session."""
        self.sessions.append(FakeSession(self, setup))
        return self.sessions[-1]

    async def _connect(self, opening: Opening) -> SpeechDuplex:
        raise NotImplementedError("its sessions are fakes themselves")

    async def check(self) -> str:
        """Not asked in these tests."""
        return ""


def _tone(ms: int) -> Pcm:
    samples = RATE * ms // 1000
    return np.asarray(8_000 * np.sin(np.arange(samples) * (2 * np.pi * 440 / RATE)), np.int16)
