"""The simulated device's MCP server: a volume tool and a status tool (device contract, section 6)."""

import json
from collections.abc import Mapping
from typing import Any, Final

from mimi_mqtt import __version__
from mimi_mqtt.wire.mcp import PROTOCOL_VERSION

SET_VOLUME: Final = "self.audio_speaker.set_volume"
GET_STATUS: Final = "self.get_device_status"

_TOOLS: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "name": GET_STATUS,
        "description": "Tells the device's state: speaker volume, battery and network.",
        "inputSchema": {"type": "object", "properties": {}},
    },
    {
        "name": SET_VOLUME,
        "description": "Sets the speaker's volume, from 0 (mute) to 100.",
        "inputSchema": {
            "type": "object",
            "properties": {"volume": {"type": "integer", "minimum": 0, "maximum": 100}},
            "required": ["volume"],
        },
    },
)


METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603


class _Refused(Exception):
    """A call that becomes an error object with `code`."""

    def __init__(self, message: str, code: int = INVALID_PARAMS) -> None:
        super().__init__(message)
        self.code = code


class DeviceTools:
    """Answers requests; `volume` is what the tool sets. One tool a page, so that paging is really used.

    `error_codes`: error objects have a `code`, as from firmware 2.5.0 on.
    """

    def __init__(self, volume: int = 70, tools_per_page: int = 1, *, error_codes: bool = False) -> None:
        self.volume = volume
        self._error_codes = error_codes
        self._tools_per_page = tools_per_page

    def answer(self, payload: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """The reply to a JSON-RPC payload, None where a device stays silent, and the tool called, if any.

        Ids that are not numbers are ignored, as the firmware does.
        """
        method, request_id = payload.get("method"), payload.get("id")
        if payload.get("jsonrpc") != "2.0" or not isinstance(method, str) or type(request_id) is not int:
            return None, ""
        params = payload.get("params", {})
        called = ""
        try:
            if not isinstance(params, Mapping):
                raise _Refused(f"Invalid params for method: {method}")
            if method == "tools/call":
                called = str(params.get("name", ""))
            result = self._result(method, params)
        except _Refused as refused:
            error: dict[str, Any] = {"message": str(refused)}
            if self._error_codes:
                error = {"code": refused.code, **error}
            return {"jsonrpc": "2.0", "id": request_id, "error": error}, called
        return {"jsonrpc": "2.0", "id": request_id, "result": result}, called

    def _result(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        match method:
            case "initialize":
                return {
                    "protocolVersion": PROTOCOL_VERSION,
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "mimi-simulated", "version": __version__},
                }
            case "tools/list":
                return self._list(params.get("cursor", ""))
            case "tools/call":
                return self._call(params.get("name"), params.get("arguments", {}))
        raise _Refused(f"Method not implemented: {method}", METHOD_NOT_FOUND)

    def _list(self, cursor: object) -> dict[str, Any]:
        names = [tool["name"] for tool in _TOOLS]
        if cursor and cursor not in names:
            raise _Refused(f"Failed to list tools: unknown cursor {cursor}", INTERNAL_ERROR)
        start = names.index(cursor) if cursor else 0
        stop = start + self._tools_per_page
        page: dict[str, Any] = {"tools": list(_TOOLS[start:stop])}
        if stop < len(_TOOLS):
            page["nextCursor"] = names[stop]
        return page

    def _call(self, name: object, arguments: object) -> dict[str, Any]:
        if not isinstance(arguments, Mapping):
            raise _Refused("Invalid arguments")
        if name == SET_VOLUME:
            text = self._set_volume(arguments.get("volume"))
        elif name == GET_STATUS:
            text = self._status()
        else:
            raise _Refused(f"Unknown tool: {name}", METHOD_NOT_FOUND)
        return {"content": [{"type": "text", "text": text}], "isError": False}

    def _set_volume(self, volume: object) -> str:
        if type(volume) is not int:
            raise _Refused("Missing valid argument: volume")
        if volume < 0:
            raise _Refused("Value is below minimum allowed: 0")
        if volume > 100:
            raise _Refused("Value exceeds maximum allowed: 100")
        self.volume = volume
        return "true"

    def _status(self) -> str:
        return json.dumps(
            {
                "audio_speaker": {"volume": self.volume},
                "battery": {"level": 100, "charging": True},
                "network": {"type": "wifi", "ssid": "simulated", "signal": "strong"},
            }
        )
