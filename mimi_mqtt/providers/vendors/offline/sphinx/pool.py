"""The children shared by all utterances: one queue, first come first served, final results before guesses."""

import asyncio
import logging
from itertools import count

from mimi_mqtt.errors import ProviderError, ProviderUnavailable
from mimi_mqtt.providers.vendors.offline.sphinx.messages import Heard
from mimi_mqtt.providers.vendors.offline.sphinx.worker import Worker

logger = logging.getLogger(__name__)

MAX_WAITING = 200
"""Requests waiting for a child, those given up included; one more is refused."""
_MOST_STARTS = 3
_COOL_DOWN_S = 10.0


class Job:
    """One utterance to decode. Cancel `result` to give up."""

    def __init__(self, pcm: bytes) -> None:
        self.pcm = pcm
        self.result: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        self.taken = False

    @property
    def waiting(self) -> bool:
        """Whether it is still to be begun."""
        return not self.taken and not self.result.done()


class Pool:
    """Up to `workers` children, each started when it is needed; the first by `start`.

    A child that can't be started three times in a row is not tried again for ten seconds, in which every
    request fails at once with the reason.
    """

    def __init__(self, provider: str, workers: int) -> None:
        self._provider = provider
        self._most = workers
        self._jobs: asyncio.PriorityQueue[tuple[bool, int, Job]] = asyncio.PriorityQueue()
        self._order = count()
        self._workers: list[Worker] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = 0
        self._failed_starts = 0
        self._not_before = 0.0
        self._failure = ""
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the children that are there."""
        return tuple(worker.pid for worker in self._workers if worker.pid is not None)

    def start(self) -> None:
        """Begins to start the first child, in the background; nothing when there is one."""
        self._closed = False
        if not self._tasks:
            self._grow()

    async def aclose(self) -> None:
        """Ends all children; whoever waits for a result is told so. Safe to call twice."""
        self._closed = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while not self._jobs.empty():
            self._stopped(self._jobs.get_nowait()[-1])
        workers, self._workers = self._workers, []
        self._idle = 0
        await asyncio.gather(*(worker.aclose() for worker in workers))

    def submit(self, pcm: bytes, *, urgent: bool) -> Job:
        """A new job for `pcm`, mono 16 kHz s16le. `urgent`: somebody waits for it.

        Its result fails with ProviderUnavailable or ProviderNotConfigured.
        """
        job = Job(pcm)
        if self._closed:
            self._stopped(job)
            return job
        if self._jobs.qsize() >= MAX_WAITING:
            job.result.set_exception(ProviderUnavailable(self._provider, "too many utterances are waiting"))
            return job
        self._jobs.put_nowait((not urgent, next(self._order), job))
        if self._idle < self._jobs.qsize() and len(self._tasks) < self._most:
            self._grow()
        return job

    def hurry(self, job: Job) -> None:
        """Somebody waits for `job` now: it goes before all guesses."""
        if job.waiting:
            self._jobs.put_nowait((False, next(self._order), job))

    def _stopped(self, job: Job) -> None:
        if not job.result.done():
            job.result.set_exception(ProviderUnavailable(self._provider, "it was stopped"))

    def _grow(self) -> None:
        worker = Worker(self._provider)
        self._workers.append(worker)
        self._tasks.append(
            asyncio.get_running_loop().create_task(self._work(worker), name=f"sphinx-{len(self._workers)}")
        )

    async def _work(self, worker: Worker) -> None:
        await self._warm_up(worker)
        while True:
            self._idle += 1
            try:
                *_, job = await self._jobs.get()
            finally:
                self._idle -= 1
            if not job.waiting:
                continue
            job.taken = True
            try:
                await self._ready(worker)
                heard = await worker.decode(job.pcm)
            except ProviderError as error:
                logger.warning("speech decoder: %s", error)
                if not job.result.done():
                    job.result.set_exception(error)
            except asyncio.CancelledError:
                self._stopped(job)
                raise
            else:
                if not job.result.done():
                    job.result.set_result(heard)

    async def _warm_up(self, worker: Worker) -> None:
        try:
            await self._ready(worker)
        except ProviderError as error:
            logger.warning("speech decoder: %s", error)  # told to the first utterance, which tries again

    async def _ready(self, worker: Worker) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._not_before:
            raise ProviderUnavailable(self._provider, f"{self._failure}; tried again in a few seconds")
        try:
            await worker.start()
        except ProviderError as error:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_STARTS:
                self._failed_starts = 0
                self._failure = str(error)
                self._not_before = now + _COOL_DOWN_S
            raise
        self._failed_starts = 0
