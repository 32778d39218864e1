"""The tools of one device, its own and the built-ins, as a language model sees and calls them.

A `ToolBox` belongs to one device connection. Its device tools may change while it lives (they are discovered
after hello), so `specs` is asked anew for every answer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.errors import ToolError
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.result import ToolResult
from mimi_mqtt.tools.schema import check_arguments

_log = logging.getLogger(__name__)

CALL_TIMEOUT_S: Final = 15.0
"""Longest a tool may take, in seconds; the user is waiting for the answer."""

MAX_RESULT_CHARS: Final = 8_000
"""Longest result handed to a model; the rest is cut."""

# Not by name: devices choose the names of their tools, and labels must stay few.
_calls = Counter("mimi_tool_calls_total", "Tool calls by outcome.", ["outcome"])
_succeeded, _failed, _timed_out, _unknown = (
    _calls.labels(outcome) for outcome in ("ok", "error", "timeout", "unknown")
)


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. `run` gets checked arguments and returns its result; text alone as a str.

    Tools that share a `lane` run one after another, in the order of the calls.
    """

    spec: ToolSpec
    run: Callable[[Mapping[str, Any]], Awaitable[str | ToolResult]]
    lane: asyncio.Lock | None = None
    own_name: str = ""
    """Its source's name for it, where that is another name than the model's."""
    timeout_s: float | None = None
    """Longest time for one call, in seconds; None: the tool box's own."""
    nested: bool = True
    """True when its arguments may hold lists and objects; a device's may not."""


class ToolSource(Protocol):
    """A supplier of tools: a device, a set of built-ins."""

    def tools(self) -> Sequence[Tool]:
        """The tools that exist now."""


class ToolBox:
    """The tools of one device. An earlier source wins where two tools have the same name.

    A tool whose names both fit no pattern of `allowed` is neither shown to the model nor called.
    """

    __slots__ = ("_allowed", "_sources", "_timeout_s")

    def __init__(
        self, *sources: ToolSource, allowed: Sequence[str] = ("*",), timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        self._sources = sources
        self._allowed = allowed
        self._timeout_s = timeout_s

    def _tools(self) -> dict[str, Tool]:
        found: dict[str, Tool] = {}
        for source in self._sources:
            for tool in source.tools():
                if self._may_use(tool):
                    found.setdefault(tool.spec.name, tool)
        return found

    def _may_use(self, tool: Tool) -> bool:
        names = (tool.spec.name, tool.own_name or tool.spec.name)
        return any(fnmatchcase(name, pattern) for pattern in self._allowed for name in names)

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools that exist now, as a model is shown them."""
        return tuple(tool.spec for tool in self._tools().values())

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Calls a tool and returns its result as text for a model. As `run` otherwise."""
        return (await self.run(name, arguments)).as_text()

    async def run(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Calls a tool and awaits its real result, of bounded text, in bounded time once its turn has come.

        Raises ToolError, whose message is for the model: no such tool, a wrong argument, no answer.
        """
        tools = self._tools()
        tool = tools.get(name)
        if tool is None:
            _unknown.inc()
            raise ToolError(f"there is no tool {name[:64]!r}; there are: {', '.join(tools) or 'none'}")
        timeout_s = self._timeout_s if tool.timeout_s is None else tool.timeout_s
        try:
            checked = check_arguments(name, tool.spec.parameters, arguments, nested=tool.nested)
            async with tool.lane or nullcontext(), asyncio.timeout(timeout_s):
                told = await tool.run(checked)
        except ToolError as error:
            _failed.inc()
            _log.debug("tool %s failed: %s", name, error)
            raise
        except TimeoutError:
            _timed_out.inc()
            _log.warning("tool %s took longer than %g s", name, timeout_s)
            raise ToolError(f"{name} did not answer in time; it may or may not have been done") from None
        _succeeded.inc()
        result = ToolResult(told) if isinstance(told, str) else told
        if len(result.text) > MAX_RESULT_CHARS:
            return replace(result, text=result.text[:MAX_RESULT_CHARS] + " … (cut)")
        return result
