"""A local server that speaks Deepgram's Listen v1 WebSocket protocol."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from websockets.http11 import Response

from tests.servers.vendor import Asked, Status
from tests.servers.websocket_vendor import Line, WebSocketVendor, answer

KEY = "dg-right"

_METADATA = {
    "type": "Metadata",
    "transaction_key": "deprecated",
    "request_id": "8c8ebea9-dbec-45fa-a035-e4632cb05b5f",
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "created": "2026-01-01T00:00:00.000Z",
    "duration": 0.1,
    "channels": 1,
}


def results(text: str, *, languages: Sequence[str] = (), **flags: bool) -> dict[str, Any]:
    """A `Results` message; `flags` are `is_final`, `speech_final` and `from_finalize`."""
    alternative: dict[str, Any] = {"transcript": text, "confidence": 0.5 if text else 0.0, "words": []}
    if languages:
        alternative["languages"] = [*languages]
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "duration": 0.1,
        "start": 0.0,
        "is_final": False,
        "speech_final": False,
        "from_finalize": False,
        "channel": {"alternatives": [alternative]},
        "metadata": {
            "request_id": _METADATA["request_id"],
            "model_info": {"name": "nova-3", "version": "1", "arch": "nova-3"},
            "model_uuid": "1dbdfb4d-85b2-4659-9831-16b3c76229aa",
        },
        **flags,
    }


def utterance_end() -> dict[str, Any]:
    return {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.1}


class DeepgramServer(WebSocketVendor):
    """Set what it says at the first audio (`meanwhile`), to `Finalize` (`flushed`) and whether it does the
    latter at all."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Sequence[Mapping[str, Any]] = (results("hello"),)
        self.flushed: Sequence[Mapping[str, Any]] = (
            results("hello world"),
            results("hello world", is_final=True, from_finalize=True),
        )
        self.audio = bytearray()
        self.controls: list[str] = []
        self.control = asyncio.Event()
        """Set by each control message."""

    def refusal(self, asked: Asked) -> Response | None:
        given = asked.headers.get("authorization", "")
        if given == f"Token {KEY}":
            return None
        error = {"err_code": "INVALID_AUTH", "err_msg": f"Invalid credentials: {given}"}
        return answer(401, json.dumps(error).encode())

    def error_body(self, fault: Status) -> bytes:
        return json.dumps({"err_code": "X", "err_msg": fault.message, "request_id": "1"}).encode()

    async def converse(self, line: Line) -> None:
        waiting = [*self.meanwhile]
        async for message in line.connection:
            if isinstance(message, bytes):
                self.audio += message
                while waiting:
                    await line.say(waiting.pop(0))
                continue
            kind = json.loads(message)["type"]
            self.controls.append(kind)
            self.control.set()
            if kind == "Finalize":
                for part in self.flushed:
                    await line.say(part)
            elif kind == "CloseStream":
                await line.say(_METADATA)
                return
