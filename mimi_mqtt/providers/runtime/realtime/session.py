"""A conversation with a speech-to-speech service, over as many connections as it takes.

What is needed to say everything again is kept here: the audio of the question, and what followed from it.
Earlier questions come from `SpeechSetup.history`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

from mimi_mqtt.config.voice import PriceSettings
from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.chat import ChatMessage, Usage
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.s2s import (
    Opening,
    S2sCapabilities,
    S2sEvent,
    SpeechDuplex,
    SpeechSession,
    SpeechSetup,
    SpeechUtterance,
)
from mimi_mqtt.providers.contract.stt import SttCapabilities
from mimi_mqtt.providers.runtime.realtime.connection import Connection, RunningAnswer
from mimi_mqtt.providers.runtime.realtime.utterance import DuplexUtterance
from mimi_mqtt.providers.runtime.resilience import Limits, provider_border, resilient
from mimi_mqtt.providers.runtime.usage import UsageMeter, count_speech_tokens, current_meter, metering

Dial = Callable[[Opening], Awaitable[SpeechDuplex]]


async def _truncate(answer: str, heard_ms: int, duplex: SpeechDuplex) -> bool:
    return await duplex.send_truncate(answer, heard_ms)


@dataclass(slots=True)
class _Round:
    """Tool calls that were made on `connection`, and their results."""

    calls: ChatMessage
    results: tuple[ChatMessage, ...]
    connection: Connection


@dataclass(slots=True)
class _Turn:
    """One question, and all that has followed from it so far: enough to ask it again."""

    utterance: DuplexUtterance | None = None
    question: ChatMessage | None = None
    rounds: list[_Round] = field(default_factory=list)
    answers: list[RunningAnswer] = field(default_factory=list)
    connection: Connection | None = None
    known: int = 0
    """Number of rounds that the service of `connection` knows."""

    async def bring(self, connection: Connection) -> None:
        """Has the service of `connection` remember all of it. Raises ProviderError."""
        messages: list[ChatMessage] = []
        if self.connection is not connection:
            self.connection, self.known = None, 0
            if self.utterance is not None:
                await self.utterance.delivered(connection)
            if self.question is not None:
                messages.append(self.question)
        for one in self.rounds[self.known :]:
            messages += one.results if one.connection is connection else (one.calls, *one.results)
        if messages:
            await connection.run(lambda duplex: duplex.send_messages(messages))
        self.connection, self.known = connection, len(self.rounds)


class _AnswerWait:
    """Clock of one answer; on time-out the connection is dropped. Only parts of the answer count."""

    def __init__(self, hang_up: Callable[[], None]) -> None:
        self._began = time.perf_counter()
        self._hang_up = hang_up

    @asynccontextmanager
    async def bound(self, timeout_s: float) -> AsyncIterator[None]:
        """Bounds the wait; the clock runs from now."""
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError:
            self._hang_up()
            raise

    def seconds_to(self, part: S2sEvent) -> float | None:
        """None for the user's own words: they are no answer."""
        return time.perf_counter() - self._began if _is_answer(part) else None


def _is_answer(part: S2sEvent) -> bool:
    return not isinstance(part, Transcript)


