"""A model that computes in this process: loaded on first use, used in threads of its own."""

import asyncio
import os
import time
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar

from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.runtime.fair_queue import FairQueue, current_holder
from mimi_mqtt.providers.runtime.shared_task import SharedTask

M = TypeVar("M")
A = TypeVar("A")
T = TypeVar("T")


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


MAX_WAITING: Final = 200
"""Pieces of work that may wait for a thread, whoever asked for them; more are refused."""


@dataclass(eq=False, slots=True)
class _Part:
    """One item of work: its `kind`, its result once it is there, and whether another's call has taken it."""

    item: Any
    kind: Hashable
    result: asyncio.Future[Any]
    taken: bool = False


class LoadedModel(Generic[M]):
    """The model and its threads, as many as `workers`; what waits for one is fair by device."""

    def __init__(
        self,
        provider: str,
        model: M,
        threads: ThreadPoolExecutor,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.used_at = clock()
        """Seconds of the clock at which work was last asked for or done."""
        self.working = 0
        """Work that runs or waits."""
        self._clock = clock
        self._provider = provider
        self._threads = threads
        self._free = workers
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()
        self._parts: dict[asyncio.Future[None], _Part] = {}
        """The waiting items, by their place in the queue."""
        self._closed = False

    @property
    def busy(self) -> bool:
        """True while work for the current device waits for a thread."""
        return self._waiting.waits(current_holder())

    async def run(self, work: Callable[[], T], cost: float = 1.0) -> T:
        """Runs `work` in one of the threads. `cost` is about how long it takes, in any unit, against other
        work with this model. Raises ProviderUnavailable once the provider was closed, and while MAX_WAITING
        others wait.
        """
        return await self.run_many(lambda _: [work()], None, object(), cost=cost)

    async def run_many(
        self,
        work: Callable[[Sequence[A]], Sequence[T]],
        item: A,
        kind: Hashable,
        *,
        cost: float = 1.0,
        most: int = 1,
    ) -> T:
        """The result of `work` for `item`, in one of the threads.

        Up to `most - 1` others that wait for a thread with the same `kind`, and with a `work` that does the
        same, are given to it at once. See `run` for `cost` and what is raised.
        """
        part = _Part(item, kind, asyncio.get_running_loop().create_future())
        self.working += 1
        try:
            if not self._closed:
                await self._thread_free(part, cost)
            if not part.taken:
                if self._closed:
                    raise ProviderUnavailable(self._provider, "was closed")
                self._begin(work, [part, *self._companions(kind, most - 1)])
            result: T = await part.result
            return result
        finally:
            self.working -= 1
            self.used_at = self._clock()

    def _companions(self, kind: Hashable, most: int) -> Iterator[_Part]:
        """Takes the next parts of `kind` out of the queue."""
        for _ in range(most):
            waiting = self._waiting.pop(lambda place: self._parts[place].kind == kind)
            if waiting is None:
                return
            if not waiting.done():
                part = self._parts[waiting]
                part.taken = True
                waiting.set_result(None)
                yield part

    def _begin(self, work: Callable[[Sequence[Any]], Sequence[T]], parts: Sequence[_Part]) -> None:
        loop = asyncio.get_running_loop()

        def done(running: "Future[Sequence[_Outcome]]") -> None:
            with suppress(RuntimeError):  # the loop was closed before the work ended
                loop.call_soon_threadsafe(self._ended, parts, running.result())

        try:
            running = self._threads.submit(_each, work, [part.item for part in parts])
        except RuntimeError as error:  # no thread can be started
            self._ended(parts, [(None, error)] * len(parts))
        else:
            running.add_done_callback(done)

    def _ended(self, parts: Sequence[_Part], outcomes: "Sequence[_Outcome]") -> None:
        self._thread_freed()
        for part, (result, error) in zip(parts, outcomes, strict=True):
            if part.result.done():
                continue  # its asker went away
            if error is None:
                part.result.set_result(result)
            else:
                part.result.set_exception(error)

    def close(self) -> None:
        """Ends the threads without waiting; work that has begun ends by itself, its result unread."""
        self._closed = True
        for waiting in self._waiting.clear():
            if not waiting.done():
                waiting.set_result(None)
        self._threads.shutdown(wait=False)

    async def _thread_free(self, part: _Part, cost: float) -> None:
        """Returns when there is a thread for `part`, or when another's call has taken it."""
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= MAX_WAITING:
            raise ProviderUnavailable(self._provider, "too many utterances are waiting")
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts[waiting] = part
        self._waiting.add(current_holder(), waiting, cost)
        try:
            await waiting
        except asyncio.CancelledError:
            part.result.cancel()
            queued = self._waiting.remove(waiting)
            if not (queued or part.taken) and waiting.done() and not waiting.cancelled():
                self._thread_freed()  # it was given to this one, which does not need it any more
            raise
        finally:
            del self._parts[waiting]

    def _thread_freed(self) -> None:
        while (waiting := self._waiting.pop()) is not None:
            if not waiting.done():
                waiting.set_result(None)
                return
        self._free += 1


_Outcome: TypeAlias = tuple[Any, BaseException | None]
"""A result, or the error in its place."""


def _each(work: Callable[[Sequence[A]], Sequence[T]], items: Sequence[A]) -> Sequence[_Outcome]:
    """The outcome of each item. When they fail together each is tried alone: one must not cost the others."""
    try:
        results = work(items)
        if len(results) != len(items):
            raise RuntimeError(f"{len(results)} results of {len(items)} items")
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        if len(items) == 1:
            return [(None, error)]
        return [outcome for item in items for outcome in _each(work, [item])]
    return [(result, None) for result in results]


_models: "weakref.WeakSet[LocalModel[Any]]" = weakref.WeakSet()


def loaded_models() -> "Sequence[LocalModel[Any]]":
    """All that are in this process's memory now."""
    return [model for model in _models if model.loaded]


class LocalModel(Generic[M]):
    """`load` makes the model, in a thread, when it is first asked for; `workers` calls run at the same time.

    A model that was closed is loaded anew when it is asked for again.
    """

    def __init__(
        self,
        provider: str,
        load: Callable[[], M],
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.provider = provider
        self._load = load
        self._workers = workers
        self._clock = clock
        self._loaded: LoadedModel[M] | None = None
        self._use = object()
        """Another one after each close: a loading that began before it is not for this use."""
        self._loading = self._new_loading()
        _models.add(self)

    @property
    def loaded(self) -> bool:
        """True while the model is in memory."""
        return self._loaded is not None

    @property
    def busy(self) -> bool:
        """True while work for the current device waits for a thread."""
        return self._loaded is not None and self._loaded.busy

    @property
    def idle_s(self) -> float | None:
        """Seconds since it was last used; None while it works or is not in memory."""
        loaded = self._loaded
        return None if loaded is None or loaded.working else self._clock() - loaded.used_at

    async def get(self) -> LoadedModel[M]:
        """The model. Raises what `load` raises, such as ProviderNotConfigured; the next call tries again.

        A caller that is cancelled, or has no more time, does not end the loading: the next one finds it.
        """
        if self._loaded is None:
            return await self._loading.result()
        self._loaded.used_at = self._clock()
        return self._loaded

    def _new_loading(self) -> SharedTask[LoadedModel[M]]:
        return SharedTask(f"loading of {self.provider}", partial(self._make, self._use))

    async def _make(self, use: object) -> LoadedModel[M]:
        threads = ThreadPoolExecutor(self._workers, f"{self.provider} model")
        try:
            model = await asyncio.get_running_loop().run_in_executor(threads, self._load)
        except BaseException:
            threads.shutdown(wait=False)
            raise
        loaded = LoadedModel(self.provider, model, threads, self._workers, self._clock)
        if self._use is use:
            self._loaded = loaded
        else:
            loaded.close()
        return loaded

    def unload(self) -> None:
        """Forgets the model, which is loaded anew when it is asked for again. Whoever has it may go on with
        it: its memory is free, and its threads end, once nobody has it."""
        self._loaded = None

    def close(self) -> None:
        """Lets go of the model and its threads, without waiting; safe to call twice."""
        self._use = object()
        self._loading = self._new_loading()
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()
