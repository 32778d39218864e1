"""The rate of requests of one caller, whatever addresses they come from."""

import time
from collections.abc import Callable
from typing import Final

from mimi_mqtt.errors import LimitReached
from mimi_mqtt.people.access import Caller
from mimi_mqtt.shares import Ledger, Rates

REQUESTS_PER_S: Final = 20.0
"""Requests of one caller in a second, in the long run."""
REQUEST_BURST: Final = 200
"""Requests of one caller at once."""


class CallerRates:
    """Counts requests by caller; `ledger` tells of those beyond. `clock` gives monotonic seconds."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._rates = Rates(REQUESTS_PER_S, REQUEST_BURST)

    def take(self, caller: Caller) -> None:
        """Counts one request. Raises LimitReached."""
        holder, now = caller.user_id or caller.name, self._clock()
        if not self._rates.take(holder, now):
            self._ledger.refuse("requests of a caller", caller.name, now)
            raise LimitReached(
                f"more than {REQUESTS_PER_S:g} requests in a second: wait", self._rates.wait_s(holder, now)
            )