class DuplexSession(SpeechSession):
    """`dial` makes a vendor's connection; see `SpeechSession` for the rest."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        capabilities: S2sCapabilities,
        price: PriceSettings | None,
        setup: SpeechSetup,
        dial: Dial,
    ) -> None:
        self.name = name
        self.limits = limits
        self._capabilities = SttCapabilities(
            streaming=True, languages=capabilities.languages, sample_rate=capabilities.input_rate
        )
        self._endpoints = capabilities.endpoints
        self._price = price
        # The meter of the last request: the vendor tells what it used from the connection's own task.
        self._meter: UsageMeter | None = None
        self._setup = setup
        self._dial = dial
        self._connection: Connection | None = None
        self._readying = asyncio.Lock()
        self._numbers = count(1)
        self._turn: _Turn | None = None
        self._speaking: _Turn | None = None  # the turn, or what was said on its own since
        self._utterances: list[DuplexUtterance] = []
        self._past: list[Connection] = []  # given up, perhaps not closed yet
        self._closed = False

    @property
    def capabilities(self) -> SttCapabilities:
        """The format and languages of its audio input."""
        return self._capabilities

    @property
    def connected(self) -> bool:
        """True when there is a live connection now."""
        return self._connection is not None and self._connection.alive

    async def connect(self) -> None:
        """Connects if need be."""
        await self.ready()

    def open(self, *, language: str | None = None, max_s: float | None = None) -> DuplexUtterance:
        """Begins an utterance."""
        longest = self._setup.max_s if max_s is None else max_s
        name = f"utterance-{next(self._numbers)}"
        utterance = DuplexUtterance(self, name, self._capabilities.sample_rate, language, longest)
        self._utterances = [one for one in self._utterances if not one.over]
        self._utterances.append(utterance)
        return utterance

    async def answer(self, utterance: SpeechUtterance) -> AsyncGenerator[S2sEvent, None]:
        """Asks for the answer to `utterance`, which this session must have opened."""
        if not isinstance(utterance, DuplexUtterance):
            raise TypeError("an utterance of another session")
        utterance.end()
        if utterance.recording.empty:
            raise ProviderRefused(self.name, "an utterance without audio can't be answered")
        utterance.answered = True
        self._turn = _Turn(utterance)
        async with aclosing(self._request(self._turn)) as parts:
            async for part in parts:
                yield part

    async def ask(self, text: str) -> AsyncGenerator[S2sEvent, None]:
        """Asks a written question."""
        self._turn = _Turn(question=ChatMessage("user", text))
        async with aclosing(self._request(self._turn)) as parts:
            async for part in parts:
                yield part

    async def say(self, text: str) -> AsyncGenerator[S2sEvent, None]:
        """Has `text` spoken."""
        recital = _Turn()
        async with aclosing(self._request(recital, text)) as parts:
            async for part in parts:
                yield part
        if recital.connection is not None and not recital.answers[-1].stopped:
            said = (ChatMessage("assistant", text),)
            recital.connection.post(lambda duplex: duplex.send_messages(said))

    async def tool_results(self, results: Sequence[ChatMessage]) -> AsyncGenerator[S2sEvent, None]:
        """Goes on with the answer."""
        turn = self._turn
        if turn is None or not turn.answers or not turn.answers[-1].calls:
            raise ProviderRefused(self.name, "these are results of tools that it has not called")
        last = turn.answers[-1]
        calls = ChatMessage("assistant", last.text, tool_calls=tuple(last.calls))
        turn.rounds.append(_Round(calls, tuple(results), last.connection))
        async with aclosing(self._request(turn)) as parts:
            async for part in parts:
                yield part

    async def interrupted(self, heard_ms: int) -> None:
        """Stops the last answer and cuts its unheard rest from the service's memory."""
        left = float(heard_ms)
        for answer in self._speaking.answers if self._speaking is not None else ():
            running, connection = not answer.over, answer.connection
            if running:
                connection.stop(answer)
            answer.drop()
            if running or answer.ms > left:
                heard = round(min(max(left, 0.0), answer.ms))
                connection.post(partial(_truncate, answer.name, heard))
            left -= answer.ms

    async def aclose(self) -> None:
        """Hangs up."""
        self._closed = True
        self._hang_up()
        for utterance in self._utterances:
            await utterance.stop()
        for connection in self._past:
            await connection.aclose()
        # They refer to the session: what is over must not wait for the garbage collector.
        self._utterances.clear()
        self._past.clear()
        self._turn = self._speaking = None

    # ── for its utterances ───────────────────────────────────────────────────────────────────────────────

    def understood(self, utterance: DuplexUtterance) -> None:
        """Adds the final text of `utterance` to its answer, if that is not over."""
        turn = self._turn
        if turn is not None and turn.utterance is utterance and turn.answers and utterance.final is not None:
            turn.answers[-1].put(utterance.final)

    async def ready(self, *, up_to_date: bool = False) -> tuple[Connection, bool]:
        """A live connection, and whether it was there before; `up_to_date`: with the prompt and tools of now.

        Raises ProviderError.
        """
        async with self._readying:
            self._demand_open()
            connection = self._connection
            if (
                connection is not None
                and connection.alive
                and (not up_to_date or await self._update(connection))
            ):
                return connection, True
            self._hang_up()
            self._connection = await self._connect()
            self._demand_open()
            return self._connection, False

    # ── connections ──────────────────────────────────────────────────────────────────────────────────────

    def _demand_open(self) -> None:
        if self._closed:
            self._hang_up()
            raise ProviderUnavailable(self.name, "the conversation was closed")

    async def _update(self, connection: Connection) -> bool:
        """Sends a new prompt or new tools; true when `connection` can go on."""
        now = replace(connection.opening, prompt=self._setup.prompt(), tools=tuple(self._setup.tools()))
        if now == connection.opening:
            return True
        try:
            await connection.run(lambda duplex: duplex.send_changes(now))
        except ProviderError:
            return False
        connection.opening = now
        return True

    async def _connect(self) -> Connection:
        async with provider_border(self.name, self.limits), asyncio.timeout(self.limits.timeout_s):
            opening = self._opening()
            duplex = await self._dial(opening)
        return Connection(self.name, self.limits, duplex, opening, self._count)

    def _opening(self) -> Opening:
        setup = self._setup
        return Opening(
            prompt=setup.prompt(),
            tools=tuple(setup.tools()),
            history=tuple(setup.history()),
            language=setup.language,
            voice=setup.voice,
            speed=setup.speed,
            device_id=setup.device_id,
            end_by_vendor=setup.end_by_vendor and self._endpoints,
        )

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        self._past = [one for one in self._past if not one.closed]
        if connection is not None:
            connection.hang_up()
            self._past.append(connection)

    def _count(self, usage: Usage) -> None:
        heard, said = usage.input_audio_tokens, usage.output_audio_tokens
        with metering(self._meter):
            count_speech_tokens(
                self.name,
                heard=(usage.input_tokens - heard, heard),
                said=(usage.output_tokens - said, said),
                price=self._price,
            )

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────

    async def _request(self, turn: _Turn, recital: str = "") -> AsyncGenerator[S2sEvent, None]:
        if self._speaking is not None and self._speaking.answers:
            before = self._speaking.answers[-1]
            before.connection.stop(before)
        self._speaking = turn
        self._meter = current_meter()
        attempts = resilient(
            partial(self._one_request, turn, recital),
            role="s2s",
            name=self.name,
            limits=self.limits,
            again_when_late=True,
            wait=partial(_AnswerWait, self._hang_up),
            binds=_is_answer,
        )
        try:
            async with aclosing(attempts) as parts:
                async for part in parts:
                    yield part
        except ProviderError as error:
            # What the service remembers of this is not what will be heard: the next connection knows.
            self._hang_up()
            if turn.utterance is not None:
                turn.utterance.failed(error)
            raise

    async def _one_request(self, turn: _Turn, recital: str) -> AsyncGenerator[S2sEvent, None]:
        reused = True
        while reused:
            connection, reused = await self.ready(up_to_date=True)
            answer = connection.expect(f"answer-{next(self._numbers)}")
            turn.answers.append(answer)
            try:
                async with aclosing(self._parts(turn, recital, answer)) as parts:
                    async for part in parts:
                        yield part
                return
            except ProviderUnavailable:
                # A connection that was lost between two turns doesn't count as a failure.
                if not reused or answer.begun or connection.alive:
                    raise
            finally:
                connection.stop(answer)
                answer.drop()

    async def _parts(
        self, turn: _Turn, recital: str, answer: RunningAnswer
    ) -> AsyncGenerator[S2sEvent, None]:
        utterance, connection = turn.utterance, answer.connection
        if utterance is not None and utterance.final is not None and not utterance.reported:
            answer.put(utterance.final)
        await turn.bring(connection)
        if recital:
            await connection.run(lambda duplex: duplex.send_recital(answer.name, recital))
        else:
            await connection.run(lambda duplex: duplex.send_request(answer.name))
        async for part in answer.parts():
            if isinstance(part, Transcript) and utterance is not None:
                utterance.reported = True
            yield part
        if not answer.begun and not answer.stopped and not answer.silent:
            raise ProviderBadAnswer(self.name, "answered with nothing")
