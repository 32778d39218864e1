"""Queue of the decoding children: finished utterances before those at a pause, each kind fair by device."""

import asyncio
import logging
from collections import deque

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderError, ProviderUnavailable
from mimi_mqtt.providers.runtime.fair_queue import FairQueue, current_holder
from mimi_mqtt.providers.vendors.offline.sphinx.messages import Heard
from mimi_mqtt.providers.vendors.offline.sphinx.span import pieces
from mimi_mqtt.providers.vendors.offline.sphinx.worker import Worker

logger = logging.getLogger(__name__)

MAX_WAITING = 200
"""Finished utterances that may wait for a child; beyond it of both kinds together early ones are refused."""
_MOST_STARTS = 3
_COOL_DOWN_S = 10.0


class Job:
    """One utterance to decode; `result` is the pool's to set. `Pool.give_up` drops it.

    A long one has several pieces, which are decoded one after another, with those of others in between.
    """

    __slots__ = ("_pieces", "_texts", "holder", "result", "urgent", "whole")

    def __init__(self, pcm: Pcm, holder: str, *, urgent: bool) -> None:
        self._pieces = deque(pieces(pcm))
        self._texts: list[str] = []
        self.holder = holder
        """The device that it belongs to."""
        self.whole = len(self._pieces) == 1
        """True for one that is short enough to be decoded at once, and to be a command."""
        self.urgent = urgent
        """True once the utterance has ended."""
        self.result: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()

    @property
    def piece(self) -> Pcm:
        """The piece to decode next."""
        return self._pieces[0]

    def heard(self, heard: Heard) -> bool:
        """Takes the result of `piece`; True when it was the last."""
        self._pieces.popleft()
        self._texts.append(heard.text)
        if not self._pieces and not self.result.done():
            text = " ".join(filter(None, self._texts))
            self.result.set_result(heard if self.whole else Heard(text, False, None))
        return not self._pieces


class _Queue:
    """The jobs that no child is at, by the order in which they are worked on.

    A job is in one of the two queues at most.
    """

    def __init__(self) -> None:
        self._urgent: FairQueue[Job] = FairQueue()
        self._early: FairQueue[Job] = FairQueue()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._early)

    def has_room(self, *, urgent: bool) -> bool:
        """False when one more must be refused; early jobs never take the room of finished ones."""
        return (len(self._urgent) if urgent else len(self)) < MAX_WAITING

    def add(self, job: Job) -> None:
        """Appends `job` to those of its kind."""
        (self._urgent if job.urgent else self._early).add(job.holder, job, job.piece.size)
        self._filled.set()

    def hurry(self, job: Job) -> None:
        """Makes an early job urgent, now or for the rest of its pieces."""
        job.urgent = True
        if self._early.remove(job):
            self.add(job)

    def drop(self, job: Job) -> None:
        """Takes `job` out, if it is still in."""
        self._urgent.remove(job)
        self._early.remove(job)

    async def get(self) -> Job:
        """Takes out the next job, once there is one."""
        while (job := self._urgent.pop() or self._early.pop()) is None:
            self._filled.clear()
            await self._filled.wait()
        return job

    def clear(self) -> list[Job]:
        """Takes out all jobs."""
        return self._urgent.clear() + self._early.clear()


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

    def submit(self, pcm: Pcm, *, urgent: bool) -> Job:
        """A new job for `pcm`, mono 16 kHz, of the device that this task works for. `urgent`: its utterance
        has ended.

        Its result fails with ProviderUnavailable or ProviderNotConfigured.
        """
        job = Job(pcm, current_holder(), urgent=urgent)
        if self._closed:
            self._stopped(job)
            return job
        if not self._waiting.has_room(urgent=urgent):
            job.result.set_exception(ProviderUnavailable(self._provider, "too many utterances are waiting"))
            return job
        job.result.add_done_callback(lambda _: self._waiting.drop(job))
        self._waiting.add(job)
        if self._idle < len(self._waiting) and len(self._tasks) < self._most:
            self._grow()
        return job

    def hurry(self, job: Job) -> None:
        """Puts `job` before all early ones: its utterance has ended."""
        self._waiting.hurry(job)

    def give_up(self, job: Job) -> None:
        """Drops `job`: it leaves the queue at once; a piece that is being decoded is finished in vain."""
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
                heard = await worker.decode(job.piece.tobytes(), commands=job.whole)
            except ProviderError as error:
                logger.warning("speech decoder: %s", error)
                if not job.result.done():
                    job.result.set_exception(error)
            except asyncio.CancelledError:
                self._stopped(job)
                raise
            else:
                if not job.heard(heard) and not job.result.done():
                    self._waiting.add(job)

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
