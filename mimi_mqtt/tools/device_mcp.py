"""Client of the MCP server that runs on a device, over its control connection.

One `DeviceTools` lives as long as the connection: what was discovered is kept until the device reconnects.
Source of every fact: the device contract, section 6.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from mimi_mqtt import __version__
from mimi_mqtt.errors import MessageError, ToolError
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.registry import Tool, ToolSource
from mimi_mqtt.tools.result import ToolResult
from mimi_mqtt.wire import mcp

_log = logging.getLogger(__name__)

REPLY_TIMEOUT_S: Final = 10.0
"""Longest wait for a device's reply, in seconds; a slow modem takes its time."""

# The upload of a picture may take 30 s until it is answered.
_SLOW: Final = {"self.camera.take_photo": 40.0, "self.screen.snapshot": 40.0}
_GRACE_S: Final = 1.0  # the tool box's time-out comes after the device's, whose message says more

MAX_PAGES: Final = 16
"""Pages of a tool list that are asked for; a page has at most 8,000 bytes."""
MAX_TOOLS: Final = 64
"""Tools taken from one device."""
MAX_TOOL_CHARS: Final = 4_096
"""Longest name, description and schema of one tool together; a longer tool is left out."""
MAX_PENDING: Final = 16
"""Calls to one device at once."""

Payload = Mapping[str, Any]

VisionAccess = tuple[str, str]
"""The address at which a camera posts photos, and the token that it shows there; both "" for none."""
NO_VISION: Final[VisionAccess] = ("", "")
_CAMERA: Final = "self.camera."


