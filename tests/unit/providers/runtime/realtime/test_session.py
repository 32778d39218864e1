"""The behaviour of every speech-to-speech session, whatever the vendor."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.config.voice import PriceSettings
from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, ToolSpec, Usage
from mimi_mqtt.providers.contract.llm import MAX_ANSWER_CHARS, MAX_TOOL_CALLS
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.tts import MAX_SPEECH_S, SpeechChunk
from mimi_mqtt.providers.runtime.realtime.connection import MAX_UNDERSTOOD_LATE, MAX_UNSENT, MAX_WAITING_PARTS
from mimi_mqtt.providers.runtime.realtime.provider import (
    AnswerDone,
    AnswerPart,
    S2sEvent,
    SpeechSession,
    SpeechSetup,
    UserWords,
    WordsFailed,
)
from mimi_mqtt.providers.runtime.resilience import Limits
from tests.fakes.duplex import RATE, FakeDuplex, FakeS2s, calls, good_reply, no_reply
from tests.unit.providers.fakes import metric

pytestmark = pytest.mark.virtual_time

ONE = np.arange(1, 4, dtype=np.int16)
TWO = np.arange(4, 7, dtype=np.int16)
LIGHT = ToolCall("c1", "light", {"on": True})
DONE = ChatMessage("tool", "done", tool_call_id="c1")


class World:
    """The answers to the session's callbacks."""

    def __init__(self) -> None:
        self.prompt = "Be brief."
        self.tools: tuple[ToolSpec, ...] = ()
        self.history: tuple[ChatMessage, ...] = ()

    def setup(self, **changes: Any) -> SpeechSetup:
        asked = SpeechSetup(lambda: self.prompt, lambda: self.tools, lambda: self.history)
        return replace(asked, **changes)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def service() -> FakeS2s:
    return FakeS2s()


@pytest.fixture
async def session(service: FakeS2s, world: World) -> AsyncIterator[SpeechSession]:
    opened = service.open(world.setup())
    yield opened
    await opened.aclose()


async def events(stream: AsyncGenerator[S2sEvent, None]) -> list[S2sEvent]:
    async with aclosing(stream) as parts:
        return [part async for part in parts]


async def until_told(service: FakeS2s, kind: str, times: int = 1) -> None:
    """Waits until the latest connection was told so."""
    while not service.connections or service.duplex.kinds().count(kind) < times:
        service.took.clear()
        await service.took.wait()


def words(found: list[S2sEvent]) -> str:
    return "".join(event.text for event in found if isinstance(event, TextDelta))


async def test_nothing_is_asked_before_the_first_audio(service: FakeS2s, session: SpeechSession) -> None:
    utterance = session.open()
    assert not service.connections
    assert not session.connected
    assert await utterance.finish() == Transcript("", final=True)


async def test_warming_up_connects_once(service: FakeS2s, session: SpeechSession) -> None:
    await session.connect()
    await session.connect()
    assert session.connected
    assert len(service.connections) == 1


