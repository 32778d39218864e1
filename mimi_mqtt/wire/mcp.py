"""The Model Context Protocol as devices speak it: JSON-RPC 2.0 in a control message's `payload`.

The device is the server, protocol version 2024-11-05. Ids are numbers; a device's error objects carry only
`message` before firmware 2.5.0, then also `code`. Source: the device contract, sections 3 and 6.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from mimi_mqtt.errors import MessageError

PROTOCOL_VERSION = "2024-11-05"
MAX_FUNCTION_NAME = 64
MAX_ERROR_CHARS: Final = 500
"""Longest reason that is read from a broken reply."""
MAX_MEDIA: Final = 8
"""Images and sounds taken from one result; the rest is left out."""

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
    """The result of request `id`."""

    id: int
    result: object


@dataclass(frozen=True, slots=True)
class McpError:
    """Request `id` failed; None when the device did not name it. `code` is 0 when it gave none."""

    id: int | None
    message: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class McpNotification:
    """A message from the device that answers no request."""

    method: str
    params: Json


McpReply = McpResult | McpError | McpNotification


def parse_reply(payload: Json) -> McpReply:
    """Reads the `payload` of an mcp message. Raises MessageError that names the field."""
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


_HEAD_BYTES: Final = 512
_MCP = re.compile(rb'"type"\s{0,8}:\s{0,8}"mcp"')
_ID = re.compile(rb'"id"\s{0,8}:\s{0,8}(\d{1,15})\s{0,8}[,}]')
_ERROR = re.compile(rb'"error"\s{0,8}:\s{0,8}\{')
_RESULT = re.compile(rb'"result"\s{0,8}:')
_MESSAGE = re.compile(rb'"message"\s{0,8}:\s{0,8}"')
_CODE = re.compile(rb'"code"\s{0,8}:\s{0,8}(-?\d{1,9})\s{0,8}[,}]')


def salvage_reply(raw: bytes) -> McpError | None:
    """The failure that a control message of broken JSON stands for, or None when it answers no request.

    Firmware does not escape the text of an error: a quote in it breaks the whole message (device contract,
    section 3). `id` comes before the text, within the first bytes of the payload. Looks at the two ends of
    `raw` only, each at most 512 bytes, in linear time.
    """
    head = raw[:_HEAD_BYTES]
    start = head.find(b'"payload"')
    if start < 0 or _MCP.search(head) is None:
        return None
    head = head[start:]
    error, result = _ERROR.search(head), _RESULT.search(head)
    body = error or result
    if body is None or (number := _ID.search(head, 0, body.start())) is None:
        return None
    if error is None:
        return McpError(int(number[1]), "its reply is not valid JSON: a quote in a text is not escaped")
    code = _CODE.search(head, error.end()) or _CODE.search(raw[-_HEAD_BYTES:])
    text = _MESSAGE.search(head, error.end())
    message = b"" if text is None else raw[start + text.end() :][:_HEAD_BYTES]
    # Closing quote and braces of the message; the text has quotes of its own.
    message = re.split(rb'"\s{0,8}(?:\}\s{0,8}\}|,\s{0,8}"code")', message, maxsplit=1)[0]
    reason = message.decode(errors="replace")[:MAX_ERROR_CHARS]
    return McpError(int(number[1]), reason or "the device gave no reason", int(code[1]) if code else 0)


@dataclass(frozen=True, slots=True)
class DeviceTool:
    """A tool as the device lists it; `input_schema` is a JSON schema of booleans, integers and strings.

    `audience` is that of its annotations: empty when the device says nothing. `read_only`: calling it changes
    nothing (`readOnlyHint`).
    """

    name: str
    description: str
    input_schema: Json
    audience: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def user_only(self) -> bool:
        """True when it is for a person's action, never a model's: the annotations decide, else the name."""
        return self.audience == ("user",) if self.audience else self.name in _USER_ONLY


_USER_ONLY: Final = frozenset(
    {
        "self.reboot",
        "self.upgrade_firmware",
        "self.screen.snapshot",
        "self.screen.preview_image",
        "self.screen.get_info",
        "self.assets.set_download_url",
        "self.get_system_info",
    }
)


def parse_tools_page(result: object) -> tuple[tuple[DeviceTool, ...], str]:
    """One page of `tools/list`: its tools and the next page's cursor, or "". Raises MessageError."""
    if not isinstance(result, Mapping) or not isinstance(result.get("tools"), list):
        raise MessageError("tools/list: field 'tools' must be a list")
    cursor = result.get("nextCursor", "")
    if type(cursor) is not str:
        raise MessageError("tools/list: field 'nextCursor' must be a string")
    return tuple(map(_parse_tool, result["tools"])), cursor


