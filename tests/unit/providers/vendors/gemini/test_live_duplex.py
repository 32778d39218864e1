"""The messages to Gemini's Live API, and their order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import numpy as np
import pytest
from google.genai.live import AsyncSession
from google.genai.types import Blob, Content, FunctionResponse

from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.contract.chat import ChatMessage
from mimi_mqtt.providers.contract.s2s import Opening
from mimi_mqtt.providers.vendors.gemini import live_duplex
from mimi_mqtt.providers.vendors.gemini.live_duplex import INPUT_RATE, GeminiDuplex, contents


class FakeSession:
    """Writes down what it is told: names of signals, samples of audio, texts with their role."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def send_realtime_input(self, *, audio: Blob | None = None, **signal: object) -> None:
        if audio is None:
            self.told += [*signal]
        else:
            self.told.append(len(audio.data or b"") // 2)

    async def send_client_content(self, *, turns: list[Content] | None, turn_complete: bool) -> None:
        texts = [(turn.role, part.text) for turn in turns or () for part in turn.parts or ()]
        self.told.append((texts, turn_complete))

    async def send_tool_response(self, *, function_responses: list[FunctionResponse]) -> None:
        self.told.append([response.id for response in function_responses])


@asynccontextmanager
async def errors() -> AsyncIterator[None]:
    yield


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def duplex(session: FakeSession) -> GeminiDuplex:
    return GeminiDuplex("gemini_live", cast(AsyncSession, session), AsyncExitStack(), errors, None)


def seconds(length: float) -> "np.ndarray[Any, np.dtype[np.int16]]":
    return np.zeros(round(INPUT_RATE * length), np.int16)


async def test_an_utterance_is_held_back_until_more_of_it_comes(
    duplex: GeminiDuplex, session: FakeSession
) -> None:
    await duplex.send_audio("u1", seconds(live_duplex.HOLD_S))
    assert session.told == []
    await duplex.send_audio("u1", seconds(0.06))
    assert session.told == ["activity_start", 4000, 4000, 4000, 4000, 960]
    await duplex.send_audio("u1", seconds(0.06))
    await duplex.send_end("u1")
    assert session.told[6:] == [960, "activity_end"]


async def test_what_was_held_back_can_be_taken_back(duplex: GeminiDuplex, session: FakeSession) -> None:
    await duplex.send_audio("u1", seconds(0.5))
    assert await duplex.send_discard("u1")
    await duplex.send_audio("u2", seconds(0.1))
    await duplex.send_end("u2")
    assert session.told == ["activity_start", 1600, "activity_end"]
    assert not await duplex.send_discard("u2")


async def test_an_utterance_waits_while_an_answer_is_being_made(
    duplex: GeminiDuplex, session: FakeSession
) -> None:
    await duplex.send_messages([ChatMessage("user", "hello")])
    await duplex.send_request("a1")
    await duplex.send_audio("u1", seconds(3))
    assert session.told == [([("user", "hello")], True)]
    # At its end it would cut the answer short: it is for another connection.
    with pytest.raises(ProviderUnavailable):
        await duplex.send_end("u1")


async def test_an_answer_that_is_being_made_is_only_stopped_by_hanging_up(duplex: GeminiDuplex) -> None:
    await duplex.send_messages([ChatMessage("user", "hello")])
    await duplex.send_request("a1")
    await duplex.send_cancel("a2")
    with pytest.raises(ProviderUnavailable):
        await duplex.send_cancel("a1")


async def test_what_was_said_before_is_told_before_an_utterance(
    duplex: GeminiDuplex, session: FakeSession
) -> None:
    await duplex.send_messages([ChatMessage("user", "hello"), ChatMessage("assistant", "good day")])
    assert session.told == []
    await duplex.send_end("u1")
    before = ([("user", "hello"), ("model", "good day")], False)
    assert session.told == [before, "activity_start", "activity_end"]


async def test_an_utterance_is_answered_without_a_further_request(
    duplex: GeminiDuplex, session: FakeSession
) -> None:
    await duplex.send_end("u1")
    await duplex.send_request("a1")
    assert session.told == ["activity_start", "activity_end"]


async def test_what_is_added_to_an_utterance_is_answered_with_it(
    duplex: GeminiDuplex, session: FakeSession
) -> None:
    await duplex.send_end("u1")
    await duplex.send_messages([ChatMessage("tool", "done", tool_call_id="c1")])
    await duplex.send_request("a1")
    assert session.told[2:] == [([("user", "(A tool has answered: done)")], True)]


async def test_what_can_only_be_done_on_another_connection_is_told(
    duplex: GeminiDuplex, session: FakeSession
) -> None:
    opening = Opening("Be long.", (), (), "en", None, 1.0, "", end_by_vendor=False)
    assert not await duplex.send_changes(opening)
    assert not await duplex.send_truncate("a1", 100)
    assert session.told == []


def test_a_system_message_is_not_part_of_what_was_said() -> None:
    assert contents([ChatMessage("system", "Be brief."), ChatMessage("user", "")]) == []
