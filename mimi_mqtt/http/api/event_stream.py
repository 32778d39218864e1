"""A response of server-sent events, which goes on until the server or the client ends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from fastapi import Response
from starlette.types import Receive, Scope, Send


class Streaming(Protocol):
    """One reader of a stream."""

    def frames(self) -> AsyncIterator[bytes]:
        """The frames to send, as they come, until the end."""

    def end(self, reason: str) -> None:
        """Has `frames` end soon."""


class EventStream(Response):
    """The frames of a listener. `place` is left with the end."""

    media_type = "text/event-stream"

    def __init__(self, listener: Streaming, place: contextlib.ExitStack) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._listener = listener
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        with self._place:
            leaving = asyncio.get_running_loop().create_task(
                _watch(receive, self._listener), name="end of an event stream"
            )
            try:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for frame in self._listener.frames():
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
                await send({"type": "http.response.body"})
            finally:
                leaving.cancel()
                await asyncio.wait({leaving})


async def _watch(receive: Receive, listener: Streaming) -> None:
    """Ends the listener when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end("gone")
