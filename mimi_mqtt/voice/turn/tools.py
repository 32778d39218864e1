"""Tool gate: the tool calls of one reply, run side by side, held while the question may be incomplete."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mimi_mqtt.errors import ToolError
from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall, ToolSpec
from mimi_mqtt.voice.answer.context import ToolRan
from mimi_mqtt.voice.ports import Tools

MAX_CALLS_AT_ONCE: Final = 8
"""Calls of one answer that run at the same time; the others wait for one of them to end."""


class ToolGate:
    """Tools of one turn, or of one preemptive reply. No call is made while it is `held`."""

    def __init__(self, tools: Tools, *, held: bool = False) -> None:
        self._tools = tools
        self._released = asyncio.Event()
        if not held:
            self._released.set()
        self.acted = False
        """True when something was done that can't be taken back: a tool was called that isn't read-only."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model is told of them, now."""
        return self._tools.specs()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Calls one tool, once the gate is open. Raises ToolError."""
        if any(spec.name == name and spec.read_only for spec in self._tools.specs()):
            await self._released.wait()
        else:
            await self.act()
        return await self._tools.call(name, arguments)

    async def run(
        self, calls: Sequence[ToolCall], progress: Callable[[], None], ran: ToolRan
    ) -> tuple[ChatMessage, ...]:
        """One `tool` message for each of `calls`, in their order; each call is bounded in time by its tool.

        A call that fails is told to the model in its own message, and does not touch the others. Whenever
        one is over, `progress` and `ran` are called. Cancelling it cancels them all.
        """
        at_once = asyncio.Semaphore(MAX_CALLS_AT_ONCE)
        clock = asyncio.get_running_loop().time

        async def result(call: ToolCall) -> ChatMessage:
            async with at_once:
                began, failed = clock(), True
                try:
                    told = await self.call(call.name, call.arguments)
                    failed = False
                except ToolError as error:
                    told = f"error: {error}"
                finally:
                    ran(call.name, began, failed)
            progress()
            return ChatMessage("tool", told, tool_call_id=call.id)

        async with asyncio.TaskGroup() as group:
            running = [group.create_task(result(call), name=f"tool-{call.id}") for call in calls]
        return tuple(task.result() for task in running)

    async def act(self) -> None:
        """Returns when something may be done that can't be taken back; from then on it counts as done."""
        await self._released.wait()
        self.acted = True

    def hold(self) -> None:
        """Closes the gate."""
        self._released.clear()

    def release(self) -> None:
        """Opens the gate."""
        self._released.set()
