"""One live connection to a speech-to-speech service: sends in order, and sorts events by their answer."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from mimi_mqtt.errors import ProviderBadAnswer, ProviderError, ProviderUnavailable
from mimi_mqtt.providers.contract.chat import TextDelta, ToolCall, Usage
from mimi_mqtt.providers.contract.llm import MAX_ANSWER_CHARS, MAX_TOOL_CALLS
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.s2s import (
    AnswerDone,
    AnswerPart,
    DuplexEvent,
    Opening,
    S2sEvent,
    SpeechDuplex,
    UserWords,
    WordsFailed,
)
from mimi_mqtt.providers.contract.tts import MAX_SPEECH_S, SpeechChunk
from mimi_mqtt.providers.runtime.resilience import Limits, closing_parts, provider_border

logger = logging.getLogger(__name__)

MAX_WAITING_PARTS = 60_000
"""Parts of one answer that wait for their reader; more is a broken answer (600 s are 30,000 of 20 ms)."""

MAX_UNSENT = 1_000
"""Commands that may wait to be sent; a connection with more is given up. Audio waits in its recording."""

MAX_UNDERSTOOD_LATE = 8
"""Utterances of one connection whose text may still come; the oldest of more will have none."""

Command = Callable[[SpeechDuplex], Awaitable[bool | None]]
"""A message to send; the result False: the service can't do it, so the connection is to be given up."""


class RunningAnswer:
    """The parts of one answer, kept until they are read; bounded."""

    def __init__(self, provider: str, name: str, connection: "Connection") -> None:
        self.name = name
        self.connection = connection
        self.over = False
        """True when the service has said all of it, or it was stopped."""
        self.stopped = False
        """True when it was ended by this side."""
        self.silent = False
        """True when the service chose to say nothing."""
        self.ms = 0.0
        """Length of its speech so far, in ms."""
        self.text = ""
        self.calls: list[ToolCall] = []
        self._provider = provider
        self._waiting: deque[S2sEvent] = deque()
        self._changed = asyncio.Event()
        self._error: ProviderError | None = None

    @property
    def begun(self) -> bool:
        """True when anything was said or asked for."""
        return bool(self.ms or self.text or self.calls)

    def put(self, part: S2sEvent) -> None:
        """Takes the next part; what comes after the end is dropped, what is too much ends it."""
        if self.over:
            return
        match part:
            case SpeechChunk(pcm, sample_rate):
                self.ms += pcm.size * 1000 / sample_rate
                if not pcm.size:
                    return
            case TextDelta(text):
                self.text += text
                if not text:
                    return
            case ToolCall():
                self.calls.append(part)
            case Transcript() | Usage():
                pass
        if problem := self._too_much():
            self.connection.stop(self, ProviderBadAnswer(self._provider, problem))
            return
        self._waiting.append(part)
        self._changed.set()

    def _too_much(self) -> str:
        if self.ms > MAX_SPEECH_S * 1000:
            return "the speech does not end"
        if len(self.text) > MAX_ANSWER_CHARS or len(self._waiting) >= MAX_WAITING_PARTS:
            return "the answer does not end"
        if len(self.calls) > MAX_TOOL_CALLS:
            return f"wants more than {MAX_TOOL_CALLS} tool calls"
        return ""

    def end(self, error: ProviderError | None = None, *, silent: bool = False) -> None:
        """Ends it; the waiting parts can still be read. Idempotent."""
        if not self.over:
            self.over, self._error, self.silent = True, error, silent
            self._changed.set()

    def drop(self) -> None:
        """Ends it if it is not over, and drops the waiting parts."""
        self.stopped = self.stopped or not self.over
        self._waiting.clear()
        self.end()

    async def parts(self) -> AsyncGenerator[S2sEvent, None]:
        """The parts up to the end. Raises the ProviderError it ended with."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self.over:
                break
            self._changed.clear()
            await self._changed.wait()
        if self._error is not None:
            raise self._error


class HearsWords(Protocol):
    """An utterance, as the connection that carries it knows it."""

    name: str

    def heard(self, transcript: Transcript) -> None:
        """Takes the service's text so far."""

    def failed(self, error: ProviderError) -> None:
        """Notes that the service has no text of it."""

    def lost(self, error: ProviderError) -> None:
        """Notes that the connection is lost."""


def _not_counted(usage: Usage) -> None:
    """Usage after the end of a connection."""


