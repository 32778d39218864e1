"""Work that several callers wait for, such as the start of a provider or the loading of its model."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedTask(Generic[T]):
    """Runs `work` once for all who ask while it runs; a caller that is cancelled does not end it."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._name = name
        self._work = work
        self._task: asyncio.Task[T] | None = None

    async def result(self) -> T:
        """Returns or raises the result of the work; the next call after its end begins it anew."""
        task = self._task
        if task is None:
            task = self._task = asyncio.create_task(self._work(), name=self._name)
            task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Cancels the work, and waits for its end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _ended(self, task: asyncio.Task[T]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled():
            task.exception()  # maybe nobody waits for it any more
