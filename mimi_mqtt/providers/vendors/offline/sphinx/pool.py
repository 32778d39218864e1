"""Queue of the decoding children: finished utterances before those at a pause, each kind in order."""

import asyncio
import logging

from mimi_mqtt.errors import ProviderError, ProviderUnavailable
from mimi_mqtt.providers.vendors.offline.sphinx.messages import Heard
from mimi_mqtt.providers.vendors.offline.sphinx.worker import Worker

logger = logging.getLogger(__name__)

MAX_WAITING = 200
"""Finished utterances that may wait for a child; beyond it of both kinds together early ones are refused."""
_MOST_STARTS = 3
_COOL_DOWN_S = 10.0


class Job:
    """One utterance to decode; `result` is the pool's to set. `Pool.give_up` drops it."""

    __slots__ = ("pcm", "result")

    def __init__(self, pcm: bytes) -> None:
        self.pcm = pcm
        self.result: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()


class _Queue:
    """The jobs that no child has begun, by the order in which they are begun.

    A job is in one of the two dictionaries at most, which keep the order and drop any job at once.
    """

    def __init__(self) -> None:
        self._urgent: dict[Job, None] = {}
        self._early: dict[Job, None] = {}
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._early)

    def has_room(self, *, urgent: bool) -> bool:
        """False when one more must be refused; early jobs never take the room of finished ones."""
        return (len(self._urgent) if urgent else len(self)) < MAX_WAITING

    def add(self, job: Job, *, urgent: bool) -> None:
        """Appends `job` to those of its kind; it leaves when its result is cancelled."""
        (self._urgent if urgent else self._early)[job] = None
        job.result.add_done_callback(lambda _: self.drop(job))
        self._filled.set()

    def hurry(self, job: Job) -> None:
        """Makes a waiting early job urgent; any other job is left alone."""
        if job in self._early:
            del self._early[job]
            self._urgent[job] = None

    def drop(self, job: Job) -> None:
        """Takes `job` out, if it is still in."""
        self._urgent.pop(job, None)
        self._early.pop(job, None)

    async def get(self) -> Job:
        """Takes out the next job, once there is one."""
        while not len(self):
            self._filled.clear()
            await self._filled.wait()
        jobs = self._urgent or self._early
        job = next(iter(jobs))
        del jobs[job]
        return job

    def clear(self) -> list[Job]:
        """Takes out all jobs."""
        jobs = [*self._urgent, *self._early]
        self._urgent.clear()
        self._early.clear()
        return jobs


class Pool:
    """Up to `workers` children, each started when it is needed; the first by `start`.

    A child that can't be started three times in a row is not tried again for ten seconds, in which every
    request fails at once with the reason.
    """

    def __init__(self, provider: str, workers: int) -> None:
        self._provider = provider
        self._most = workers
        self._waiting = _Queue()
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
        """Ends all children; waiting jobs fail. Safe to call twice."""
        self._closed = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in self._waiting.clear():
            self._stopped(job)
        workers, self._workers = self._workers, []
        self._idle = 0
        await asyncio.gather(*(worker.aclose() for worker in workers))

    def submit(self, pcm: bytes, *, urgent: bool) -> Job:
        """A new job for `pcm`, mono 16 kHz s16le. `urgent`: its utterance has ended.

        Its result fails with ProviderUnavailable or ProviderNotConfigured.
        """
        job = Job(pcm)
        if self._closed:
            self._stopped(job)
            return job
        if not self._waiting.has_room(urgent=urgent):
            job.result.set_exception(ProviderUnavailable(self._provider, "too many utterances are waiting"))
            return job
        self._waiting.add(job, urgent=urgent)
        if self._idle < len(self._waiting) and len(self._tasks) < self._most:
            self._grow()
        return job

    def hurry(self, job: Job) -> None:
        """Puts `job` before all early ones: its utterance has ended."""
        self._waiting.hurry(job)

    def give_up(self, job: Job) -> None:
        """Drops `job`: it leaves the queue at once; one that is being decoded is finished in vain."""
        self._waiting.drop(job)
        job.result.cancel()

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
                job = await self._waiting.get()
            finally:
                self._idle -= 1
            if job.result.done():
                continue  # cancelled in this pass of the loop
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