async def test_an_utterance_is_streamed_and_answered(service: FakeS2s, session: SpeechSession) -> None:
    utterance = session.open(language="de")
    utterance.push(ONE)
    await until_told(service, "audio")
    utterance.push(TWO)
    found = await events(session.answer(utterance))
    assert service.duplex.kinds() == ["audio", "end", "request"]
    assert service.duplex.audio("utterance-1") == [1, 2, 3, 4, 5, 6]
    assert found[0] == Transcript("hello world", final=True, language="de")
    assert words(found) == "good day"
    assert [event.pcm.size for event in found if isinstance(event, SpeechChunk)] == [RATE // 4] * 2
    assert found[-1] == Usage(100, 50, 80, 40)
    assert (await utterance.finish()).text == "hello world"


async def test_a_session_hears_as_speech_to_text_does(session: SpeechSession) -> None:
    assert session.capabilities.streaming
    assert session.capabilities.sample_rate == RATE


async def test_a_late_transcript_is_no_part_of_the_answer_but_is_there(
    service: FakeS2s, session: SpeechSession
) -> None:
    service.words = None
    utterance = session.open()
    utterance.push(ONE)
    found = await events(session.answer(utterance))
    assert not [event for event in found if isinstance(event, Transcript)]
    service.duplex.say(UserWords("utterance-1", Transcript("at last", final=True)))
    assert (await utterance.finish()).text == "at last"


async def test_the_text_of_an_answered_utterance_may_come_after_it_was_closed(
    service: FakeS2s, session: SpeechSession
) -> None:
    service.words = None
    utterance = session.open()
    utterance.push(ONE)
    await events(session.answer(utterance))
    await utterance.aclose()
    finishing = asyncio.create_task(utterance.finish())
    await asyncio.sleep(1)
    service.duplex.say(UserWords("utterance-1", Transcript("at last", final=True)))
    assert (await finishing).text == "at last"


async def test_text_that_never_comes_is_not_waited_for_without_end(
    service: FakeS2s, session: SpeechSession
) -> None:
    service.words = None
    utterances = []
    for _ in range(MAX_UNDERSTOOD_LATE + 1):
        utterance = session.open()
        utterance.push(ONE)
        await events(session.answer(utterance))
        await utterance.aclose()
        utterances.append(utterance)
    with pytest.raises(ProviderUnavailable):
        await utterances[0].finish()
    service.duplex.say(UserWords("utterance-3", Transcript("at last", final=True)))
    assert (await utterances[1].finish()).text == "at last"


async def test_interim_text_and_the_services_endpoint_are_shown(
    service: FakeS2s, session: SpeechSession
) -> None:
    utterance = session.open()
    utterance.push(ONE)
    await until_told(service, "audio")
    service.duplex.say(UserWords("utterance-1", Transcript("hel", final=False, endpoint=True)))
    await asyncio.sleep(0.01)
    assert (utterance.interim, utterance.endpoint) == ("hel", True)


async def test_failed_words_do_not_touch_the_answer(service: FakeS2s, session: SpeechSession) -> None:
    service.words = None
    error = ProviderUnavailable("fake", "no words")

    def reply(duplex: FakeDuplex, answer: str) -> None:
        duplex.say(WordsFailed("utterance-1", error))
        good_reply(duplex, answer)

    service.replies = [reply]
    utterance = session.open()
    utterance.push(ONE)
    assert words(await events(session.answer(utterance))) == "good day"
    with pytest.raises(ProviderUnavailable, match="no words"):
        await utterance.finish()


async def test_words_that_never_come_time_out(service: FakeS2s, session: SpeechSession) -> None:
    service.words = None
    utterance = session.open()
    utterance.push(ONE)
    with pytest.raises(ProviderTimeout):
        await utterance.finish()


@pytest.mark.parametrize("ended", [False, True])
async def test_a_discarded_utterance_leaves_no_trace(
    service: FakeS2s, session: SpeechSession, ended: bool
) -> None:
    noise = session.open()
    noise.push(ONE)
    if ended:
        await noise.finish()
    await until_told(service, "audio")
    await noise.aclose()
    question = session.open()
    question.push(TWO)
    await events(session.answer(question))
    ending = ["end"] if ended else []
    assert service.duplex.kinds() == ["audio", *ending, "discard", "audio", "end", "request"]


async def test_what_was_answered_is_not_discarded(service: FakeS2s, session: SpeechSession) -> None:
    utterance = session.open()
    utterance.push(ONE)
    await events(session.answer(utterance))
    await utterance.aclose()
    await events(session.ask("more"))
    assert "discard" not in service.duplex.kinds()


@pytest.mark.parametrize("closed", [False, True])
async def test_what_was_answered_can_be_discarded_all_the_same(
    service: FakeS2s, session: SpeechSession, closed: bool
) -> None:
    utterance = session.open()
    utterance.push(ONE)
    await events(session.answer(utterance))
    await session.interrupted(0)
    if closed:
        await utterance.aclose()
    await utterance.discard()
    await utterance.discard()
    await events(session.ask("more"))
    assert service.duplex.kinds()[3:5] == ["truncate", "discard"]
    assert service.duplex.kinds().count("discard") == 1


async def test_audio_of_two_utterances_never_mixes(service: FakeS2s, session: SpeechSession) -> None:
    first, second = session.open(), session.open()
    for pcm in (ONE, TWO):
        first.push(pcm)
        second.push(pcm)
        await asyncio.sleep(0.01)
    first.end()
    await events(session.answer(second))
    assert [told[:2] for told in service.duplex.told] == [
        *[("audio", "utterance-1")] * 2,
        ("end", "utterance-1"),
        *[("audio", "utterance-2")] * 2,
        ("end", "utterance-2"),
        ("request", "answer-3"),
    ]


async def test_an_utterance_is_bounded(service: FakeS2s, session: SpeechSession) -> None:
    utterance = session.open(max_s=4 / RATE)
    utterance.push(ONE)
    utterance.push(TWO)
    await events(session.answer(utterance))
    assert service.duplex.audio("utterance-1") == [1, 2, 3, 4]
    assert utterance.recording.seconds == 4 / RATE


async def test_no_audio_is_no_question(session: SpeechSession) -> None:
    with pytest.raises(ProviderRefused, match="without audio"):
        await events(session.answer(session.open()))


async def test_tools_are_called_and_answered_on_the_same_connection(
    service: FakeS2s, session: SpeechSession
) -> None:
    service.replies = [calls(LIGHT), good_reply]
    assert await events(session.ask("light on")) == [LIGHT]
    assert words(await events(session.tool_results([DONE]))) == "good day"
    assert service.duplex.told == [
        ("messages", [ChatMessage("user", "light on")]),
        ("request", "answer-1"),
        ("messages", [DONE]),
        ("request", "answer-2"),
    ]


async def test_the_users_words_come_once_whatever_follows_from_them(
    service: FakeS2s, session: SpeechSession
) -> None:
    service.replies = [calls(LIGHT), good_reply]
    utterance = session.open()
    utterance.push(ONE)
    asked = await events(session.answer(utterance))
    found = [*asked, *await events(session.tool_results([DONE]))]
    assert [event.text for event in found if isinstance(event, Transcript)] == ["hello world"]


async def test_results_nobody_asked_for_are_refused(session: SpeechSession) -> None:
    with pytest.raises(ProviderRefused):
        await events(session.tool_results([DONE]))
    await events(session.ask("hello"))
    with pytest.raises(ProviderRefused):
        await events(session.tool_results([DONE]))


async def test_something_may_be_said_while_tools_run(service: FakeS2s, session: SpeechSession) -> None:
    service.replies = [calls(LIGHT), good_reply]
    await events(session.ask("light on"))
    await events(session.say("One moment."))
    assert words(await events(session.tool_results([DONE]))) == "good day"


async def test_tool_results_on_a_new_connection_bring_the_whole_question(
    service: FakeS2s, session: SpeechSession, world: World
) -> None:
    service.replies = [calls(LIGHT), good_reply]
    utterance = session.open()
    utterance.push(ONE)
    await events(session.answer(utterance))
    world.history = (ChatMessage("user", "before"), ChatMessage("assistant", "indeed"))
    service.duplex.lose()
    assert words(await events(session.tool_results([DONE]))) == "good day"
    assert service.duplex.opening.history == world.history
    assert service.duplex.kinds() == ["audio", "end", "messages", "request"]
    assert service.duplex.told[-2][1] == [ChatMessage("assistant", "", tool_calls=(LIGHT,)), DONE]


async def test_what_was_said_is_remembered_but_no_question(service: FakeS2s, session: SpeechSession) -> None:
    assert words(await events(session.say("Hello!"))) == "good day"
    await until_told(service, "messages")
    assert service.duplex.told == [
        ("recital", "answer-1", "Hello!"),
        ("messages", [ChatMessage("assistant", "Hello!")]),
    ]


async def test_an_interruption_stops_and_truncates(service: FakeS2s, session: SpeechSession) -> None:
    def endless(duplex: FakeDuplex, answer: str) -> None:
        duplex.say(AnswerPart(answer, SpeechChunk(np.ones(RATE, np.int16), RATE)))

    service.replies = [endless, good_reply]
    async with aclosing(session.ask("hello")) as parts:
        await anext(parts)
        await session.interrupted(300)
        assert [part async for part in parts] == []
    assert words(await events(session.ask("again"))) == "good day"
    assert service.duplex.told[2:4] == [("cancel", "answer-1"), ("truncate", "answer-1", 300)]


async def test_an_interruption_after_the_stream_truncates_each_part(
    service: FakeS2s, session: SpeechSession
) -> None:
    def said_and_called(duplex: FakeDuplex, answer: str) -> None:
        duplex.say(AnswerPart(answer, SpeechChunk(np.ones(RATE, np.int16), RATE)))
        calls(LIGHT)(duplex, answer)

    service.replies = [said_and_called, good_reply]
    await events(session.ask("hello"))
    await events(session.tool_results([DONE]))
    await session.interrupted(1200)
    await until_told(service, "truncate")
    assert service.duplex.told[-1] == ("truncate", "answer-2", 200)


async def test_an_answer_heard_to_its_end_is_not_truncated(service: FakeS2s, session: SpeechSession) -> None:
    await events(session.ask("hello"))
    await session.interrupted(500)
    await events(session.ask("again"))
    assert service.duplex.kinds() == ["messages", "request"] * 2


async def test_who_stops_reading_stops_the_answer(service: FakeS2s, session: SpeechSession) -> None:
    def endless(duplex: FakeDuplex, answer: str) -> None:
        duplex.say(AnswerPart(answer, TextDelta("and ")))

    service.replies = [endless]
    async with aclosing(session.ask("hello")) as parts:
        await anext(parts)
    await until_told(service, "cancel")


async def test_parts_of_a_stopped_answer_are_dropped(service: FakeS2s, session: SpeechSession) -> None:
    def endless(duplex: FakeDuplex, answer: str) -> None:
        duplex.say(AnswerPart(answer, TextDelta("one")))

    def late(duplex: FakeDuplex, answer: str) -> None:
        duplex.say(AnswerPart("answer-1", TextDelta("stale")), AnswerDone("answer-1"))
        good_reply(duplex, answer)

    service.replies = [endless, late]
    async with aclosing(session.ask("hello")) as parts:
        await anext(parts)
    assert words(await events(session.ask("again"))) == "good day"


async def test_a_new_request_ends_the_one_before(service: FakeS2s, session: SpeechSession) -> None:
    service.replies = [no_reply, good_reply]
    first = asyncio.create_task(events(session.ask("one")))
    await until_told(service, "request")
    assert words(await events(session.ask("two"))) == "good day"
    assert await first == []
    assert "cancel" in service.duplex.kinds()


@pytest.mark.parametrize("what", ["discard", "truncate"])
async def test_a_service_that_can_not_forget_is_called_anew(
    service: FakeS2s, session: SpeechSession, world: World, what: str
) -> None:
    service.able = False
    await events(session.ask("hello"))
    if what == "truncate":
        await session.interrupted(10)
    else:
        noise = session.open()
        noise.push(ONE)
        await until_told(service, "audio")
        await noise.aclose()
    await until_told(service, what)
    world.history = (ChatMessage("user", "hello"), ChatMessage("assistant", "go"))
    await events(session.ask("again"))
    assert len(service.connections) == 2
    assert service.connections[0].closed
    assert service.duplex.opening.history == world.history


@pytest.mark.parametrize("able", [True, False])
async def test_a_new_prompt_or_tool_reaches_the_service(
    service: FakeS2s, session: SpeechSession, world: World, able: bool
) -> None:
    service.able = able
    await events(session.ask("hello"))
    world.tools = (ToolSpec("light", "", {}),)
    await events(session.ask("light on"))
    await events(session.ask("and off"))
    if able:
        (changes,) = [told for told in service.duplex.told if told[0] == "changes"]
        assert changes[1].tools == world.tools
    assert len(service.connections) == (1 if able else 2)
    assert able or service.duplex.opening.tools == world.tools


@pytest.mark.parametrize("endpoints", [True, False])
async def test_the_vendor_marks_ends_only_if_it_can(world: World, endpoints: bool) -> None:
    service = FakeS2s(endpoints=endpoints)
    session = service.open(
        world.setup(end_by_vendor=True, voice="marin", speed=1.2, language="de", device_id="d")
    )
    await session.connect()
    opening = service.duplex.opening
    assert opening.end_by_vendor is endpoints
    assert (opening.voice, opening.speed, opening.language, opening.device_id) == ("marin", 1.2, "de", "d")
    await session.aclose()


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────


async def test_an_idle_connection_that_died_is_replaced_silently(
    service: FakeS2s, session: SpeechSession, world: World
) -> None:
    await events(session.ask("hello"))
    world.history = (ChatMessage("user", "hello"), ChatMessage("assistant", "good day"))
    service.duplex.lose(ProviderUnavailable("fake", "session expired"))
    await asyncio.sleep(0.01)
    assert not session.connected
    assert words(await events(session.ask("again"))) == "good day"
    assert service.duplex.opening.history == world.history


async def test_a_connection_that_dies_at_the_question_costs_no_try(world: World) -> None:
    service = FakeS2s(Limits(timeout_s=5, retries=0))
    session = service.open(world.setup())
    await events(session.ask("hello"))
    service.replies = [lambda duplex, answer: duplex.lose(), good_reply]
    assert words(await events(session.ask("again"))) == "good day"
    assert len(service.connections) == 2
    await session.aclose()


async def test_a_connection_lost_before_the_answer_is_made_again_with_the_same_audio(
    service: FakeS2s, session: SpeechSession
) -> None:
    service.replies = [lambda duplex, answer: duplex.lose(), good_reply]
    utterance = session.open()
    utterance.push(ONE)
    found = await events(session.answer(utterance))
    assert words(found) == "good day"
    assert [event for event in found if isinstance(event, Transcript)] == [
        Transcript("hello world", final=True)
    ]
    assert [duplex.audio("utterance-1") for duplex in service.connections] == [[1, 2, 3]] * 2


async def test_a_connection_lost_while_somebody_speaks_is_made_again(
    service: FakeS2s, session: SpeechSession
) -> None:
    utterance = session.open()
    utterance.push(ONE)
    await until_told(service, "audio")
    service.duplex.lose()
    await asyncio.sleep(0.01)
    utterance.push(TWO)
    await until_told(service, "audio")
    assert (await utterance.finish()).text == "hello world"
    assert service.duplex.audio("utterance-1") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("connected", [False, True])
async def test_nothing_is_repeated_once_something_was_said(
    service: FakeS2s, session: SpeechSession, connected: bool
) -> None:
    if connected:
        await session.connect()
    service.replies = [lambda duplex, answer: duplex.say(AnswerPart(answer, TextDelta("go"))), good_reply]
    async with aclosing(session.ask("hello")) as parts:
        assert await anext(parts) == TextDelta("go")
        service.duplex.lose()
        with pytest.raises(ProviderUnavailable):
            await anext(parts)
    assert len(service.connections) == 1


async def test_after_a_failed_answer_the_next_connection_has_the_history(
    service: FakeS2s, session: SpeechSession
) -> None:
    error = ProviderRefused("fake", "no")
    service.replies = [lambda duplex, answer: duplex.say(AnswerDone(answer, error)), good_reply]
    with pytest.raises(ProviderRefused):
        await events(session.ask("hello"))
    assert not session.connected
    assert words(await events(session.ask("again"))) == "good day"


async def test_a_slow_service_is_hung_up_on_and_asked_again(service: FakeS2s, session: SpeechSession) -> None:
    service.replies = [no_reply, good_reply]
    assert words(await events(session.ask("hello"))) == "good day"
    assert len(service.connections) == 2


async def test_a_service_that_falls_silent_times_out(service: FakeS2s, session: SpeechSession) -> None:
    service.replies = [lambda duplex, answer: duplex.say(AnswerPart(answer, TextDelta("go")))]
    with pytest.raises(ProviderTimeout):
        await events(session.ask("hello"))


async def test_a_service_that_takes_no_messages_times_out(service: FakeS2s, session: SpeechSession) -> None:
    service.stuck = True
    utterance = session.open()
    utterance.push(ONE)
    with pytest.raises(ProviderTimeout):
        await events(session.answer(utterance))


async def test_a_service_that_does_not_let_in_times_out(service: FakeS2s, session: SpeechSession) -> None:
    service.silent = True
    with pytest.raises(ProviderTimeout):
        await session.connect()


async def test_a_refused_connection_is_no_second_try(service: FakeS2s, session: SpeechSession) -> None:
    service.refusals = [ProviderRefused("fake", "wrong key"), ProviderRefused("fake", "wrong key")]
    utterance = session.open()
    utterance.push(ONE)
    with pytest.raises(ProviderRefused):
        await utterance.finish()
    with pytest.raises(ProviderRefused):
        await events(session.answer(utterance))
    assert words(await events(session.answer(utterance))) == "good day"


async def test_a_busy_service_is_asked_again_after_its_own_time(
    service: FakeS2s, session: SpeechSession
) -> None:
    service.refusals = [ProviderRateLimited("fake", "busy", 2.0)]
    began = asyncio.get_running_loop().time()
    assert words(await events(session.ask("hello"))) == "good day"
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0)


