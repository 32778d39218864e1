"""The contract of speech-to-speech sessions, over the real one and over the fake that voice's tests use."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

import numpy as np
import pytest

from mimi_mqtt.errors import ProviderError, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, ToolSpec
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.realtime.provider import (
    AnswerDone,
    AnswerPart,
    S2sEvent,
    SpeechSession,
    SpeechSetup,
)
from mimi_mqtt.providers.runtime.resilience import Limits
from tests.fakes.duplex import FakeDuplex, FakeS2s
from tests.fakes.speech_service import RATE, FakeService, Sound, Step

pytestmark = pytest.mark.virtual_time

SPEECH = np.ones(RATE // 10, np.int16)
LIGHT = ToolCall("c1", "light", {"on": True})
DONE = ChatMessage("tool", "done", tool_call_id="c1")
DOWN = ProviderUnavailable("service", "down")


class Service(ABC):
    """A scripted service: what the session under test asks, and what came of it."""

    prompt = "Be brief."
    history: tuple[ChatMessage, ...] = ()
    tools: tuple[ToolSpec, ...] = ()

    def setup(self) -> SpeechSetup:
        return SpeechSetup(lambda: self.prompt, lambda: self.tools, lambda: self.history)

    @abstractmethod
    def open(self) -> SpeechSession:
        """A session whose answers follow the script."""

    @abstractmethod
    def refuse(self, error: ProviderError | None) -> None:
        """Connecting fails from now on, or not any more."""

    @property
    @abstractmethod
    def openings(self) -> list[tuple[str, list[str]]]:
        """Prompt and texts of the history that each connection began with."""

    @property
    @abstractmethod
    def discarded(self) -> int:
        """How many utterances the service was told to forget."""


class ScriptedFake(Service):
    """The fake session of the fake service."""

    def __init__(self, *answers: Sequence[Step], words: str = "hello") -> None:
        self._service = FakeService(*answers, words=[words])

    def open(self) -> SpeechSession:
        return self._service.open(self.setup())

    def refuse(self, error: ProviderError | None) -> None:
        self._service.refuses = error

    @property
    def openings(self) -> list[tuple[str, list[str]]]:
        histories = [[text for _, text in history] for history in self._service.histories]
        return list(zip(self._service.prompts, histories, strict=True))

    @property
    def discarded(self) -> int:
        return self._service.log.count("discard")


class _Refusing(FakeS2s):
    refusal: ProviderError | None = None

    async def _connect(self, opening: object) -> FakeDuplex:
        if self.refusal is not None:
            raise self.refusal
        await super()._connect(opening)  # type: ignore[arg-type]
        return self.duplex


def _reply(steps: Sequence[Step]) -> Callable[[FakeDuplex, str], None]:
    def reply(duplex: FakeDuplex, answer: str) -> None:
        for step in steps:
            match step:
                case str(text):
                    duplex.say(AnswerPart(answer, TextDelta(text)))
                case Sound(ms):
                    duplex.say(AnswerPart(answer, SpeechChunk(np.ones(RATE * ms // 1000, np.int16), RATE)))
                case ToolCall():
                    duplex.say(AnswerPart(answer, step))
                case ProviderError():
                    duplex.say(AnswerDone(answer, step))
                    return
                case _:
                    raise TypeError(f"no step of this contract: {step!r}")
        duplex.say(AnswerDone(answer))

    return reply


class ScriptedReal(Service):
    """The real session over scripted connections."""

    def __init__(self, *answers: Sequence[Step], words: str = "hello") -> None:
        self._service = _Refusing(Limits(timeout_s=15.0, retries=0))
        self._service.words = words
        if answers:
            self._service.replies = [_reply(steps) for steps in answers]

    def open(self) -> SpeechSession:
        return self._service.open(self.setup())

    def refuse(self, error: ProviderError | None) -> None:
        self._service.refusal = error

    @property
    def openings(self) -> list[tuple[str, list[str]]]:
        return [
            (one.opening.prompt, [message.content for message in one.opening.history])
            for one in self._service.connections
        ]

    @property
    def discarded(self) -> int:
        return sum(one.kinds().count("discard") for one in self._service.connections)


async def settle() -> None:
    """Virtual time goes on only when nothing else is ready to run."""
    await asyncio.sleep(0.001)


async def collect(stream: AsyncGenerator[S2sEvent, None]) -> list[S2sEvent]:
    async with aclosing(stream) as events:
        return [event async for event in events]


def words(events: list[S2sEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def sound_ms(events: list[S2sEvent]) -> float:
    return sum(event.pcm.size * 1000 / RATE for event in events if isinstance(event, SpeechChunk))


ANSWER: Sequence[Step] = ("Good ", Sound(200), "day", Sound(100))


class SpeechSessionContract:
    """Every case runs over both sessions."""

    service_class: type[ScriptedFake] | type[ScriptedReal]

    @pytest.fixture
    async def sessions(self) -> AsyncIterator[list[SpeechSession]]:
        opened: list[SpeechSession] = []
        yield opened
        for session in opened:
            await session.aclose()

    def begin(self, sessions: list[SpeechSession], *answers: Sequence[Step]) -> tuple[Service, SpeechSession]:
        service = self.service_class(*(answers or (ANSWER,)))
        sessions.append(service.open())
        return service, sessions[-1]

    async def test_an_utterance_is_understood_and_answered(self, sessions: list[SpeechSession]) -> None:
        service, session = self.begin(sessions)
        utterance = session.open()
        utterance.push(SPEECH)
        events = await collect(session.answer(utterance))
        assert (words(events), sound_ms(events)) == ("Good day", 300)
        told = [event for event in events if isinstance(event, Transcript)]
        assert all(event == Transcript("hello", final=True) for event in told)
        assert len(told) <= 1
        for _ in range(2):
            assert await utterance.finish() == Transcript("hello", final=True)
        await utterance.aclose()
        await settle()
        assert service.discarded == 0

    async def test_it_connects_once_and_with_the_prompt_and_history_of_that_moment(
        self, sessions: list[SpeechSession]
    ) -> None:
        service, session = self.begin(sessions)
        assert service.openings == []
        service.prompt = "Be loud."
        service.history = (ChatMessage("user", "earlier"), ChatMessage("assistant", "yes"))
        await session.connect()
        await session.connect()
        assert session.connected
        assert service.openings == [("Be loud.", ["earlier", "yes"])]

    async def test_the_first_audio_connects(self, sessions: list[SpeechSession]) -> None:
        service, session = self.begin(sessions)
        utterance = session.open()
        await settle()
        assert service.openings == []
        utterance.push(SPEECH)
        utterance.push(SPEECH)
        await settle()
        assert session.connected
        assert len(service.openings) == 1

    async def test_an_utterance_without_audio_is_empty_and_has_no_answer(
        self, sessions: list[SpeechSession]
    ) -> None:
        service, session = self.begin(sessions)
        utterance = session.open()
        with pytest.raises(ProviderRefused):
            await collect(session.answer(utterance))
        assert await utterance.finish() == Transcript("", final=True)
        assert service.openings == []

    async def test_noise_leaves_no_trace_in_the_service(self, sessions: list[SpeechSession]) -> None:
        service, session = self.begin(sessions)
        await session.connect()
        utterance = session.open()
        utterance.push(SPEECH)
        await settle()
        await utterance.aclose()
        await utterance.aclose()
        await settle()
        assert service.discarded == 1

    async def test_an_answered_utterance_can_be_discarded_once(self, sessions: list[SpeechSession]) -> None:
        service, session = self.begin(sessions)
        utterance = session.open()
        utterance.push(SPEECH)
        await collect(session.answer(utterance))
        await session.interrupted(0)
        await utterance.discard()
        await utterance.discard()
        await settle()
        assert service.discarded == 1

    async def test_tool_calls_are_whole_and_their_results_go_on(self, sessions: list[SpeechSession]) -> None:
        _, session = self.begin(sessions, ("One moment. ", LIGHT), ("It is on.", Sound(100)))
        events = await collect(session.ask("the light, please"))
        assert [event for event in events if isinstance(event, ToolCall)] == [LIGHT]
        events = await collect(session.tool_results([DONE]))
        assert (words(events), sound_ms(events)) == ("It is on.", 100)

    async def test_results_of_tools_that_were_not_called_are_refused(
        self, sessions: list[SpeechSession]
    ) -> None:
        _, session = self.begin(sessions)
        await collect(session.ask("hello"))
        with pytest.raises(ProviderRefused):
            await collect(session.tool_results([DONE]))

    async def test_words_to_be_spoken_are_heard(self, sessions: list[SpeechSession]) -> None:
        _, session = self.begin(sessions, (Sound(500),))
        events = await collect(session.say("Good morning"))
        assert sound_ms(events) > 0
        assert words(events) == ""

    async def test_a_service_that_refuses_fails_the_answer_and_may_be_asked_again(
        self, sessions: list[SpeechSession]
    ) -> None:
        service, session = self.begin(sessions)
        service.refuse(DOWN)
        with pytest.raises(ProviderUnavailable):
            await session.connect()
        with pytest.raises(ProviderUnavailable):
            await collect(session.ask("hello"))
        assert not session.connected
        service.refuse(None)
        assert words(await collect(session.ask("hello"))) == "Good day"

    async def test_an_answer_that_fails_costs_the_connection_and_the_next_one_knows_the_history(
        self, sessions: list[SpeechSession]
    ) -> None:
        service, session = self.begin(sessions, ("Go", Sound(100), DOWN), ANSWER)
        async with aclosing(session.ask("hello")) as events:
            assert words([await anext(events)]) == "Go"
            assert sound_ms([await anext(events)]) == 100
            with pytest.raises(ProviderUnavailable):
                await anext(events)
        assert not session.connected
        service.history = (ChatMessage("user", "hello"), ChatMessage("assistant", "Go"))
        assert words(await collect(session.ask("and?"))) == "Good day"
        assert [history for _, history in service.openings] == [[], ["hello", "Go"]]

    async def test_an_answer_that_nobody_reads_to_its_end_does_not_hold_up_the_next(
        self, sessions: list[SpeechSession]
    ) -> None:
        _, session = self.begin(sessions, ("Once upon a time", Sound(1_000)), ANSWER)
        async with aclosing(session.ask("a story")) as events:
            await anext(events)
        await session.interrupted(100)
        assert words(await collect(session.ask("hello"))) == "Good day"
        assert session.connected

    async def test_an_interruption_of_nothing_is_no_harm(self, sessions: list[SpeechSession]) -> None:
        service, session = self.begin(sessions)
        await session.interrupted(500)
        assert service.openings == []

    async def test_after_the_end_nothing_is_asked(self, sessions: list[SpeechSession]) -> None:
        service, session = self.begin(sessions)
        await session.connect()
        utterance = session.open()
        utterance.push(SPEECH)
        await session.aclose()
        await session.aclose()
        assert not session.connected
        with pytest.raises(ProviderUnavailable):
            await session.connect()
        for stream in (session.answer(utterance), session.ask("hello"), session.say("hello")):
            with pytest.raises(ProviderUnavailable):
                await collect(stream)
        assert len(service.openings) == 1


class TestFakeSession(SpeechSessionContract):
    """Over `tests.fakes.speech_service.FakeSession`."""

    service_class = ScriptedFake


class TestDuplexSession(SpeechSessionContract):
    """Over `runtime.realtime.session.DuplexSession`."""

    service_class = ScriptedReal
