"""A speech-to-speech service without a network: it writes down what it is told and says what it is given."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, Usage
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.realtime.provider import (
    AnswerDone,
    AnswerPart,
    DuplexEvent,
    Opening,
    S2sCapabilities,
    SpeechDuplex,
    SpeechToSpeech,
    UserWords,
)
from mimi_mqtt.providers.runtime.resilience import Limits

RATE = 24_000


class FakeDuplex(SpeechDuplex):
    """One connection; `told` is what it was told, audio as (`audio`, utterance, samples)."""

    def __init__(self, service: "FakeS2s", opening: Opening) -> None:
        self.service = service
        self.opening = opening
        self.told: list[tuple[Any, ...]] = []
        self.closed = False
        self._coming: asyncio.Queue[DuplexEvent | ProviderError | None] = asyncio.Queue()

    def say(self, *events: DuplexEvent) -> None:
        """Sends the next events."""
        for event in events:
            self._coming.put_nowait(event)

    def lose(self, error: ProviderError | None = None) -> None:
        """The connection ends, with `error` or by itself."""
        self._coming.put_nowait(error)

    def audio(self, utterance: str) -> list[int]:
        """All samples of `utterance`."""
        return [
            sample
            for kind, *rest in self.told
            if kind == "audio" and rest[0] == utterance
            for sample in rest[1]
        ]

    def kinds(self) -> list[str]:
        """The kinds of messages received, in order, with runs of audio as one."""
        kinds = [told[0] for told in self.told]
        return [
            kind
            for before, kind in zip(["", *kinds], kinds, strict=False)
            if (before, kind) != ("audio", "audio")
        ]

    async def _take(self, *told: Any) -> None:
        self.told.append(told)
        self.service.took.set()
        if self.service.stuck:
            await asyncio.Event().wait()

    async def send_audio(self, utterance: str, pcm: Pcm) -> None:
        await self._take("audio", utterance, [int(sample) for sample in pcm])

    async def send_end(self, utterance: str) -> None:
        await self._take("end", utterance)
        if self.service.words is not None:
            self.say(UserWords(utterance, Transcript(self.service.words, final=True)))

    async def send_discard(self, utterance: str) -> bool:
        await self._take("discard", utterance)
        return self.service.able

    async def send_messages(self, messages: Sequence[ChatMessage]) -> None:
        await self._take("messages", [*messages])

    async def send_request(self, answer: str) -> None:
        await self._take("request", answer)
        self.service.reply(self, answer)

    async def send_recital(self, answer: str, text: str) -> None:
        await self._take("recital", answer, text)
        self.service.reply(self, answer)

    async def send_cancel(self, answer: str) -> None:
        await self._take("cancel", answer)

    async def send_truncate(self, answer: str, heard_ms: int) -> bool:
        await self._take("truncate", answer, heard_ms)
        return self.service.able

    async def send_changes(self, opening: Opening) -> bool:
        await self._take("changes", opening)
        return self.service.able

    async def receive(self) -> AsyncGenerator[DuplexEvent, None]:
        while True:
            match await self._coming.get():
                case None:
                    return
                case ProviderError() as error:
                    raise error
                case event:
                    yield event

    async def aclose(self) -> None:
        self.closed = True


def good_reply(duplex: FakeDuplex, answer: str) -> None:
    """Words, half a second of speech in two chunks, what it cost, the end."""
    duplex.say(
        AnswerPart(answer, TextDelta("good ")),
        *[AnswerPart(answer, SpeechChunk(np.ones(RATE // 4, np.int16), RATE)) for _ in range(2)],
        AnswerPart(answer, TextDelta("day")),
        AnswerPart(answer, Usage(100, 50, 80, 40)),
        AnswerDone(answer),
    )


def calls(*made: ToolCall) -> Callable[[FakeDuplex, str], None]:
    """A reply of tool calls."""

    def reply(duplex: FakeDuplex, answer: str) -> None:
        duplex.say(*[AnswerPart(answer, call) for call in made], AnswerDone(answer))

    return reply


def no_reply(duplex: FakeDuplex, answer: str) -> None:
    """Silence."""


class FakeS2s(SpeechToSpeech):
    """Plays `replies` in order, the last one again and again; `refusals` are raised by connects, in order."""

    def __init__(self, limits: Limits | None = None, *, endpoints: bool = True) -> None:
        super().__init__("fake", ProviderOptions(), limits or Limits(timeout_s=5.0, retries=1, backoff_s=0.0))
        self.capabilities = S2sCapabilities(RATE, endpoints)
        self.connections: list[FakeDuplex] = []
        self.refusals: list[ProviderError] = []
        self.replies: list[Callable[[FakeDuplex, str], None]] = [good_reply]
        self.words: str | None = "hello world"
        self.able = True
        self.stuck = False
        self.silent = False
        self.answers = asyncio.Event()
        """Lets those in who wait while it is `silent`."""
        self.took = asyncio.Event()

    @property
    def duplex(self) -> FakeDuplex:
        """The latest connection."""
        return self.connections[-1]

    def reply(self, duplex: FakeDuplex, answer: str) -> None:
        """Plays the next reply."""
        play = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        play(duplex, answer)

    async def _connect(self, opening: Opening) -> SpeechDuplex:
        if self.silent:
            self.took.set()
            await self.answers.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        self.connections.append(FakeDuplex(self, opening))
        return self.duplex
