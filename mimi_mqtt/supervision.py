"""Supervision of long-lived loops: what escapes from one round is told and counted, and the loop goes on.

Every loop that runs as long as the server does is a `SupervisedLoop`, and the part that owns it is healthy
only while the loop is.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from prometheus_client import Counter

from mimi_mqtt.errors import MimiError

_log = logging.getLogger(__name__)

FIRST_DELAY_S: Final = 0.5
"""Seconds between a failed round and the next one; doubled with each further failure in a row."""
MAX_DELAY_S: Final = 30.0
"""The longest delay after a failed round, in seconds."""
TOLD_AGAIN_S: Final = 60.0
"""Seconds between two log entries about a loop that keeps failing."""

_failures = Counter("mimi_loop_failures_total", "Rounds of long-lived loops that failed.", ["loop"])


class SupervisedLoop:
    """A loop that calls `round_` again and again until `aclose`, whatever a round raises.

    With `every_s` a round starts that many seconds after the last one ended, the first one included; without
    it `round_` itself waits for its work. After a failed round the loop is unhealthy until a round succeeds,
    and waits `FIRST_DELAY_S` to `MAX_DELAY_S`. `name` is its task's name and its label in `/metrics`.
    """

    def __init__(
        self, name: str, round_: Callable[[], Awaitable[None]], *, every_s: float | None = None
    ) -> None:
        self.name = name
        self._round = round_
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._failed_in_a_row = 0
        self._told_at: float | None = None

    @property
    def healthy(self) -> bool:
        """True while the loop runs and its last round succeeded."""
        return self._task is not None and not self._task.done() and not self._failed_in_a_row

    @property
    def running(self) -> bool:
        """True from `start` until `aclose`, also while rounds fail."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Starts the loop on the running event loop; does nothing while it runs."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)

    async def aclose(self, *, timeout_s: float = 0.0) -> None:
        """Cancels the loop and waits for it; safe to call twice.

        With `timeout_s` the loop may end by itself for so long, which it does when a round raises
        `LoopFinished`.
        """
        task, self._task = self._task, None
        if task is None:
            return
        if timeout_s:
            await asyncio.wait({task}, timeout=timeout_s)
        task.cancel()
        await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            try:
                if self._every_s is not None:
                    await asyncio.sleep(self._every_s)
                await self._round()
            except LoopFinished:
                return
            except Exception as error:  # noqa: BLE001 - the border of a loop: it must go on
                await asyncio.sleep(self._failed(error))
            else:
                self._succeeded()

    def _failed(self, error: Exception) -> float:
        """Tells of the exception being handled; returns the delay before the next round, in seconds."""
        self._failed_in_a_row += 1
        _failures.labels(self.name).inc()
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= TOLD_AGAIN_S:
            self._told_at = now
            # A failure that this project knows of explains itself; any other needs its traceback.
            told = f": {error}" if isinstance(error, MimiError) else ""
            _log.error(
                "%s failed (%d in a row); it goes on%s",
                self.name,
                self._failed_in_a_row,
                told,
                exc_info=not told,
            )
        return min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(self._failed_in_a_row - 1, 16))

    def _succeeded(self) -> None:
        if self._failed_in_a_row:
            _log.info("%s works again after %d failures", self.name, self._failed_in_a_row)
            self._failed_in_a_row = 0
            self._told_at = None


def forget_cancellation(task: "asyncio.Task[Any]") -> None:
    """Takes the CancelledError out of a cancelled `task`, as a done callback; no effect on any other task.

    Its traceback holds the frames that were cancelled, and those often hold the task: a cycle of references,
    which keeps all of them until a full garbage collection.
    """
    if task.cancelled():
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()


class LoopFinished(Exception):
    """Raised by the round of a loop that has nothing left to do."""
