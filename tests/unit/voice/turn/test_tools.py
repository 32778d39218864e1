"""The tool calls of one answer, on virtual time."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from mimi_mqtt.errors import ToolError
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.voice.turn.tools import MAX_CALLS_AT_ONCE, ToolGate
from tests.fakes.voice import FakeTools

pytestmark = pytest.mark.virtual_time


class SlowTools(FakeTools):
    """Each call takes the seconds it asks for; a negative number of them fails."""

    def __init__(self) -> None:
        super().__init__()
        self.running = self.most_at_once = self.cancelled = 0

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        self.calls.append((name, arguments))
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.sleep(abs(arguments["s"]))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if arguments["s"] < 0:
            raise ToolError(f"{name} is out of order")
        return f"{name} done"


def untold(name: str, began: float, failed: bool) -> None:
    """For tests that do not look at the times of calls."""


def calls(*seconds: float) -> list[ToolCall]:
    return [ToolCall(f"id{n}", f"tool{n}", {"s": s}) for n, s in enumerate(seconds)]


async def test_calls_run_side_by_side_and_their_results_keep_the_order_of_the_calls() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    ends: list[float] = []
    gate = ToolGate(SlowTools())
    results = await gate.run(calls(3, 1, 2), lambda: ends.append(loop.time() - begun), untold)
    assert ends == pytest.approx([1, 2, 3])
    assert [(m.role, m.tool_call_id, m.content) for m in results] == [
        ("tool", "id0", "tool0 done"),
        ("tool", "id1", "tool1 done"),
        ("tool", "id2", "tool2 done"),
    ]


async def test_a_failing_call_does_not_touch_the_others() -> None:
    results = await ToolGate(SlowTools()).run(calls(2, -1, 3), lambda: None, untold)
    assert [m.content for m in results] == ["tool0 done", "error: tool1 is out of order", "tool2 done"]


async def test_calls_at_once_are_bounded() -> None:
    tools = SlowTools()
    results = await ToolGate(tools).run(calls(*[1.0] * (3 * MAX_CALLS_AT_ONCE)), lambda: None, untold)
    assert tools.most_at_once == MAX_CALLS_AT_ONCE
    assert len(results) == 3 * MAX_CALLS_AT_ONCE
    assert [name for name, _ in tools.calls] == [f"tool{n}" for n in range(3 * MAX_CALLS_AT_ONCE)]


async def test_whoever_is_interrupted_takes_all_calls_along() -> None:
    tools = SlowTools()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await ToolGate(tools).run(calls(10, 20), lambda: None, untold)
    assert tools.cancelled == 2
    assert tools.running == 0


async def test_each_call_is_told_with_its_beginning_and_whether_it_failed() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    told: list[object] = []
    await ToolGate(SlowTools()).run(
        calls(2, -1),
        lambda: None,
        lambda name, began, failed: told.append((name, began - start, loop.time() - start, failed)),
    )
    assert told == [
        ("tool1", pytest.approx(0), pytest.approx(1), True),
        ("tool0", pytest.approx(0), pytest.approx(2), False),
    ]


async def test_a_call_that_waits_for_its_turn_is_not_running_yet() -> None:
    loop = asyncio.get_running_loop()
    start, began_at = loop.time(), []
    await ToolGate(SlowTools()).run(
        calls(*[1.0] * (MAX_CALLS_AT_ONCE + 1)),
        lambda: None,
        lambda name, began, failed: began_at.append(began - start),
    )
    assert began_at[-1] == pytest.approx(1)


async def test_a_cancelled_call_is_told_as_failed() -> None:
    told = []
    running = asyncio.create_task(
        ToolGate(SlowTools()).run(calls(9), lambda: None, lambda *call: told.append((call[0], call[2])))
    )
    await asyncio.sleep(1)
    running.cancel()
    await asyncio.wait([running])
    assert told == [("tool0", True)]
