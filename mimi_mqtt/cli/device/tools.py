"""The simulated device's MCP server: volume, status, updates, and with a picture camera and screen (device
contract, section 6)."""

import json
from collections.abc import Mapping
from typing import Any, Final

from mimi_mqtt import __version__
from mimi_mqtt.cli.device.actions import PostPicture
from mimi_mqtt.wire.mcp import PROTOCOL_VERSION

SET_VOLUME: Final = "self.audio_speaker.set_volume"
UPGRADE: Final = "self.upgrade_firmware"
"""Kept for people: lists of tools don't have it unless they ask for those."""
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

TAKE_PHOTO: Final = "self.camera.take_photo"
SNAPSHOT: Final = "self.screen.snapshot"

_CAMERA: Final[Mapping[str, Any]] = {
    "name": TAKE_PHOTO,
    "description": "Takes a photo with the device's camera and answers a question about it.",
    "inputSchema": {
        "type": "object",
        "properties": {"question": {"type": "string"}},
        "required": ["question"],
    },
}
_SCREEN: Final[Mapping[str, Any]] = {
    "name": SNAPSHOT,
    "description": "Posts a picture of the screen to a URL.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "url": {"type": "string"},
            "quality": {"type": "integer", "minimum": 1, "maximum": 100, "default": 80},
        },
        "required": ["url"],
    },
    "annotations": {"audience": ["user"]},
}

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

    `error_codes`: error objects have a `code`, as from firmware 2.5.0 on. `camera`: it has a picture to post
    as its camera's and its screen's; such a call is answered later, and `post` says where to.
    """

    def __init__(
        self, volume: int = 70, tools_per_page: int = 1, *, error_codes: bool = False, camera: bool = False
    ) -> None:
        self.volume = volume
        self.upgrade_url = ""
        """The image that the device was told to start with; empty: none."""
        self.camera = camera
        self.post: PostPicture | None = None
        """The picture that the last request wants posted."""
        self._vision = ("", "")
        self._error_codes = error_codes
        self._tools_per_page = tools_per_page

    def answer(self, payload: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """The reply to a JSON-RPC payload, None where a device stays silent, and the tool called, if any.

        Ids that are not numbers are ignored, as the firmware does.
        """
        self.post = None
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
                self.post = self._picture(request_id, called, params.get("arguments", {}))
                if self.post is not None:
                    return None, called
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
                self._learn_vision(params)
                return {
                    "protocolVersion": PROTOCOL_VERSION,
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "mimi-simulated", "version": __version__},
                }
            case "tools/list":
                return self._list(params.get("cursor", ""), params.get("withUserTools") is True)
            case "tools/call":
                return self._call(params.get("name"), params.get("arguments", {}))
        raise _Refused(f"Method not implemented: {method}", METHOD_NOT_FOUND)

    def _learn_vision(self, params: Mapping[str, Any]) -> None:
        """Keeps where photos are posted, until the next `initialize` tells it."""
        capabilities = params.get("capabilities", {})
        vision = capabilities.get("vision") if isinstance(capabilities, Mapping) else None
        if isinstance(vision, Mapping) and isinstance(vision.get("url"), str):
            self._vision = vision["url"], str(vision.get("token", ""))

    def _picture(self, request_id: int, name: str, arguments: object) -> PostPicture | None:
        """The picture that a call wants posted; None for every other call."""
        if not self.camera or name not in (TAKE_PHOTO, SNAPSHOT):
            return None
        if not isinstance(arguments, Mapping):
            raise _Refused("Invalid arguments")
        wanted = arguments.get("question" if name == TAKE_PHOTO else "url")
        if not isinstance(wanted, str):
            raise _Refused(f"Missing valid argument: {'question' if name == TAKE_PHOTO else 'url'}")
        if name == SNAPSHOT:
            return PostPicture(request_id, wanted)
        url, token = self._vision
        if not url:
            raise _Refused("Image explain URL or token is not set", INTERNAL_ERROR)
        return PostPicture(request_id, url, token, wanted)

    def posted(self, request_id: int, result: str, failed: bool) -> dict[str, Any]:
        """The reply to a call, once its picture was posted."""
        if failed:
            error: dict[str, Any] = {"message": result}
            if self._error_codes:
                error = {"code": INTERNAL_ERROR, **error}
            return {"jsonrpc": "2.0", "id": request_id, "error": error}
        content = {"content": [{"type": "text", "text": result}], "isError": False}
        return {"jsonrpc": "2.0", "id": request_id, "result": content}

    def _list(self, cursor: object, with_user_tools: bool) -> dict[str, Any]:
        tools = [*_TOOLS, *([_CAMERA] if self.camera else [])]
        tools += [_SCREEN] if self.camera and with_user_tools else []
        names = [tool["name"] for tool in tools]
        if cursor and cursor not in names:
            raise _Refused(f"Failed to list tools: unknown cursor {cursor}", INTERNAL_ERROR)
        start = names.index(cursor) if cursor else 0
        stop = start + self._tools_per_page
        page: dict[str, Any] = {"tools": list(tools[start:stop])}
        if stop < len(tools):
            page["nextCursor"] = names[stop]
        return page

    def _call(self, name: object, arguments: object) -> dict[str, Any]:
        if not isinstance(arguments, Mapping):
            raise _Refused("Invalid arguments")
        if name == SET_VOLUME:
            text = self._set_volume(arguments.get("volume"))
        elif name == GET_STATUS:
            text = self._status()
        elif name == UPGRADE:
            text = self._upgrade(arguments.get("url"))
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

    def _upgrade(self, url: object) -> str:
        if not isinstance(url, str):
            raise _Refused("Missing valid argument: url")
        self.upgrade_url = url
        return "true"

    def _status(self) -> str:
        return json.dumps(
            {
                "audio_speaker": {"volume": self.volume},
                "battery": {"level": 100, "charging": True},
                "network": {"type": "wifi", "ssid": "simulated", "signal": "strong"},
            }
        )
