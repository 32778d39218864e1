"""Bounds on the size and time of a request's body."""

import asyncio

from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

REFUSED = Counter("mimi_http_refused_total", "HTTP requests refused by a limit", ["limit"])

BODY_TIMEOUT_S = 10.0
"""Seconds for a request's body to arrive."""

# A client reads the reply only after it has written its request: a body up to so many times the bound is read
# off the wire and discarded.
_DISCARDED_TIMES = 16


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The request's body, chunked or not. Raises HTTPException 413 when it is too large, 408 when too
    slow."""
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
            413, f"the body is larger than {max_bytes} bytes (http.max_body_bytes)", {"Connection": "close"}
        )
    return bytes(body)
