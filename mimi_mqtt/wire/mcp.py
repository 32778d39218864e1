"""The Model Context Protocol as devices speak it: JSON-RPC 2.0 in a control message's `payload`.

The device is the server, protocol version 2024-11-05. Ids are numbers; a device's error objects carry only
`message`. Source: the device contract, section 6.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from mimi_mqtt.errors import MessageError

PROTOCOL_VERSION = "2024-11-05"
MAX_FUNCTION_NAME = 64

Json = Mapping[str, Any]


def request(request_id: int, method: str, params: Json | None = None) -> dict[str, Any]:
    """A request to the device; `request_id` is the caller's to match the reply with."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id, "method": method}
    if params is not None:
        message["params"] = dict(params)
    return message


def notification(method: str, params: Json | None = None) -> dict[str, Any]:
    """A message that is not replied to."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = dict(params)
    return message


def initialize_params(
    client_name: str, client_version: str, vision_url: str = "", vision_token: str = ""
) -> dict[str, Any]:
    """`initialize`'s params; with `vision_url` the device's camera knows where to post photos."""
    capabilities: dict[str, Any] = {}
    if vision_url:
        capabilities["vision"] = {"url": vision_url, "token": vision_token}
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "capabilities": capabilities,
        "clientInfo": {"name": client_name, "version": client_version},
    }


@dataclass(frozen=True, slots=True)
class McpResult:
    """What request `id` came to."""

    id: int
    result: object


@dataclass(frozen=True, slots=True)
class McpError:
    """Request `id` failed; None when the device could not tell which. `code` is 0 when it gave none."""

    id: int | None
    message: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class McpNotification:
    """The device tells something unasked."""

    method: str
    params: Json


McpReply = McpResult | McpError | McpNotification


def parse_reply(payload: Json) -> McpReply:
    """What a device sent as `payload` of an mcp message. Raises MessageError that names the field."""
    if "method" in payload:
        return _parse_notification(payload)
    reply_id = payload.get("id")
    if reply_id is not None and type(reply_id) is not int:
        raise MessageError("mcp field 'id' must be a whole number")
    if "error" in payload:
        error = payload["error"]
        if not isinstance(error, Mapping):
            raise MessageError("mcp field 'error' must be an object")
        message, code = error.get("message", ""), error.get("code", 0)
        if type(message) is not str:
            raise MessageError("mcp field 'error.message' must be a string")
        if type(code) is not int:
            raise MessageError("mcp field 'error.code' must be a whole number")
        return McpError(reply_id, message or "the device gave no reason", code)
    if "result" not in payload:
        raise MessageError("mcp payload has neither 'result', 'error' nor 'method'")
    if reply_id is None:
        raise MessageError("mcp field 'id' is missing")
    return McpResult(reply_id, payload["result"])


def _parse_notification(payload: Json) -> McpNotification:
    method, params = payload["method"], payload.get("params", {})
    if type(method) is not str:
        raise MessageError("mcp field 'method' must be a string")
    if "id" in payload:
        raise MessageError("the device asked for something; it is the server of its tools")
    if not isinstance(params, Mapping):
        raise MessageError("mcp field 'params' must be an object")
    return McpNotification(method, params)


@dataclass(frozen=True, slots=True)
class DeviceTool:
    """A tool as the device lists it; `input_schema` is a JSON schema of booleans, integers and strings."""

    name: str
    description: str
    input_schema: Json


def parse_tools_page(result: object) -> tuple[tuple[DeviceTool, ...], str]:
    """One page of `tools/list`: its tools and the next page's cursor, or "". Raises MessageError."""
    if not isinstance(result, Mapping) or not isinstance(result.get("tools"), list):
        raise MessageError("tools/list: field 'tools' must be a list")
    cursor = result.get("nextCursor", "")
    if type(cursor) is not str:
        raise MessageError("tools/list: field 'nextCursor' must be a string")
    tools = []
    for tool in result["tools"]:
        if not isinstance(tool, Mapping):
            raise MessageError("tools/list: a tool must be an object")
        name, description = tool.get("name"), tool.get("description", "")
        schema = tool.get("inputSchema", {"type": "object", "properties": {}})
        if type(name) is not str or not name:
            raise MessageError("tools/list: field 'name' must be a string")
        if type(description) is not str:
            raise MessageError("tools/list: field 'description' must be a string")
        if not isinstance(schema, Mapping):
            raise MessageError("tools/list: field 'inputSchema' must be an object")
        tools.append(DeviceTool(name, description, schema))
    return tuple(tools), cursor


def parse_call_result(result: object) -> tuple[str, bool]:
    """A `tools/call` result: its texts, a line each, and whether the tool failed. Raises MessageError."""
    if not isinstance(result, Mapping):
        raise MessageError("tools/call: the result must be an object")
    content, failed = result.get("content", []), result.get("isError", False)
    if not isinstance(content, list):
        raise MessageError("tools/call: field 'content' must be a list")
    if type(failed) is not bool:
        raise MessageError("tools/call: field 'isError' must be true or false")
    texts = []
    for part in content:
        if not isinstance(part, Mapping):
            raise MessageError("tools/call: a part of 'content' must be an object")
        text = part.get("text", "")
        if type(text) is not str:
            raise MessageError("tools/call: field 'text' must be a string")
        if text:
            texts.append(text)
    return "\n".join(texts), failed


_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


def function_name(tool_name: str) -> str:
    """The tool's name as every language model's API takes it: dots become `__`, other strange characters `_`.

    At most 64 characters; a name that was cut ends in a digest of the whole, so two long names stay two. The
    way back is by table, not by reversing.
    """
    name = _UNFIT.sub("_", tool_name.replace(".", "__")) or "_"
    if len(name) <= MAX_FUNCTION_NAME:
        return name
    digest = sha256(tool_name.encode(errors="replace")).hexdigest()[:8]
    return f"{name[: MAX_FUNCTION_NAME - 9]}_{digest}"
