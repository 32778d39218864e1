"""The circuit breaker of a provider: pauses one that keeps failing, and lets one request try it again.

Closed, it is asked as ever. After failures in a row it rests. When the rest is over it is half open: one
request at a time tries it; success closes the breaker, failure rests it again.
"""

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import Gauge

from mimi_mqtt.errors import ProviderError, ProviderNotConfigured, ProviderRateLimited
from mimi_mqtt.events import EventBus, ProviderFailed, ProviderRecovered

_resting = Gauge(
    "mimi_provider_resting",
    "1 from when a provider is rested for its failures until it works again.",
    ["role", "name"],
)

_demoted = Gauge(
    "mimi_provider_demoted",
    "1 while a provider is asked later because it kept losing hedged requests to the next one.",
    ["role", "name"],
)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Pauses a provider after `failures` in a row, for `rest_s` seconds of `clock`.

    A provider that is not configured is rested at once; one that names its own time (Retry-After) for that
    long, up to `longest_rest_s`.
    """

    failures: int = 3
    rest_s: float = 30.0
    longest_rest_s: float = 300.0
    clock: Callable[[], float] = time.monotonic


class Health:
    """The state of one provider's breaker."""

    def __init__(self, role: str, name: str, breaker: Breaker) -> None:
        self.events: EventBus | None = None
        """The listener for pauses of the provider and their ends."""
        self._role = role
        self._name = name
        self._breaker = breaker
        self._failures = 0
        self._rests_until: float | None = None
        self._probing = False
        self._gauge = _resting.labels(role, name)

    @property
    def ready(self) -> bool:
        """True when it may be asked: it works, or its pause is over and no other request is trying it."""
        if self._rests_until is None:
            return True
        return not self._probing and self._breaker.clock() >= self._rests_until

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Surrounds a request, so that only one at a time tries a provider whose pause is over."""
        tries = self._rests_until is not None and not self._probing
        self._probing |= tries
        try:
            yield
        finally:
            if tries:
                self._probing = False

    def worked(self) -> bool:
        """Records a success; true when the provider had been paused."""
        recovered = self._rests_until is not None
        self._failures = 0
        self._rests_until = None
        self._gauge.set(0)
        if recovered and self.events is not None:
            self.events.publish(ProviderRecovered(role=self._role, name=self._name))
        return recovered

    def failed(self, error: ProviderError) -> float:
        """Records a failure; the seconds for which the provider is paused now, 0 when it is not."""
        self._failures += 1
        rest_s = self._breaker.rest_s if self._failures >= self._breaker.failures else 0.0
        if isinstance(error, ProviderNotConfigured):
            rest_s = self._breaker.rest_s
        elif isinstance(error, ProviderRateLimited) and error.retry_after_s is not None:
            rest_s = max(rest_s, min(error.retry_after_s, self._breaker.longest_rest_s))
        if self._rests_until is not None:
            # Its trial failed, or it was asked during its pause because no other provider was left.
            rest_s = max(rest_s, self._breaker.rest_s)
        if rest_s:
            if self._rests_until is None and self.events is not None:
                kind = type(error).__name__
                self.events.publish(
                    ProviderFailed(role=self._role, name=self._name, kind=kind, rest_s=rest_s)
                )
            self._rests_until = self._breaker.clock() + rest_s
            self._gauge.set(1)
        return rest_s


RACES_LOST: Final = 3
"""Hedged requests lost in a row after which a provider is no longer asked first."""
DEMOTED_S: Final = 120.0
"""Time for which it is asked later, in seconds; twice as long each time it is still slow afterwards."""
DOUBLED: Final = 5
"""So often that time is doubled at most: it is about an hour then."""


class Pace:
    """The record of one provider in hedged requests: one that keeps losing is asked later, for a while.

    Without it, one that is always slow would cost the wait and a second request in each turn.
    """

    def __init__(self, role: str, name: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lost = 0
        self._times = 0
        self._demoted_until: float | None = None
        # Read when it is asked for: a pause that is over must not be shown because nobody spoke since.
        this = weakref.ref(self)
        _demoted.labels(role, name).set_function(lambda: float((pace := this()) is not None and pace.slow))

    @property
    def slow(self) -> bool:
        """True while it is asked later."""
        if self._demoted_until is None:
            return False
        if self._clock() < self._demoted_until:
            return True
        self._demoted_until = None
        return False

    def lost(self) -> float:
        """It was overtaken; the seconds for which it is asked later from now on, 0 when it is not."""
        if self.slow:
            return 0.0
        self._lost += 1
        if self._lost < RACES_LOST:
            return 0.0
        self._lost = RACES_LOST - 1  # the next loss after the pause is enough
        seconds = DEMOTED_S * float(1 << self._times)
        self._times = min(self._times + 1, DOUBLED)
        self._demoted_until = self._clock() + seconds
        return seconds

    def won(self) -> None:
        """It began in time, or before the one that was asked second."""
        if not self.slow:
            self._lost = self._times = 0
