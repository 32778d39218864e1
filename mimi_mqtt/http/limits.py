"""Bounds on HTTP clients: the rate per address, and the size and time of a request's body."""

import asyncio
from collections import OrderedDict

from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from mimi_mqtt.limits import TokenBucket
from mimi_mqtt.shares import address_holder

REFUSED = Counter("mimi_http_refused_total", "HTTP requests refused by a limit", ["limit"])

BODY_TIMEOUT_S = 10.0
"""Seconds for a request's body to arrive."""

# A client reads the reply only after it has written its request: a body up to so many times the bound is read
# off the wire and discarded.
_DISCARDED_TIMES = 16

MAX_ADDRESSES = 4_096
"""Addresses whose rate is remembered; beyond them the least recent ones are forgotten."""


class RateLimiter:
    """At most `requests` within `period_s` from one address (one /64 of IPv6), with a burst of as many."""

    def __init__(self, requests: int, *, period_s: float = 60.0, max_addresses: int = MAX_ADDRESSES) -> None:
        self._burst = float(requests)
        self._rate = requests / period_s
        self._max_addresses = max_addresses
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, address: str, now: float) -> float:
        """Counts one request. Returns 0 when it is allowed, else the seconds until the next one will be."""
        key = address_holder(address)
        bucket = self._buckets.get(key)
        if bucket is None:
            while len(self._buckets) >= self._max_addresses:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
        self._buckets.move_to_end(key)
        return 0.0 if bucket.take(now) else bucket.wait_s(now)


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
