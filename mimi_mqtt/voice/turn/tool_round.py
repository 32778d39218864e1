"""The tool calls of one answer: run side by side, their results in the order of the calls."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from mimi_mqtt.errors import ToolError
from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall
from mimi_mqtt.voice.services import Tools

MAX_CALLS_AT_ONCE: Final = 8
"""Calls of one answer that run at the same time; the others wait for one of them to end."""


async def run_calls(
    tools: Tools, calls: Sequence[ToolCall], progress: Callable[[], None]
) -> tuple[ChatMessage, ...]:
    """One `tool` message for each of `calls`, in their order; each call is bounded in time by `tools`.

    A call that fails is told to the model in its own message, and does not touch the others. `progress` is
    called whenever one is over. Cancelling it cancels them all.
    """
    at_once = asyncio.Semaphore(MAX_CALLS_AT_ONCE)

    async def result(call: ToolCall) -> ChatMessage:
        async with at_once:
            try:
                told = await tools.call(call.name, call.arguments)
            except ToolError as error:
                told = f"error: {error}"
        progress()
        return ChatMessage("tool", told, tool_call_id=call.id)

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(result(call), name=f"tool-{call.id}") for call in calls]
    return tuple(task.result() for task in running)
