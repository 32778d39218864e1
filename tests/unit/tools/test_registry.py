"""The tool box: what a model sees and calls, bounded in time and size."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mimi_mqtt.errors import ToolError
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.registry import CALL_TIMEOUT_S, MAX_RESULT_CHARS, Tool, ToolBox

pytestmark = pytest.mark.virtual_time


class Source:
    """Tools made of what they answer: text, or an exception to raise, or seconds to take."""

    def __init__(self, **answers: str | Exception | float) -> None:
        self.answers = answers
        self.arguments: Mapping[str, Any] = {}

    def tools(self) -> Sequence[Tool]:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        return [Tool(ToolSpec(name, "", schema), self._run(name)) for name in self.answers]

    def _run(self, name: str) -> Any:
        async def run(arguments: Mapping[str, Any]) -> str:
            self.arguments = arguments
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, float):
                await asyncio.sleep(answer)
            return str(answer)

        return run


async def test_tools_of_all_sources_are_offered_and_called() -> None:
    box = ToolBox(Source(one="1"), Source(two="2"))
    assert [spec.name for spec in box.specs()] == ["one", "two"]
    assert await box.call("two", {}) == "2"


async def test_earlier_source_wins_a_name() -> None:
    box = ToolBox(Source(one="ours"), Source(one="theirs"))
    assert len(box.specs()) == 1
    assert await box.call("one", {}) == "ours"


async def test_tools_that_appear_later_are_there() -> None:
    source = Source()
    box = ToolBox(source)
    assert box.specs() == ()
    source.answers["new"] = "here"
    assert await box.call("new", {}) == "here"


async def test_tool_gets_the_checked_arguments() -> None:
    source = Source(one="1")
    await ToolBox(source).call("one", {"n": 2.0})
    assert source.arguments == {"n": 2}


async def test_wrong_arguments_do_not_reach_the_tool() -> None:
    source = Source(one="1")
    with pytest.raises(ToolError, match="integer"):
        await ToolBox(source).call("one", {"n": "two"})
    assert source.arguments == {}


async def test_unknown_tool_is_told_with_what_there_is() -> None:
    with pytest.raises(ToolError, match="no tool 'two'; there are: one"):
        await ToolBox(Source(one="1")).call("two", {})


async def test_failure_of_a_tool_passes_through() -> None:
    with pytest.raises(ToolError, match="out of paper"):
        await ToolBox(Source(one=ToolError("out of paper"))).call("one", {})


async def test_slow_tool_is_given_up() -> None:
    begun = asyncio.get_running_loop().time()
    with pytest.raises(ToolError, match="did not answer in time"):
        await ToolBox(Source(one=1e6)).call("one", {})
    assert asyncio.get_running_loop().time() - begun == pytest.approx(CALL_TIMEOUT_S)


async def test_long_result_is_cut() -> None:
    result = await ToolBox(Source(one="x" * 100_000)).call("one", {})
    assert len(result) < MAX_RESULT_CHARS + 20


async def test_tools_of_one_lane_run_one_after_another_each_with_its_whole_time() -> None:
    lane = asyncio.Lock()
    running: list[str] = []
    done: list[str] = []

    def of_lane(name: str) -> Tool:
        async def run(arguments: Mapping[str, Any]) -> str:
            running.append(name)
            assert len(running) == 1
            await asyncio.sleep(CALL_TIMEOUT_S - 1)
            running.remove(name)
            done.append(name)
            return name

        return Tool(ToolSpec(name, "", {"type": "object"}), run, lane)

    class Lane:
        def tools(self) -> Sequence[Tool]:
            return [of_lane(name) for name in "abc"]

    box = ToolBox(Lane())
    assert await asyncio.gather(*(box.call(name, {}) for name in "cab")) == ["c", "a", "b"]
    assert done == ["c", "a", "b"]


NAMED = {"set_timer": "set_timer", "self_audio_speaker_set_volume": "self.audio_speaker.set_volume"}


class Named(Source):
    """Tools whose source calls them something else."""

    def tools(self) -> Sequence[Tool]:
        return [replace(tool, own_name=NAMED[tool.spec.name]) for tool in super().tools()]


@pytest.mark.parametrize(
    ("allowed", "there"),
    [
        (("*",), list(NAMED)),
        ((), []),
        (("set_timer",), ["set_timer"]),
        (("SET_TIMER",), []),
        (("self.*",), ["self_audio_speaker_set_volume"]),
        (("self.audio_speaker.set_*", "set_[st]*"), list(NAMED)),
        (("self_audio_*",), ["self_audio_speaker_set_volume"]),
        (("timer",), []),
    ],
)
async def test_only_allowed_tools_are_there(allowed: tuple[str, ...], there: list[str]) -> None:
    source = Named(**dict.fromkeys(NAMED, "done"))
    box = ToolBox(source, allowed=allowed)
    assert [spec.name for spec in box.specs()] == there
    for name in NAMED:
        if name in there:
            assert await box.call(name, {}) == "done"
        else:
            with pytest.raises(ToolError, match="there is no tool"):
                await box.call(name, {})