async def test_an_answer_of_nothing_is_a_bad_one(service: FakeS2s, session: SpeechSession) -> None:
    service.replies = [lambda duplex, answer: duplex.say(AnswerDone(answer))]
    with pytest.raises(ProviderBadAnswer, match="nothing"):
        await events(session.ask("hello"))


async def test_a_service_may_choose_to_say_nothing(service: FakeS2s, session: SpeechSession) -> None:
    service.replies = [
        lambda duplex, answer: duplex.say(AnswerPart(answer, Usage(7, 0)), AnswerDone(answer, silent=True)),
        good_reply,
    ]
    failed = metric("mimi_provider_errors_total", role="s2s", name="fake", kind="bad_answer")
    assert await events(session.ask("hello")) == [Usage(7, 0)]
    assert metric("mimi_provider_errors_total", role="s2s", name="fake", kind="bad_answer") == failed
    assert words(await events(session.ask("again"))) == "good day"
    assert len(service.connections) == 1


MUCH = np.zeros(int(RATE * MAX_SPEECH_S / 4) + 1, np.int16)


@pytest.mark.parametrize(
    ("part", "times"),
    [
        (SpeechChunk(MUCH, RATE), 4),
        (TextDelta("x" * (MAX_ANSWER_CHARS // 4 + 1)), 4),
        (LIGHT, MAX_TOOL_CALLS + 1),
        (SpeechChunk(np.zeros(1, np.int16), RATE), MAX_WAITING_PARTS + 1),
    ],
)
async def test_an_endless_answer_is_broken_off(
    service: FakeS2s, session: SpeechSession, part: SpeechChunk | TextDelta | ToolCall, times: int
) -> None:
    service.replies = [lambda duplex, answer: duplex.say(*[AnswerPart(answer, part)] * times)]
    with pytest.raises(ProviderBadAnswer):
        await events(session.ask("hello"))
    assert "cancel" in service.duplex.kinds() or service.duplex.closed or not session.connected


async def test_a_connection_that_takes_nothing_is_given_up_when_too_much_waits(
    service: FakeS2s, session: SpeechSession
) -> None:
    await events(session.ask("hello"))
    service.stuck = True
    for _ in range(MAX_UNSENT + 2):
        await session.interrupted(0)
    assert not session.connected


async def test_parts_without_content_are_left_out(service: FakeS2s, session: SpeechSession) -> None:
    def reply(duplex: FakeDuplex, answer: str) -> None:
        empty = SpeechChunk(np.zeros(0, np.int16), RATE)
        duplex.say(AnswerPart(answer, empty), AnswerPart(answer, TextDelta("")))
        good_reply(duplex, answer)

    service.replies = [reply]
    assert len(await events(session.ask("hello"))) == 5


async def test_a_bug_in_a_vendor_ends_one_answer(service: FakeS2s, session: SpeechSession) -> None:
    def buggy(duplex: FakeDuplex, answer: str) -> None:
        raise KeyError(answer)

    service.replies = [buggy, good_reply]
    with pytest.raises(ProviderBadAnswer, match="KeyError"):
        await events(session.ask("hello"))
    assert words(await events(session.ask("again"))) == "good day"


# ── the end, and what it cost ────────────────────────────────────────────────────────────────────────────


async def test_closing_ends_everything_and_may_be_done_twice(service: FakeS2s, world: World) -> None:
    service.replies = [no_reply]
    session = service.open(world.setup())
    utterance = session.open()
    utterance.push(ONE)
    answering = asyncio.create_task(events(session.ask("hello")))
    await until_told(service, "request")
    await session.aclose()
    await session.aclose()
    with pytest.raises(ProviderUnavailable):
        await answering
    with pytest.raises(ProviderUnavailable):
        await session.connect()
    await utterance.aclose()
    assert all(duplex.closed for duplex in service.connections)


async def test_closing_while_it_connects_leaves_nothing_open(service: FakeS2s, world: World) -> None:
    service.silent = True
    session = service.open(world.setup())
    utterance = session.open()
    utterance.push(ONE)
    await asyncio.sleep(0.01)
    await session.aclose()
    await utterance.aclose()
    with pytest.raises(ProviderUnavailable):
        await utterance.finish()


async def test_a_connection_that_comes_after_the_end_is_closed(service: FakeS2s, world: World) -> None:
    service.silent = True
    session = service.open(world.setup())
    connecting = asyncio.create_task(session.connect())
    await service.took.wait()
    await session.aclose()
    service.answers.set()
    with pytest.raises(ProviderUnavailable):
        await connecting
    await session.aclose()
    assert service.duplex.closed
    assert not session.connected


async def test_a_bug_in_what_is_asked_of_the_caller_ends_one_answer(service: FakeS2s) -> None:
    prompts: list[str] = []
    session = service.open(SpeechSetup(prompt=prompts.pop))
    utterance = session.open()
    utterance.push(ONE)
    with pytest.raises(ProviderBadAnswer, match="IndexError"):
        await utterance.finish()
    await session.aclose()


async def test_requests_and_tokens_are_counted_and_costed(world: World) -> None:
    service = FakeS2s()
    service.price = PriceSettings(
        input_per_million=1.0,
        output_per_million=2.0,
        audio_input_per_million=10.0,
        audio_output_per_million=20.0,
    )
    session = service.open(world.setup())
    requests = partial(metric, "mimi_provider_requests_total", role="s2s", name="fake")
    heard = partial(metric, "mimi_provider_tokens_total", name="fake", direction="input_audio")
    cost = partial(metric, "mimi_provider_cost_total", role="s2s", name="fake")
    before = requests(), heard(), cost()
    await events(session.ask("hello"))
    assert requests() - before[0] == 1
    assert heard() - before[1] == 80
    assert cost() - before[2] == pytest.approx((20 * 1 + 80 * 10 + 10 * 2 + 40 * 20) / 1e6)
    await session.aclose()


async def test_check_asks_for_a_spoken_word(service: FakeS2s) -> None:
    assert await service.check() == "0.5 s of speech at 24000 Hz"
    assert service.duplex.closed


async def test_check_finds_a_service_that_does_not_speak(service: FakeS2s) -> None:
    service.replies = [
        lambda duplex, answer: duplex.say(AnswerPart(answer, TextDelta("pong")), AnswerDone(answer))
    ]
    with pytest.raises(ProviderBadAnswer, match="no speech"):
        await service.check()
