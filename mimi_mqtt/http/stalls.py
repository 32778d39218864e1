"""The end of connections whose client does not read."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

WRITE_TIMEOUT_S: Final = 10.0
"""Seconds within which a client has to read something of what waits for it."""


def _nothing() -> None:
    """Stands for `stalled` after the end."""


class WriteWatch:
    """Calls `stalled` when a transport's buffer of unsent bytes has not shrunk for `timeout_s`."""

    __slots__ = ("_size", "_stalled", "_timeout_s", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, timeout_s: float, stalled: Callable[[], None]) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._stalled = stalled
        self._timer: asyncio.TimerHandle | None = None
        self._size: float = math.inf

    def close(self) -> None:
        """Stops the clock for good, and forgets `stalled`: the owner's method would keep the owner until the
        next full garbage collection."""
        self.stop()
        self._stalled = _nothing

    def watch(self) -> None:
        """Starts the clock, unless it runs or nothing waits."""
        if self._timer is None and self._transport.get_write_buffer_size():
            self._size = self._transport.get_write_buffer_size()
            self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._check)

    def stop(self) -> None:
        """Stops the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() >= self._size:
            self._stalled()
        else:
            self.watch()