class Connection:
    """A connection with its two tasks, one that sends and one that receives, from its creation on.

    `count` is told what requests cost, also of those that were stopped.
    """

    def __init__(
        self,
        name: str,
        limits: Limits,
        duplex: SpeechDuplex,
        opening: Opening,
        count: Callable[[Usage], None],
    ) -> None:
        self.opening = opening
        self.uplink = asyncio.Lock()
        """Held while an utterance is sent: audio of two never mixes."""
        self._name = name
        self._limits = limits
        self._duplex = duplex
        self._count = count
        self._error: ProviderError | None = None
        self._commands: deque[tuple[Command, asyncio.Event]] = deque()
        self._commanded = asyncio.Event()
        self._answers: dict[str, RunningAnswer] = {}
        self._utterances: dict[str, HearsWords] = {}
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._live(), name=f"connection to {name}")

    @property
    def alive(self) -> bool:
        """True when it still carries anything."""
        return self._error is None

    @property
    def closed(self) -> bool:
        """True when nothing of it is left."""
        return self._task.done()

    def carry(self, utterance: HearsWords) -> None:
        """Passes the service's text of `utterance` to it, until the end of the connection."""
        self._utterances[utterance.name] = utterance
        if len(self._utterances) > MAX_UNDERSTOOD_LATE:
            oldest = self._utterances.pop(next(iter(self._utterances)))
            oldest.failed(ProviderUnavailable(self._name, "has not told what was said"))

    def leave(self, utterance: HearsWords) -> None:
        """Stops passing on the text of `utterance`."""
        self._utterances.pop(utterance.name, None)

    def expect(self, name: str) -> RunningAnswer:
        """Registers an answer under way; those that are over are forgotten."""
        self._answers = {name: answer for name, answer in self._answers.items() if not answer.over}
        answer = self._answers[name] = RunningAnswer(self._name, name, self)
        return answer

    def stop(self, answer: RunningAnswer, error: ProviderError | None = None) -> None:
        """Has the service stop `answer` unless it is over; it ends with `error`."""
        if not answer.over:
            answer.stopped = True
            answer.end(error)
            self.post(lambda duplex: duplex.send_cancel(answer.name))

    def post(self, command: Command) -> asyncio.Event:
        """Queues `command` behind all others; set when it was sent, or never will be. Never raises."""
        sent = asyncio.Event()
        if self.alive and len(self._commands) >= MAX_UNSENT:
            self.hang_up(ProviderUnavailable(self._name, "takes no messages any more"))
        if self.alive:
            self._commands.append((command, sent))
            self._commanded.set()
        else:
            sent.set()
        return sent

    async def run(self, command: Command) -> None:
        """Sends `command` and returns when it was. Raises ProviderError when the connection is lost."""
        await self.post(command).wait()
        if self._error is not None:
            raise self._error

    def hang_up(self, error: ProviderError | None = None) -> None:
        """Gives the connection up: all that is under way on it ends with `error`. Idempotent."""
        if self._error is not None:
            return
        self._error = error or ProviderUnavailable(self._name, "the connection was given up")
        for answer in self._answers.values():
            answer.end(self._error)
        carried, self._utterances = self._utterances, {}
        for utterance in carried.values():
            utterance.lost(self._error)
        while self._commands:
            _, sent = self._commands.popleft()
            sent.set()
        self._over.set()

    async def aclose(self) -> None:
        """Hangs up and waits until the connection is closed."""
        self.hang_up()
        await asyncio.wait([self._task])

    async def _live(self) -> None:
        tasks = [
            asyncio.create_task(self._receive(), name=f"what {self._name} says"),
            asyncio.create_task(self._send(), name=f"what {self._name} is told"),
        ]
        try:
            await self._over.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            try:
                async with provider_border(self._name, self._limits):
                    await self._duplex.aclose()
            except ProviderError as error:
                logger.debug("%s did not close: %s", self._name, error)
            # They refer to the connection and its session: what is over must not wait for the collector.
            self._answers.clear()
            self._count = _not_counted

    async def _receive(self) -> None:
        try:
            async with (
                provider_border(self._name, self._limits),
                closing_parts(self._duplex.receive()) as events,
            ):
                async for event in events:
                    self._sort(event)
            raise ProviderUnavailable(self._name, "hung up")
        except ProviderError as error:
            self.hang_up(error)

    def _sort(self, event: DuplexEvent) -> None:
        match event:
            case UserWords(name, transcript):
                if utterance := self._utterances.get(name):
                    utterance.heard(transcript)
            case WordsFailed(name, error):
                if utterance := self._utterances.get(name):
                    utterance.failed(error)
            case AnswerPart(name, part):
                if isinstance(part, Usage):
                    self._count(part)
                if answer := self._answers.get(name):
                    answer.put(part)
            case AnswerDone(name, end, silent):
                if answer := self._answers.get(name):
                    answer.end(end, silent=silent)

    async def _send(self) -> None:
        try:
            async with provider_border(self._name, self._limits):
                while True:
                    while self._commands:
                        await self._obey(*self._commands.popleft())
                    self._commanded.clear()
                    await self._commanded.wait()
        except ProviderError as error:
            self.hang_up(error)

    async def _obey(self, command: Command, sent: asyncio.Event) -> None:
        try:
            if await command(self._duplex) is False:
                self.hang_up()
        finally:
            sent.set()
