"""Language models: order of the parts, bounds, and what an empty answer means."""

import pytest

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.chat import ChatMessage, LlmEvent, TextDelta, ToolCall, Usage
from mimi_mqtt.providers.contract.llm import MAX_ANSWER_CHARS, MAX_TOOL_CALLS
from tests.unit.providers.fakes import FakeLlm, collect, metric

QUESTION = (ChatMessage("user", "hello"),)


async def test_text_passes_through_as_it_comes() -> None:
    parts: list[LlmEvent] = [TextDelta("he"), TextDelta("llo")]
    assert await collect(FakeLlm(parts).chat(QUESTION)) == parts


async def test_tool_calls_come_after_the_text_and_usage_last() -> None:
    call, usage = ToolCall("1", "light", {}), Usage(3, 4)
    llm = FakeLlm([usage, call, TextDelta("one moment")])
    assert await collect(llm.chat(QUESTION)) == [TextDelta("one moment"), call, usage]


async def test_empty_deltas_are_dropped() -> None:
    llm = FakeLlm([TextDelta(""), TextDelta("hi")])
    assert await collect(llm.chat(QUESTION)) == [TextDelta("hi")]


@pytest.mark.parametrize("parts", [[], [TextDelta("")], [Usage(1, 0)]])
async def test_an_answer_of_nothing_is_a_bad_answer(parts: list[LlmEvent]) -> None:
    with pytest.raises(ProviderBadAnswer):
        await collect(FakeLlm(parts).chat(QUESTION))


async def test_an_endless_answer_is_cut_off() -> None:
    llm = FakeLlm([TextDelta("x" * MAX_ANSWER_CHARS), TextDelta("x")])
    with pytest.raises(ProviderBadAnswer):
        await collect(llm.chat(QUESTION))


async def test_endless_tool_calls_are_cut_off() -> None:
    llm = FakeLlm([ToolCall(str(n), "light", {}) for n in range(MAX_TOOL_CALLS + 1)])
    with pytest.raises(ProviderBadAnswer):
        await collect(llm.chat(QUESTION))


async def test_tokens_are_counted() -> None:
    before = metric("mimi_provider_tokens_total", name="counting", direction="output")
    await collect(FakeLlm([TextDelta("hi"), Usage(10, 5)], name="counting").chat(QUESTION))
    assert metric("mimi_provider_tokens_total", name="counting", direction="output") == before + 5


async def test_check_shows_what_was_answered() -> None:
    assert "pong" in await FakeLlm([TextDelta("po"), TextDelta("ng")]).check()


async def test_a_service_that_acts_by_itself_is_not_asked_again_when_it_may_have_acted() -> None:
    error, answer = ProviderUnavailable("fake", "hung up, or said 500"), TextDelta("done")
    assert await collect(FakeLlm([error], [answer]).chat(QUESTION)) == [answer]
    acting = FakeLlm([error], [answer])
    acting.has_side_effects = True
    with pytest.raises(ProviderUnavailable):
        await collect(acting.chat(QUESTION))


@pytest.mark.parametrize(
    "error",
    [ProviderUnavailable("fake", "nobody is there", not_sent=True), ProviderRateLimited("fake", "slower", 0)],
)
async def test_a_service_that_acts_is_asked_again_when_it_surely_did_nothing(error: ProviderError) -> None:
    acting = FakeLlm([error], [TextDelta("done")])
    acting.has_side_effects = True
    assert await collect(acting.chat(QUESTION)) == [TextDelta("done")]