class DeviceTools:
    """The tools of one connected device. `send` puts a JSON-RPC payload on the control channel.

    `received` is to be called with every `mcp` payload from the device, whenever it comes, and
    `received_broken` with every message that is no JSON. `send` raises ToolError for a message that is longer
    than the device takes (section 3: 8 kB over Wi-Fi, 2 kB over a modem).
    """

    __slots__ = (
        "_closed",
        "_discovered",
        "_everything",
        "_lane",
        "_next_id",
        "_pending",
        "_send",
        "_timeout_s",
        "_tools",
    )

    def __init__(
        self,
        send: Callable[[Payload], None],
        *,
        timeout_s: float = REPLY_TIMEOUT_S,
    ) -> None:
        self._send = send
        self._timeout_s = timeout_s
        self._pending: dict[int, asyncio.Future[object]] = {}
        self._next_id = 1
        self._tools: tuple[Tool, ...] = ()
        self._discovered = False
        self._everything: tuple[mcp.DeviceTool, ...] | None = None
        self._closed = False
        # A device works on one call at a time; a call that waited behind a photo would seem unanswered.
        self._lane = asyncio.Lock()

    @property
    def discovered(self) -> bool:
        """True when the tool list is known; until then `discover` is worth calling."""
        return self._discovered

    def tools(self) -> Sequence[Tool]:
        """The device's tools, under names that every language model accepts."""
        return self._tools

    @property
    def has_camera(self) -> bool:
        """True when one of the tools takes photos, which it posts where it was told last."""
        return any((tool.own_name or "").startswith(_CAMERA) for tool in self._tools)

    async def introduce(self, vision: VisionAccess = NO_VISION) -> None:
        """Tells the device where its camera posts photos from now on. Raises ToolError without an answer."""
        await self._request("initialize", mcp.initialize_params("mimi_mqtt", __version__, *vision))

    async def discover(self, vision: VisionAccess = NO_VISION) -> None:
        """Introduces itself, with where photos are posted, and asks for the tools, page by page. Raises
        ToolError without an answer."""
        await self.introduce(vision)
        self._send(mcp.notification("notifications/initialized"))
        listed = await self._list({}, lambda tool: not tool.user_only)
        self._tools = tuple(self._make_tools(listed))
        self._discovered = True
        _log.debug("device tools: %s", ", ".join(listed) or "none")

    async def everything(self) -> Sequence[mcp.DeviceTool]:
        """All tools, those for people too, as the device lists them; asked for once. Raises ToolError without
        an answer."""
        if self._everything is None:
            listed = await self._list({"withUserTools": True}, lambda tool: True)
            self._everything = tuple(listed.values())
        return self._everything

    async def _list(
        self, params: Payload, wanted: Callable[[mcp.DeviceTool], bool]
    ) -> dict[str, mcp.DeviceTool]:
        """The tools by name, page by page. Raises ToolError."""
        listed: dict[str, mcp.DeviceTool] = {}
        cursors = {""}
        cursor = ""
        for _ in range(MAX_PAGES):
            page = await self._request("tools/list", {"cursor": cursor, **params})
            try:
                tools, cursor = mcp.parse_tools_page(page)
            except MessageError as error:
                raise ToolError(f"the device's tool list can't be understood: {error}") from error
            _collect(filter(wanted, tools), listed)
            if cursor in cursors or len(listed) >= MAX_TOOLS:
                break
            cursors.add(cursor)
        return listed

    def _make_tools(self, listed: Mapping[str, mcp.DeviceTool]) -> list[Tool]:
        tools: list[Tool] = []
        taken: set[str] = set()
        for name, tool in listed.items():
            function = _free_name(mcp.function_name(name), taken)
            taken.add(function)
            spec = ToolSpec(function, tool.description, tool.input_schema, read_only=tool.read_only)
            tools.append(self._make_tool(spec, name, nested=False))
        return tools

    def _make_tool(self, spec: ToolSpec, name: str, *, nested: bool) -> Tool:
        timeout_s = _SLOW.get(name, self._timeout_s)
        run = _Caller(self, name, timeout_s)
        return Tool(spec, run, self._lane, own_name=name, timeout_s=timeout_s + _GRACE_S, nested=nested)

    def unlisted(self, name: str) -> ToolSource:
        """A source of the tool `name` alone, which the list leaves out because it is for people (section 6).
        Its arguments are the device's to check."""
        spec = ToolSpec(name, "", {"type": "object", "additionalProperties": True})
        return _OneTool(self._make_tool(spec, name, nested=True))

    async def call(self, name: str, arguments: Payload, timeout_s: float | None = None) -> ToolResult:
        """Calls the tool that the device names `name`, and awaits its reply. Raises ToolError."""
        params = {"name": name, "arguments": dict(arguments)}
        result = await self._request("tools/call", params, timeout_s)
        try:
            reply = mcp.parse_call_result(result)
        except MessageError as error:
            raise ToolError(f"the device's answer can't be understood: {error}") from error
        if reply.failed:
            raise ToolError(reply.text or f"{name} failed on the device")
        return ToolResult(reply.text, reply.media)

    async def _request(self, method: str, params: Payload, timeout_s: float | None = None) -> object:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
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
            async with asyncio.timeout(timeout_s):
                return await reply
        except TimeoutError:
            raise ToolError(f"the device did not answer {method} within {timeout_s:g} s") from None
        finally:
            self._pending.pop(request_id, None)

    def received(self, payload: Payload) -> None:
        """Settles the call that `payload`, from the device, answers; a malformed answer fails it.

        Late answers are ignored.
        """
        try:
            message = mcp.parse_reply(payload)
        except MessageError as error:
            _log.debug("an mcp payload can't be understood: %s", error)
            self._fail(payload.get("id"), f"the device's answer can't be understood: {error}")
            return
        match message:
            case mcp.McpResult():
                waiting = self._pending.get(message.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message.result)
            case mcp.McpError():
                self._fail(message.id, f"the device says: {message.message[: mcp.MAX_ERROR_CHARS]}")
            case mcp.McpNotification():
                _log.debug("notification from the device: %s", message.method)

    def received_broken(self, raw: bytes) -> None:
        """Fails the call that `raw` answers, a control message of broken JSON from the device, if any."""
        error = mcp.salvage_reply(raw)
        if error is not None:
            self._fail(error.id, f"the device says: {error.message}")

    def _fail(self, reply_id: object, reason: str) -> None:
        waiting = self._pending.get(reply_id) if type(reply_id) is int else None
        if waiting is not None and not waiting.done():
            waiting.set_exception(ToolError(reason))

    def close(self) -> None:
        """Fails the waiting calls and all new ones: the connection is gone."""
        self._closed = True
        self._send = _send_nothing  # lets go of the connection, which holds these tools
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(ToolError("the device went away before it answered"))


class _OneTool:
    """A source of one tool."""

    __slots__ = ("_tools",)

    def __init__(self, tool: Tool) -> None:
        self._tools = (tool,)

    def tools(self) -> Sequence[Tool]:
        """The tool."""
        return self._tools


class _Caller:
    """A device tool's `run`; an object, as a traceback shows its name and a closure's not."""

    __slots__ = ("_device", "_name", "_timeout_s")

    def __init__(self, device: DeviceTools, name: str, timeout_s: float) -> None:
        self._device = device
        self._name = name
        self._timeout_s = timeout_s

    async def __call__(self, arguments: Payload) -> ToolResult:
        return await self._device.call(self._name, arguments, self._timeout_s)


def _collect(tools: Iterable[mcp.DeviceTool], listed: dict[str, mcp.DeviceTool]) -> None:
    for tool in tools:
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


def _send_nothing(payload: Payload) -> None:
    """Sends nothing: the connection is gone."""
