"""Ends of general clients' connections, a few in each turn of the loop.

Each has a session to end and perhaps a will to say: when a thousand clients leave in the same moment, devices
must be answered in between.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from mimi_mqtt.transports.mqtt.limits import DEPARTURES_A_TURN


class Departures:
    """Calls what is added, in order, DEPARTURES_A_TURN in one turn of the loop."""

    __slots__ = ("_scheduled", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def add(self, end: Callable[[], None]) -> None:
        """Calls `end`, which does not raise, when its turn comes."""
        self._waiting.append(end)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def finish(self) -> None:
        """Calls all that wait, now."""
        while self._waiting:
            self._waiting.popleft()()

    def _run(self) -> None:
        for _ in range(min(DEPARTURES_A_TURN, len(self._waiting))):
            self._waiting.popleft()()
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._run)
