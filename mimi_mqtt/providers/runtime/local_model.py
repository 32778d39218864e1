"""A model that computes in this process: loaded on first use, used in threads of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from mimi_mqtt.errors import ProviderUnavailable

M = TypeVar("M")
T = TypeVar("T")


class LoadedModel(Generic[M]):
    """The model and its threads."""

    def __init__(self, provider: str, model: M, threads: ThreadPoolExecutor) -> None:
        self.model = model
        self._provider = provider
        self._threads = threads
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work` in one of the threads. Raises ProviderUnavailable once the provider was closed."""
        if self._closed:
            raise ProviderUnavailable(self._provider, "was closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Ends the threads without waiting; work that has begun ends by itself, its result unread."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)


class LocalModel(Generic[M]):
    """`load` makes the model, in a thread, when it is first asked for; `workers` calls run at the same time.

    A model that was closed is loaded anew when it is asked for again.
    """

    def __init__(self, provider: str, load: Callable[[], M], workers: int = 1) -> None:
        self._provider = provider
        self._load = load
        self._workers = workers
        self._loaded: LoadedModel[M] | None = None
        self._loading = asyncio.Lock()

    @property
    def loaded(self) -> bool:
        """True while the model is in memory."""
        return self._loaded is not None

    async def get(self) -> LoadedModel[M]:
        """The model. Raises what `load` raises, such as ProviderNotConfigured; the next call tries again."""
        async with self._loading:
            if self._loaded is None:
                threads = ThreadPoolExecutor(self._workers, f"{self._provider} model")
                try:
                    model = await asyncio.get_running_loop().run_in_executor(threads, self._load)
                except BaseException:
                    threads.shutdown(wait=False)
                    raise
                self._loaded = LoadedModel(self._provider, model, threads)
            return self._loaded

    def close(self) -> None:
        """Lets go of the model and its threads, without waiting; safe to call twice."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()