def _parse_tool(tool: object) -> DeviceTool:
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
    annotations = tool.get("annotations")
    if not isinstance(annotations, Mapping):
        return DeviceTool(name, description, schema)
    # Hints: what can't be understood in them says nothing.
    audience = annotations.get("audience")
    known = isinstance(audience, list) and all(type(each) is str for each in audience)
    return DeviceTool(
        name,
        description,
        schema,
        tuple(audience) if known and audience else (),
        annotations.get("readOnlyHint") is True,
    )


@dataclass(frozen=True, slots=True)
class Media:
    """An image or a sound in a tool's result."""

    kind: Literal["image", "audio"]
    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class CallResult:
    """A `tools/call` result: its texts, a line each, its images and sounds, and whether the tool failed."""

    text: str
    media: tuple[Media, ...] = ()
    failed: bool = False


def parse_call_result(result: object) -> CallResult:
    """Reads a `tools/call` result; parts of other types than text, image and audio are left out.

    An image may come as the firmware writes it, in a field `image`, or as MCP says it, in `data`. Raises
    MessageError.
    """
    if not isinstance(result, Mapping):
        raise MessageError("tools/call: the result must be an object")
    default = [result] if "content" not in result and "type" in result else []
    content, failed = result.get("content", default), result.get("isError", False)
    if not isinstance(content, list):
        raise MessageError("tools/call: field 'content' must be a list")
    if type(failed) is not bool:
        raise MessageError("tools/call: field 'isError' must be true or false")
    texts: list[str] = []
    media: list[Media] = []
    for part in content:
        if not isinstance(part, Mapping):
            raise MessageError("tools/call: a part of 'content' must be an object")
        kind = part.get("type", "text")
        if kind == "text":
            text = part.get("text", "")
            if type(text) is not str:
                raise MessageError("tools/call: field 'text' must be a string")
            if text:
                texts.append(text)
        elif kind in ("image", "audio") and len(media) < MAX_MEDIA:
            media.append(_parse_media(kind, part))
    return CallResult("\n".join(texts), tuple(media), failed)


_MIME_TYPES: Final = {"image": "image/jpeg", "audio": "audio/wav"}  # where the device names none
_DATA_URL = re.compile(r"data:([\w.+/-]{1,80});base64,", re.ASCII)


def _parse_media(kind: Literal["image", "audio"], part: Json) -> Media:
    data = part.get("data", part.get(kind))
    mime_type = part.get("mimeType", _MIME_TYPES[kind])
    if kind == "image" and isinstance(data, str) and data.startswith("{"):
        # The firmware puts an image's own JSON into the field, as a string.
        try:
            inner = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise MessageError("tools/call: field 'image' holds broken JSON") from error
        data, mime_type = inner.get("data"), inner.get("mimeType", mime_type)
    if type(data) is not str or type(mime_type) is not str:
        raise MessageError(f"tools/call: an {kind} must have its data and type as strings")
    if url := _DATA_URL.match(data):
        data, mime_type = data[url.end() :], url[1]
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MessageError(f"tools/call: the data of an {kind} is not base64") from error
    return Media(kind, mime_type[:80], content)


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
