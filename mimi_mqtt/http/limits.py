"""Bounds on the size and time of a request's body."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

REFUSED = Counter("mimi_http_refused_total", "HTTP requests refused by a limit", ["limit"])

BODY_TIMEOUT_S = 10.0
"""Seconds for a request's body to arrive."""

MAX_JSON_VALUES: Final = 30_000
"""Values in a body of JSON, about: reading it holds up the event loop, and with it the devices, by its values
more than by its length. A megabyte of small ones would take half a second."""

FILE_IDLE_S: Final = 10.0
"""Longest wait for the next part of a file, in seconds."""
FILE_TIMEOUT_S: Final = 60.0
"""Seconds for a file to arrive."""

# A client reads the reply only after it has written its request: a body up to so many times the bound is read
# off the wire and discarded.
_DISCARDED_TIMES = 16


async def read_body(request: Request, max_bytes: int, bound: str = "http.max_body_bytes") -> bytes:
    """The request's body, chunked or not. Raises HTTPException 413 when it is too large, naming `bound`, 408
    when too slow."""
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                received += len(chunk)
                if received <= max_bytes:
                    body += chunk
                elif received > _DISCARDED_TIMES * max_bytes:
                    break
    except TimeoutError:
        REFUSED.labels("body_time").inc()
        raise HTTPException(
            408, f"the body took longer than {BODY_TIMEOUT_S:g} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended before the body did") from None
    if received > max_bytes:
        REFUSED.labels("body_size").inc()
        raise HTTPException(
            413, f"the body is larger than {max_bytes} bytes ({bound})", {"Connection": "close"}
        )
    return bytes(body)


def json_values(part: bytes) -> int:
    """About how many values a part of a JSON body has, and never fewer but one; found without reading it."""
    return part.count(b",") + part.count(b"[") + part.count(b"{")


async def file_body(request: Request, max_bytes: int, bound: str) -> AsyncIterator[bytes]:
    """The request's body in parts, as they come, chunked or not.

    Raises HTTPException: 413 when it is larger, or says that it will be, naming `bound`; 408 when nothing
    comes for `FILE_IDLE_S`, or it takes longer than `FILE_TIMEOUT_S`; 400 when it is cut off.
    """
    if _claimed(request) > max_bytes:
        raise _too_large(max_bytes, bound)
    until = asyncio.get_running_loop().time() + FILE_TIMEOUT_S
    received = 0
    body = request.stream()
    while True:
        try:
            async with asyncio.timeout_at(min(until, asyncio.get_running_loop().time() + FILE_IDLE_S)):
                part = await anext(body, None)
        except TimeoutError:
            REFUSED.labels("body_time").inc()
            raise HTTPException(408, "the body came too slowly", {"Connection": "close"}) from None
        except ClientDisconnect:
            raise HTTPException(400, "the connection ended before the body did") from None
        if part is None:
            return
        received += len(part)
        if received > max_bytes:
            raise _too_large(max_bytes, bound)
        if part:
            yield part


def _claimed(request: Request) -> int:
    """The length that a request says its body has, in bytes; 0 for none."""
    claimed = request.headers.get("content-length", "")
    return int(claimed) if claimed.isascii() and claimed.isdigit() and len(claimed) < 20 else 0


async def discard_body(request: Request, max_bytes: int) -> None:
    """Reads what is left of a request's body, up to `max_bytes`: a client reads a refusal only after it has
    written its request. Raises nothing."""
    if _claimed(request) > max_bytes:
        return
    received = 0
    # Starlette raises RuntimeError when nothing is left.
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                received += len(part)
                if received > max_bytes:
                    return


def _too_large(max_bytes: int, bound: str) -> HTTPException:
    REFUSED.labels("body_size").inc()
    return HTTPException(413, f"the body is larger than {max_bytes} bytes ({bound})", {"Connection": "close"})
