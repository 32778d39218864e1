"""Work that is too long for one turn of the loop: done in steps, a few milliseconds at a time."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

SLICE_S: Final = 0.002
"""Seconds of a loop turn for all work of one `Background`."""


class Faults(Protocol):
    """Counts and logs faults of the server."""

    def fault(self, border: str, detail: str) -> None:
        """Takes note of the exception being handled."""


class Background:
    """Runs iterators, whose steps are short, for SLICE_S in each turn of the loop.

    Accounts take turns; the work of one account is done in the order in which it came. What an iterator
    raises is told to `faults`, and its work given up.
    """

    __slots__ = ("_clock", "_closed", "_faults", "_scheduled", "_work")

    def __init__(self, faults: Faults, clock: Callable[[], float] = time.perf_counter) -> None:
        self._faults = faults
        self._clock = clock
        self._work: dict[str, deque[Iterator[None]]] = {}  # by account, the next one first
        self._scheduled = False
        self._closed = False

    def add(self, account: str, steps: Iterator[None]) -> None:
        """Runs `steps` from the next turn of the loop on."""
        if self._closed:
            return
        self._work.setdefault(account, deque()).append(steps)
        self._schedule()

    def close(self) -> None:
        """Gives up all work, and what comes later."""
        self._closed = True
        self._work.clear()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        until = self._clock() + SLICE_S
        while self._work:
            account = next(iter(self._work))
            queue = self._work.pop(account)
            try:
                next(queue[0])
            except StopIteration:
                queue.popleft()
            except Exception:  # noqa: BLE001 - the border of one account's work
                self._faults.fault("background", f"work for {account} failed and was given up")
                queue.popleft()
            if queue:
                self._work[account] = queue
            if self._clock() >= until:
                break
        if self._work:
            self._schedule()
