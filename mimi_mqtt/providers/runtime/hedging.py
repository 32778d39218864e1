"""Hedged requests: a second provider is asked when the first is slow; the first to begin is used.

Each answer runs in a task of its own, from its first part to its closing, as a vendor's generator may hold
time-outs and task groups open across its parts. A runner waits until its part is taken, so nothing piles up.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

from mimi_mqtt.errors import ProviderError

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hedge(Generic[T]):
    """The hedging of one request.

    `due` returns when the second is to be asked; `begins` tells whether a part is what the race is about.
    Parts before that one, such as interim transcripts, are passed on from the provider asked first. `rescued`
    is called when the second began first.
    """

    due: Callable[[], Awaitable[None]]
    begins: Callable[[T], bool]
    won: Callable[[], None]
    rescued: Callable[[], None]


class _Sign(Enum):
    DUE = auto()
    OVER = auto()


class _Runner(Generic[T]):
    """One of the two requests."""

    def __init__(self, parts: AsyncGenerator[T, None], queue: "asyncio.Queue[_Event[T]]") -> None:
        self.taken = asyncio.Event()
        self.task = asyncio.create_task(self._run(parts, queue), name="hedged request")

    async def _run(self, parts: AsyncGenerator[T, None], queue: "asyncio.Queue[_Event[T]]") -> None:
        try:
            async with aclosing(parts):
                async for part in parts:
                    queue.put_nowait(_Part(self, part))
                    await self.taken.wait()
                    self.taken.clear()
        finally:
            queue.put_nowait(_Notice(self, _Sign.OVER))


@dataclass(frozen=True, slots=True)
class _Part(Generic[T]):
    runner: _Runner[T]
    part: T


@dataclass(frozen=True, slots=True)
class _Notice(Generic[T]):
    runner: _Runner[T] | None
    sign: _Sign


_Event = _Part[T] | _Notice[T]


async def race(
    first: AsyncGenerator[T, None], second: Callable[[], AsyncGenerator[T, None]], hedge: Hedge[T]
) -> AsyncGenerator[T, None]:
    """The answer that begins first; the other is cancelled and closed before the first part is passed on.

    `second` is called when `hedge.due` is over and no answer has begun. One that fails leaves the race to the
    other. Raises the ProviderError of the one that was heard, or of the last one that could have been; when
    the first fails before the second was asked, that is the end.
    """
    queue: asyncio.Queue[_Event[T]] = asyncio.Queue()
    favourite = _Runner(first, queue)
    running = [favourite]
    timer = asyncio.create_task(_ring(hedge.due, queue), name="hedge")
    decided = False
    try:
        while True:
            event = await queue.get()
            if isinstance(event, _Notice):
                runner = event.runner
                if runner is None:
                    if not decided:
                        running.append(_Runner(second(), queue))
                elif runner in running:
                    running.remove(runner)
                    if _ended_well(await _end_of(runner), alone=not running):
                        return
                continue
            if event.runner not in running:
                continue
            if not decided and hedge.begins(event.part):
                decided = True
                losers = [runner.task for runner in running if runner is not event.runner]
                running = [event.runner]
                await _stop([timer, *losers])
                if event.runner is favourite:
                    hedge.won()
                else:
                    hedge.rescued()
            if event.runner is running[0]:
                yield event.part
            event.runner.taken.set()
    finally:
        await _stop([timer, *(runner.task for runner in running)])


async def _ring(due: Callable[[], Awaitable[None]], queue: "asyncio.Queue[_Event[T]]") -> None:
    await due()
    queue.put_nowait(_Notice(None, _Sign.DUE))


async def _end_of(runner: _Runner[T]) -> BaseException | None:
    await asyncio.wait([runner.task])
    return runner.task.exception()


def _ended_well(error: BaseException | None, alone: bool) -> bool:
    """True when a runner's end ends the answer; raises its error unless the other runner goes on."""
    if error is None:
        return True
    if alone or not isinstance(error, ProviderError):
        raise error
    return False


async def _stop(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("one that lost a hedged request failed: %s", type(error).__name__)
