"""A local server that speaks FunASR's WebSocket protocol, like the servers in C++ or like those in Python."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from websockets.typing import Subprotocol

from tests.servers.websocket_vendor import Line, WebSocketVendor


class FunAsrServer(WebSocketVendor):
    """Set what it says at the first audio (`meanwhile`) and at the end (`rest`): (mode, text) pairs.

    `like`: servers in `c++` mark the last message with `is_final`; those in `python` mark all others; `new`
    ones also confirm the end.
    """

    subprotocols = (Subprotocol("binary"),)

    def __init__(self) -> None:
        super().__init__()
        self.like: Literal["c++", "python", "new"] = "c++"
        self.meanwhile: Sequence[tuple[str, str]] = (("2pass-online", "hello"),)
        self.rest: Sequence[tuple[str, str]] = (
            ("2pass-online", "world"),
            ("2pass-offline", "hello world"),
        )
        self.starts: list[Mapping[str, Any]] = []
        self.ends: list[Mapping[str, Any]] = []
        self.blocks: list[bytes] = []
        self.said = asyncio.Event()
        """Set when `meanwhile` was said."""

    async def converse(self, line: Line) -> None:
        waiting = [*self.meanwhile]
        speaking = False
        async for message in line.connection:
            if isinstance(message, bytes):
                self.blocks.append(message)
                while waiting:
                    await line.say(self._message(*waiting.pop(0), speaking=True, last=False))
                self.said.set()
                continue
            control = json.loads(message)
            if not speaking:
                self.starts.append(control)
                speaking = True
                continue
            self.ends.append(control)
            for number, part in enumerate(self.rest, 1):
                await line.say(self._message(*part, speaking=False, last=number == len(self.rest)))
            if self.like == "new":
                await line.say({"is_end": True, "is_final": True})
            # Real servers leave the connection to the client.

    def _message(self, mode: str, text: str, *, speaking: bool, last: bool) -> Mapping[str, Any]:
        final = last if self.like == "c++" else speaking
        return {"mode": mode, "text": text, "wav_name": "mimi", "is_final": final}
