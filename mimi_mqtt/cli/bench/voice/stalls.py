"""The time for which a model at work keeps the event loop from running; part of `bench voice`.

A model that holds the interpreter's lock in its thread keeps every session waiting, as frames are sent by the
loop: more than 10 ms is why a model runs in a process of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_TICK_S: Final = 0.001


class Stalls:
    """Delays of a task that wants to run each millisecond, in seconds."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watches the loop while the body runs."""
        watching = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _TICK_S
            try:
                await asyncio.sleep(_TICK_S)
            finally:  # also the delay that the end of the body cut short
                self.delays.append(max(0.0, clock() - due))

    def figures(self) -> dict[str, object]:
        """The delay that 1 in 100 exceeds, and the longest, in ms."""
        ordered = sorted(self.delays)
        if not ordered:
            return {"loop_stall_ms_p99": None, "loop_stall_ms_max": None}
        return {
            "loop_stall_ms_p99": round(1000 * ordered[(len(ordered) - 1) * 99 // 100], 1),
            "loop_stall_ms_max": round(1000 * ordered[-1], 1),
        }
