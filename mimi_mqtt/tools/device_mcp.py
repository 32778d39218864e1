"""Client of the MCP server that runs on a device, over its control connection.

One `DeviceTools` lives as long as the connection: what was discovered is kept until the device reconnects.
Source of every fact: the device contract, section 6.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mimi_mqtt import __version__
from mimi_mqtt.errors import MessageError, ToolError
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.registry import Tool
from mimi_mqtt.wire import mcp

_log = logging.getLogger(__name__)

REPLY_TIMEOUT_S: Final = 10.0
"""Longest wait for a device's reply, in seconds; a camera or a slow modem takes its time."""

MAX_PAGES: Final = 16
"""Pages of a tool list that are asked for; a page has at most 8,000 bytes."""
MAX_TOOLS: Final = 64
"""Tools taken from one device."""
MAX_TOOL_CHARS: Final = 4_096
"""Longest name, description and schema of one tool together; a longer tool is left out."""
MAX_PENDING: Final = 16
"""Calls to one device at once."""

_USER_ONLY: Final = frozenset(
    {
        "self.reboot",
        "self.upgrade_firmware",
        "self.screen.snapshot",
        "self.screen.preview_image",
        "self.assets.set_download_url",
        "self.get_system_info",
    }
)
"""For a person's action, never a model's. They are not asked for, and left out of the list of a
device that sends them all the same."""

Payload = Mapping[str, Any]


class DeviceTools:
    """The tools of one connected device. `send` puts a JSON-RPC payload on the control channel.

    `received` is to be called with every `mcp` payload from the device, whenever it comes.
    """

    __slots__ = ("_closed", "_discovered", "_lane", "_next_id", "_pending", "_send", "_timeout_s", "_tools")

    def __init__(self, send: Callable[[Payload], None], *, timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self._send = send
        self._timeout_s = timeout_s
        self._pending: dict[int, asyncio.Future[object]] = {}
        self._next_id = 1
        self._tools: tuple[Tool, ...] = ()
        self._discovered = False
        self._closed = False
        # A device works on one call at a time; a call that waited behind a photo would seem unanswered.
        self._lane = asyncio.Lock()

    @property
    def discovered(self) -> bool:
        """Whether the tool list is known; until then `discover` is worth calling."""
        return self._discovered

    def tools(self) -> Sequence[Tool]:
        """The device's tools, under names that every language model accepts."""
        return self._tools

    async def discover(self) -> None:
        """Introduces itself and asks for the tools, page by page. Raises ToolError without an answer.

        No vision capability is offered as long as there is nowhere to post a photo to.
        """
        await self._request("initialize", mcp.initialize_params("mimi_mqtt", __version__))
        self._send(mcp.notification("notifications/initialized"))
        listed: dict[str, mcp.DeviceTool] = {}
        cursors = {""}
        cursor = ""
        for _ in range(MAX_PAGES):
            page = await self._request("tools/list", {"cursor": cursor})
            try:
                tools, cursor = mcp.parse_tools_page(page)
            except MessageError as error:
                raise ToolError(f"the device's tool list can't be understood: {error}") from error
            _collect(tools, listed)
            if cursor in cursors or len(listed) >= MAX_TOOLS:
                break
            cursors.add(cursor)
        self._tools = tuple(self._make_tools(listed))
        self._discovered = True
        _log.debug("device tools: %s", ", ".join(listed) or "none")

    def _make_tools(self, listed: Mapping[str, mcp.DeviceTool]) -> list[Tool]:
        tools: list[Tool] = []
        taken: set[str] = set()
        for name, tool in listed.items():
            function = _free_name(mcp.function_name(name), taken)
            taken.add(function)
            spec = ToolSpec(function, tool.description, tool.input_schema)
            tools.append(Tool(spec, _Caller(self, name), self._lane, own_name=name))
        return tools

    async def call(self, name: str, arguments: Payload) -> str:
        """Calls the tool that the device names `name`, and awaits its reply's text. Raises ToolError."""
        result = await self._request("tools/call", {"name": name, "arguments": dict(arguments)})
        try:
            text, failed = mcp.parse_call_result(result)
        except MessageError as error:
            raise ToolError(f"the device's answer can't be understood: {error}") from error
        if failed:
            raise ToolError(text or f"{name} failed on the device")
        return text

    async def _request(self, method: str, params: Payload) -> object:
        if self._closed:
            raise ToolError("the device is not connected")
        if len(self._pending) >= MAX_PENDING:
            raise ToolError("the device is busy with other calls")
        request_id = self._next_id
        self._next_id += 1
        reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = reply
        try:
            self._send(mcp.request(request_id, method, params))
            async with asyncio.timeout(self._timeout_s):
                return await reply
        except TimeoutError:
            raise ToolError(f"the device did not answer {method} within {self._timeout_s:g} s") from None
        finally:
            self._pending.pop(request_id, None)

    def received(self, payload: Payload) -> None:
        """A payload from the device: settles the call it answers. Late and malformed ones are ignored."""
        try:
            message = mcp.parse_reply(payload)
        except MessageError as error:
            _log.debug("ignored an mcp payload: %s", error)
            return
        match message:
            case mcp.McpResult():
                waiting = self._pending.get(message.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message.result)
            case mcp.McpError():
                waiting = self._pending.get(message.id) if message.id is not None else None
                if waiting is not None and not waiting.done():
                    waiting.set_exception(ToolError(f"the device says: {message.message[:500]}"))
            case mcp.McpNotification():
                _log.debug("notification from the device: %s", message.method)

    def close(self) -> None:
        """The connection is gone: waiting calls fail, and so do new ones."""
        self._closed = True
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(ToolError("the device went away before it answered"))


class _Caller:
    """A device tool's `run`; the object, unlike a closure, says in a traceback what it is."""

    __slots__ = ("_device", "_name")

    def __init__(self, device: DeviceTools, name: str) -> None:
        self._device = device
        self._name = name

    async def __call__(self, arguments: Payload) -> str:
        return await self._device.call(self._name, arguments)


def _collect(tools: Sequence[mcp.DeviceTool], listed: dict[str, mcp.DeviceTool]) -> None:
    for tool in tools:
        if tool.name in _USER_ONLY:
            continue
        if len(tool.name) + len(tool.description) + len(json.dumps(tool.input_schema)) > MAX_TOOL_CHARS:
            _log.warning("a tool of the device is described in over %d characters: left out", MAX_TOOL_CHARS)
        elif len(listed) < MAX_TOOLS:
            listed.setdefault(tool.name, tool)
        else:
            _log.warning("the device has more than %d tools: the rest is left out", MAX_TOOLS)
            break


def _free_name(name: str, taken: set[str]) -> str:
    """`name`, or with a number when another tool of the device has it already; at most 64 characters."""
    candidate = name
    number = 2
    while candidate in taken:
        suffix = f"_{number}"
        candidate = name[: 64 - len(suffix)] + suffix
        number += 1
    return candidate
