"""Queue of the decoding children: finished utterances before those at a pause, each kind fair by device."""

import asyncio
import logging
from collections import deque

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderError, ProviderUnavailable
from mimi_mqtt.providers.runtime.fair_queue import FairQueue, current_holder
from mimi_mqtt.providers.vendors.offline.sphinx.messages import Heard
from mimi_mqtt.providers.vendors.offline.sphinx.span import FRAME, pieces
from mimi_mqtt.providers.vendors.offline.sphinx.worker import Worker

logger = logging.getLogger(__name__)

MAX_WAITING = 200
"""Finished utterances that may wait for a child; beyond it of both kinds together early ones are refused."""
_MOST_STARTS = 3
_COOL_DOWN_S = 10.0
NICENESS = 5
"""Of the children that decode everything: the server and the child for short utterances go before them."""
SPARE_AFTER_S = 2.5
"""The child for short utterances is started when all others are at this much audio, in seconds, or more."""
SPARE_GUESS_S = 3.0
"""Longest utterance at a pause, in seconds, that the child decodes: finished ones may have to wait for it."""
SPARE_KEPT_S = 10.0
"""The time that this child process (about 150 MB) is kept while no long utterance waits, in seconds."""
SPARE_COOL_DOWN_S = 60.0
"""The time after a failure of this child process before it is started again, in seconds."""


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

    def waits(self, holder: str) -> bool:
        """True while a job of `holder` is in."""
        return self._urgent.waits(holder) or self._early.waits(holder)

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

    @property
    def short_waits(self) -> bool:
        """True when `pop_short` has one."""
        return self._urgent.peek(_is_short) is not None or self._early.peek(_is_brief) is not None

    @property
    def finished_waits(self) -> bool:
        """True when a finished utterance waits, or the rest of one."""
        return len(self._urgent) > 0

    def pop_short(self) -> Job | None:
        """Takes out the next finished utterance that is decoded at once, or else the next brief early one."""
        return self._urgent.pop(_is_short) or self._early.pop(_is_brief)

    async def get(self) -> Job:
        """Takes out the next job, once there is one."""
        while (job := self._urgent.pop() or self._early.pop()) is None:
            self._filled.clear()
            await self._filled.wait()
        return job

    def clear(self) -> list[Job]:
        """Takes out all jobs."""
        return self._urgent.clear() + self._early.clear()


def _is_short(job: Job) -> bool:
    return job.whole


def _is_brief(job: Job) -> bool:
    return job.whole and job.piece.size <= SPARE_GUESS_S * 50 * FRAME


class Pool:
    """Up to `workers` children, each started when it is needed; the first by `start`.

    Decoding can't be interrupted, so one more, the spare, is started when an utterance has to wait for a long
    one. It decodes short finished utterances, and after those brief ones at a pause, which end soon and
    are answered sooner for it; and it does so only while all others are busy. When nothing waited for a
    long one for SPARE_KEPT_S it is ended. While it can't be had, all is left to the others.

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
        self._busy: dict[Worker, int] = {}  # samples that are being decoded, by child
        self._spare: Worker | None = None
        self._spare_task: asyncio.Task[None] | None = None
        self._spare_needed = asyncio.Event()
        self._spare_until = 0.0
        self._spare_not_before = 0.0
        self._failed_starts = 0
        self._not_before = 0.0
        self._failure = ""
        self._closed = False

    @property
    def busy(self) -> bool:
        """True while a job of the current device waits for a child."""
        return self._waiting.waits(current_holder())

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the children that are there."""
        workers = [*self._workers, self._spare] if self._spare else self._workers
        return tuple(worker.pid for worker in workers if worker.pid is not None)

    def start(self) -> None:
        """Begins to start the first child, in the background; nothing when there is one."""
        self._closed = False
        if not self._tasks:
            self._grow()

    async def aclose(self) -> None:
        """Ends all children; waiting jobs fail. Safe to call twice."""
        self._closed = True
        tasks, self._tasks = self._tasks, []
        if self._spare_task is not None:
            tasks.append(self._spare_task)
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
        self._relieve()
        return job

    def hurry(self, job: Job) -> None:
        """Puts `job` before all early ones: its utterance has ended."""
        self._waiting.hurry(job)
        self._relieve()

    def give_up(self, job: Job) -> None:
        """Drops `job`: it leaves the queue at once; a piece that is being decoded is finished in vain."""
        self._waiting.drop(job)
        job.result.cancel()

    def _stopped(self, job: Job) -> None:
        if not job.result.done():
            job.result.set_exception(ProviderUnavailable(self._provider, "it was stopped"))

    def _grow(self) -> None:
        worker = Worker(self._provider, NICENESS)
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
            self._busy[worker] = job.piece.size
            self._relieve()
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
            finally:
                del self._busy[worker]

    def _relieve(self) -> None:
        """Has the spare take the short utterance that waits while all other children are busy.

        The spare is started already when a long one waits for a long one: the next question would wait, too,
        and loading the models takes a second.
        """
        if self._closed or self._idle or len(self._busy) < self._most:
            return
        if self._waiting.short_waits:
            self._spare_needed.set()
        elif not self._waiting.finished_waits:
            return
        if min(self._busy.values()) < SPARE_AFTER_S * 50 * FRAME:
            return
        loop = asyncio.get_running_loop()
        self._spare_until = loop.time() + SPARE_KEPT_S
        if self._spare is None and loop.time() >= self._spare_not_before:
            logger.debug("one more speech decoder is started, for short utterances: long ones are waited for")
            self._spare = Worker(self._provider)
            self._spare_task = loop.create_task(self._work_short(self._spare), name="sphinx-spare")

    async def _work_short(self, worker: Worker) -> None:
        """Runs the spare until it is needed no more or fails; the job that it fails is left to the others."""
        try:
            await worker.start()
            while True:
                async with asyncio.timeout_at(self._spare_until):
                    await self._spare_needed.wait()
                self._spare_needed.clear()
                while not self._idle and (job := self._waiting.pop_short()) is not None:
                    if not job.result.done():  # else cancelled in this pass of the loop
                        await self._decode_short(worker, job)
        except TimeoutError:
            logger.debug("the additional speech decoder is ended: it wasn't needed for a while")
        except ProviderError as error:
            logger.warning("additional speech decoder: %s", error)
            self._spare_not_before = asyncio.get_running_loop().time() + SPARE_COOL_DOWN_S
        finally:
            await worker.aclose()
            self._spare = self._spare_task = None
        self._relieve()

    async def _decode_short(self, worker: Worker, job: Job) -> None:
        try:
            job.heard(await worker.decode(job.piece.tobytes(), commands=True))
        except ProviderError:
            if not job.result.done():
                self._waiting.add(job)
            raise
        except asyncio.CancelledError:
            self._stopped(job)
            raise

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
