"""Wrapping of every request to a provider: time-outs, retries, metrics, and ProviderError kinds only.

`provider_border` is where a vendor's stray exceptions become ProviderError. A request is repeated only while
nothing of its answer has been passed on, so a caller never hears or reads the same thing twice.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from prometheus_client import Counter, Histogram

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.runtime.usage import count_answer

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

MAX_BACKOFF_S = 2.0
"""Longest pause before a retry, in seconds, where the vendor names none: a user is waiting."""

_requests = Counter("mimi_provider_requests", "Requests to providers, retries included.", ["role", "name"])
_errors = Counter("mimi_provider_errors", "Requests to providers that failed.", ["role", "name", "kind"])
_first_result = Histogram(
    "mimi_provider_first_result_seconds",
    "From the request to the first result; for stt from the end of the audio to the final transcript.",
    ["role", "name"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0),
)

_watched: ContextVar[list[float] | None] = ContextVar("first results", default=None)

_KINDS: dict[type[ProviderError], str] = {
    ProviderNotConfigured: "not_configured",
    ProviderRefused: "refused",
    ProviderRateLimited: "rate_limited",
    ProviderTimeout: "timeout",
    ProviderUnavailable: "unavailable",
    ProviderBadAnswer: "bad_answer",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds shared by all providers.

    `timeout_s`: longest wait for the first result and between two parts of it. `retries`: further tries.
    `backoff_s`: longest pause before the first retry; it doubles with each, up to MAX_BACKOFF_S.
    """

    timeout_s: float = 15.0
    retries: int = 1
    backoff_s: float = 0.25


def error_kind(error: ProviderError) -> str:
    """The label of `error` in metrics: `timeout`, `refused`, …"""
    return next((kind for known, kind in _KINDS.items() if isinstance(error, known)), "other")


def may_have_acted(error: ProviderError) -> bool:
    """True when a request that failed by `error` may have had its effect all the same.

    Not one that never arrived, nor one that was refused: all else is uncertain, also a connection cut in the
    middle and an answer of 500.
    """
    refused = isinstance(error, ProviderNotConfigured | ProviderRefused | ProviderRateLimited)
    return not error.not_sent and not refused


def retry_delay(error: ProviderError, tries: int, limits: Limits) -> float | None:
    """Seconds to wait before the next try after `tries` failed ones; None when another try is no use.

    The vendor's own Retry-After is kept to; when it is longer than `limits.timeout_s`, longer than a speaker
    waits, the request is given up instead.
    """
    if not error.retryable or tries > limits.retries:
        return None
    if isinstance(error, ProviderRateLimited) and error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= limits.timeout_s else None
    longest = min(limits.backoff_s * 2 ** (tries - 1), MAX_BACKOFF_S)
    return random.uniform(longest / 2, longest)


class Wait(Protocol[T_contra]):
    """The clock of a request: bounds each wait, and measures the time to the first result."""

    def bound(self, timeout_s: float) -> AbstractAsyncContextManager[object]:
        """Raises TimeoutError when the part awaited inside is not there in time."""

    def seconds_to(self, part: T_contra) -> float | None:
        """Seconds until `part` came, if it counts as the first result; else None."""


class RequestWait(Generic[T]):
    """Clock of a request that is complete when it is made: it runs from the start."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def bound(self, timeout_s: float) -> AbstractAsyncContextManager[object]:
        """Bounds the wait; the clock runs from now."""
        return asyncio.timeout(timeout_s)

    def seconds_to(self, part: T) -> float | None:
        """Any part counts as the first result."""
        return time.perf_counter() - self._began


@contextmanager
def first_results() -> Iterator[list[float]]:
    """Collects the seconds to the first result of each request made inside, also by tasks begun there."""
    seconds: list[float] = []
    token = _watched.set(seconds)
    try:
        yield seconds
    finally:
        _watched.reset(token)


@asynccontextmanager
async def provider_border(name: str, limits: Limits) -> AsyncIterator[None]:
    """Turns whatever a vendor's code raises into ProviderError kinds; cancellation passes."""
    try:
        yield
    except ProviderError:
        raise
    except TimeoutError as error:
        raise ProviderTimeout(name, f"no answer within {limits.timeout_s:g} s") from error
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise ProviderUnavailable(name, f"connection failed ({cause})") from error
    except Exception as error:
        # The border: a vendor's bug ends one request, not a session. The text of a stray exception may
        # hold speech or keys, so only debug shows it.
        logger.debug("%s failed unexpectedly", name, exc_info=error)
        kind = type(error).__name__
        raise ProviderBadAnswer(name, f"failed unexpectedly ({kind}); log.level debug shows where") from error


@asynccontextmanager
async def closing_parts(parts: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Closes a vendor's iterator at the end, if it is a generator: its connection is freed at once."""
    try:
        yield parts
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()


async def _one_try(
    attempt: Callable[[], AsyncIterator[T]], role: str, name: str, limits: Limits, wait: Wait[T]
) -> AsyncGenerator[T, None]:
    _requests.labels(role, name).inc()
    measured = False
    async with provider_border(name, limits), closing_parts(attempt()) as parts:
        while True:
            try:
                async with wait.bound(limits.timeout_s):
                    part = await anext(parts)
            except StopAsyncIteration:
                return
            if not measured and (seconds := wait.seconds_to(part)) is not None:
                measured = True
                _first_result.labels(role, name).observe(seconds)
                count_answer(role, name)
                if (watched := _watched.get()) is not None:
                    watched.append(seconds)
            yield part


async def resilient(
    attempt: Callable[[], AsyncIterator[T]],
    *,
    role: str,
    name: str,
    limits: Limits,
    wait: Callable[[], Wait[T]] = RequestWait,
    repeatable: bool = False,
    has_side_effects: bool = False,
    again_when_late: bool = False,
    binds: Callable[[T], bool] = lambda part: True,
) -> AsyncGenerator[T, None]:
    """The parts of `attempt()`, each bounded in time; a failed attempt is repeated if that may help.

    `wait` makes the clock of one attempt. `repeatable`: also repeat when parts were already passed on, as
    interim transcripts replace each other; `binds`: which parts rule that out. With `has_side_effects`
    a request that may have had its effect is not repeated. `again_when_late`: also repeat after a time-
    out, as where a connection kept for long may have died unnoticed; else the speaker has waited long
    enough, and the next provider may be quicker. Raises ProviderError, and nothing else.
    """
    tries = 0
    while True:
        delivered = False
        parts = _one_try(attempt, role, name, limits, wait())
        try:
            async for part in parts:
                delivered = delivered or binds(part)
                yield part
            return
        except ProviderError as error:
            tries += 1
            _errors.labels(role, name, error_kind(error)).inc()
            delay = retry_delay(error, tries, limits)
            too_late = isinstance(error, ProviderTimeout) and not again_when_late
            twice = has_side_effects and may_have_acted(error)
            if delay is None or too_late or twice or (delivered and not repeatable):
                raise
            logger.info("%s %s: trying again in %.1f s: %s", role, name, delay, error_kind(error))
        finally:
            await parts.aclose()
        await asyncio.sleep(delay)
