"""The queue in front of the decoding children: what is dropped, what goes first, what is refused."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.vendors.offline.sphinx import pool as pool_module
from mimi_mqtt.providers.vendors.offline.sphinx.messages import Heard
from mimi_mqtt.providers.vendors.offline.sphinx.pool import Job, Pool

MOST = 3


class HeldChild:
    """A child that decodes one utterance after another, each when `go` is released once."""

    pid = 1

    def __init__(self, decoded: list[bytes], go: asyncio.Semaphore) -> None:
        self._decoded = decoded
        self._go = go
        self.begun = asyncio.Event()

    async def start(self) -> None:
        pass

    async def decode(self, pcm: bytes) -> Heard:
        self._decoded.append(pcm)
        self.begun.set()
        await self._go.acquire()
        return Heard(pcm.decode(), False, None)

    async def aclose(self) -> None:
        pass


class Bench:
    """A pool of one held child that is busy with `busy`."""

    def __init__(self, pool: Pool, decoded: list[bytes], go: asyncio.Semaphore) -> None:
        self.pool = pool
        self.decoded = decoded
        self._go = go
        self.busy = pool.submit(b"busy", urgent=True)

    async def finish_all(self) -> None:
        for _ in range(100):
            self._go.release()
        await asyncio.sleep(0)

    def refused(self, job: Job) -> bool:
        return job.result.done() and isinstance(job.result.exception(), ProviderUnavailable)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    decoded: list[bytes] = []
    go = asyncio.Semaphore(0)
    child = HeldChild(decoded, go)
    monkeypatch.setattr(pool_module, "Worker", lambda _: child)
    monkeypatch.setattr(pool_module, "MAX_WAITING", MOST)
    pool = Pool("offline", 1)
    bench = Bench(pool, decoded, go)
    await child.begun.wait()
    yield bench
    await pool.aclose()


async def test_work_given_up_makes_room_at_once(bench: Bench) -> None:
    for number in range(10 * MOST):
        job = bench.pool.submit(b"guess %d" % number, urgent=False)
        assert not bench.refused(job)
        bench.pool.give_up(job)
    live = bench.pool.submit(b"live", urgent=True)
    await bench.finish_all()
    assert (await live.result).text == "live"
    assert bench.decoded == [b"busy", b"live"]


async def test_a_job_whose_waiting_task_was_cancelled_leaves_no_trace(bench: Bench) -> None:
    for number in range(10 * MOST):
        job = bench.pool.submit(b"%d" % number, urgent=True)
        job.result.cancel()
        await asyncio.sleep(0)
    assert not bench.refused(bench.pool.submit(b"live", urgent=True))


async def test_a_finished_utterance_is_not_refused_for_guesses(bench: Bench) -> None:
    guesses = [bench.pool.submit(b"guess", urgent=False) for _ in range(MOST + 1)]
    assert [bench.refused(guess) for guess in guesses] == [False] * MOST + [True]
    live = [bench.pool.submit(b"live %d" % number, urgent=True) for number in range(MOST + 1)]
    assert [bench.refused(job) for job in live] == [False] * MOST + [True]


async def test_finished_utterances_go_before_guesses_and_a_hurried_guess_with_them(bench: Bench) -> None:
    guess = bench.pool.submit(b"guess 1", urgent=False)
    hurried = bench.pool.submit(b"guess 2", urgent=False)
    bench.pool.submit(b"live", urgent=True)
    bench.pool.hurry(hurried)
    await bench.finish_all()
    await guess.result
    assert bench.decoded == [b"busy", b"live", b"guess 2", b"guess 1"]


async def test_closing_fails_what_waits_and_what_is_being_decoded(bench: Bench) -> None:
    waiting = bench.pool.submit(b"waiting", urgent=False)
    await bench.pool.aclose()
    assert bench.refused(bench.busy)
    assert bench.refused(waiting)
    assert bench.refused(bench.pool.submit(b"late", urgent=True))
