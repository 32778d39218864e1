"""Bounds on the bodies of requests: in size and time for all, and for a file by the route that takes it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mimi_mqtt.http.limits import BODY_TIMEOUT_S, MAX_JSON_VALUES, REFUSED, json_values

MAX_BODY_BYTES: Final = 1_048_576
"""Longest body of a request, in bytes; a route that takes a file has a bound of its own (`stream`)."""
IDLE_TIMEOUT_S: Final = 30.0
"""Longest wait for the next part of a file, in seconds."""
LEAST_BYTES_PER_S: Final = 8_192
"""Rate at which a file has to come in the long run, beside `IDLE_TIMEOUT_S`."""

_BOUND: Final = "mimi.body_bound"
# A client reads the reply only after it has written its request.
_DISCARDED_TIMES: Final = 16


class _Bound:
    """The bound of one request, until a route sets another; `streamed`: the route reads a file."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.streamed = False
        self.received = 0
        self.values = 0


class BodyBounds:
    """Ends requests whose body is too large or comes too slowly; wraps an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bound = scope[_BOUND] = _Bound(MAX_BODY_BYTES)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ended = False

        async def next_part() -> Message:
            nonlocal ended
            if ended:  # what comes now is the end of the connection, whenever that is
                return await receive()
            try:
                if bound.streamed:
                    due = begun + IDLE_TIMEOUT_S + bound.received / LEAST_BYTES_PER_S
                    until = min(due, loop.time() + IDLE_TIMEOUT_S)
                else:
                    until = begun + BODY_TIMEOUT_S
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                REFUSED.labels("body_time").inc()
                raise HTTPException(408, "the body came too slowly", {"Connection": "close"}) from None
            ended = message["type"] != "http.request" or not message.get("more_body", False)
            part = message.get("body", b"")
            bound.received += len(part)
            if not bound.streamed:
                bound.values += json_values(part)
            return message

        async def receive_bounded() -> Message:
            message = await next_part()
            if bound.received <= bound.max_bytes and bound.values <= MAX_JSON_VALUES:
                return message
            REFUSED.labels("body_size").inc()
            too_long = bound.received > bound.max_bytes
            while not ended and bound.received <= _DISCARDED_TIMES * MAX_BODY_BYTES:
                await next_part()
            most = f"{bound.max_bytes} bytes" if too_long else f"{MAX_JSON_VALUES} values"
            raise HTTPException(413, f"the body is larger than {most}", {"Connection": "close"})

        await self._app(scope, receive_bounded, send)


async def stream(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The request's body in parts, as they come, at most `max_bytes` in all.

    Raises HTTPException: 413 when it is larger, 408 when nothing comes for `IDLE_TIMEOUT_S` or too little for
    `LEAST_BYTES_PER_S`, 400 when it is cut off.
    """
    bound: _Bound = request.scope[_BOUND]
    bound.max_bytes, bound.streamed = max_bytes, True
    try:
        async for part in request.stream():
            if part:
                yield part
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended before the body did") from None
