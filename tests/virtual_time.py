"""An event loop whose clock jumps: when nothing is ready and no thread works, the next timer's moment is now.

Use it for a test module with

    pytestmark = pytest.mark.virtual_time

for one test with the mark as a decorator, or inside an ordinary function with `run(coroutine)`. Sockets on
the loopback and `run_in_executor` work: the clock stands still while an executor has work. A loop with
nothing left to wait for raises instead of hanging.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE_S = 10.0  # real seconds for a thread or a socket to wake a loop that has no timer


class _JumpingSelector(selectors.DefaultSelector):
    """Selects without waiting, and passes on the time that would have been waited to `loop`."""

    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self.loop.busy_threads:
            ready = super().select(_PATIENCE_S)
            if not ready:
                raise RuntimeError("the virtual-time loop waits for something that never comes")
            return ready
        self.loop.advance(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at second 1000; see the module."""

    def __init__(self) -> None:
        self._virtual_now = 1000.0
        self.busy_threads = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual_now

    def advance(self, seconds: float) -> None:
        """Moves the clock; the selector's business."""
        self._virtual_now += seconds

    def run_in_executor(  # type: ignore[override]  # typeshed's is generic over the arguments too
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """As ever, and time stands still until the result is there."""
        future = super().run_in_executor(executor, func, *args)
        self.busy_threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: "asyncio.Future[Any]") -> None:
        self.busy_threads -= 1


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
