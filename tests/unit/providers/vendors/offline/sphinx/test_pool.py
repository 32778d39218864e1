"""The queue in front of the decoding children: what is dropped, what goes first, what is refused."""

import asyncio
import contextvars
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.runtime.fair_queue import bind_holder
from mimi_mqtt.providers.vendors.offline.sphinx import pool as pool_module
from mimi_mqtt.providers.vendors.offline.sphinx.pool import Job, Pool
from tests.unit.providers.vendors.offline.sphinx.held import HeldChild, pcm, submit

MOST = 3


class Bench:
    """A pool of one held child that is busy with `busy`."""

    def __init__(self, pool: Pool, decoded: list[str], child: HeldChild, go: asyncio.Semaphore) -> None:
        self.pool = pool
        self._begun = child.begun
        self.decoded = decoded
        self._go = go
        self.busy = pool.submit(pcm("busy"), urgent=True)

    async def step(self) -> None:
        """Lets the child finish what it is at, and begin the next."""
        self._begun.clear()
        self._go.release()
        await self._begun.wait()

    async def finish_all(self) -> None:
        for _ in range(100):
            self._go.release()
        await asyncio.sleep(0)

    def refused(self, job: Job) -> bool:
        return job.result.done() and isinstance(job.result.exception(), ProviderUnavailable)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    decoded: list[str] = []
    go = asyncio.Semaphore(0)
    child = HeldChild(decoded, go)

    def worker(_: str, niceness: int = 0) -> HeldChild:
        return child if niceness else HeldChild([], go, fails=True)  # no spare can be had

    monkeypatch.setattr(pool_module, "Worker", worker)
    monkeypatch.setattr(pool_module, "MAX_WAITING", MOST)
    pool = Pool("offline", 1)
    bench = Bench(pool, decoded, child, go)
    await child.begun.wait()
    yield bench
    await pool.aclose()


async def test_work_given_up_makes_room_at_once(bench: Bench) -> None:
    for number in range(10 * MOST):
        job = bench.pool.submit(pcm(f"guess {number}"), urgent=False)
        assert not bench.refused(job)
        bench.pool.give_up(job)
    live = bench.pool.submit(pcm("live"), urgent=True)
    await bench.finish_all()
    assert (await live.result).text == "live"
    assert bench.decoded == ["busy", "live"]


async def test_a_job_whose_waiting_task_was_cancelled_leaves_no_trace(bench: Bench) -> None:
    for number in range(10 * MOST):
        job = bench.pool.submit(pcm(f"{number}"), urgent=True)
        job.result.cancel()
        await asyncio.sleep(0)
    assert not bench.refused(bench.pool.submit(pcm("live"), urgent=True))


async def test_a_finished_utterance_is_not_refused_for_guesses(bench: Bench) -> None:
    guesses = [bench.pool.submit(pcm("guess"), urgent=False) for _ in range(MOST + 1)]
    assert [bench.refused(guess) for guess in guesses] == [False] * MOST + [True]
    live = [bench.pool.submit(pcm(f"live {number}"), urgent=True) for number in range(MOST + 1)]
    assert [bench.refused(job) for job in live] == [False] * MOST + [True]


async def test_finished_utterances_go_before_guesses_and_a_hurried_guess_with_them(bench: Bench) -> None:
    guess = bench.pool.submit(pcm("guess 1"), urgent=False)
    hurried = bench.pool.submit(pcm("guess 2"), urgent=False)
    bench.pool.submit(pcm("live"), urgent=True)
    bench.pool.hurry(hurried)
    await bench.finish_all()
    await guess.result
    assert bench.decoded == ["busy", "live", "guess 2", "guess 1"]


async def test_closing_fails_what_waits_and_what_is_being_decoded(bench: Bench) -> None:
    waiting = bench.pool.submit(pcm("waiting"), urgent=False)
    await bench.pool.aclose()
    assert bench.refused(bench.busy)
    assert bench.refused(waiting)
    assert bench.refused(bench.pool.submit(pcm("late"), urgent=True))


async def test_a_short_question_waits_for_one_piece_of_the_long_ones_of_others(bench: Bench) -> None:
    long = submit(bench.pool, "long", 28)
    await bench.step()  # a piece of it is being decoded
    submit(bench.pool, "other", 28)
    submit(bench.pool, "short", 2)
    await bench.finish_all()
    await long.result
    assert bench.decoded[:3] == ["busy", "long", "short"]


async def test_a_device_with_many_utterances_does_not_delay_another(bench: Bench) -> None:
    for _ in range(MOST - 1):
        flood = submit(bench.pool, "flood", 2)
    submit(bench.pool, "quiet", 2)
    await bench.finish_all()
    await flood.result
    assert bench.decoded[:3] == ["busy", "flood", "quiet"]


async def test_a_long_utterance_is_heard_whole_in_order_and_is_no_command(bench: Bench) -> None:
    long = submit(bench.pool, "long", 28)
    await bench.finish_all()
    heard = await long.result
    assert heard.text.split() == ["long"] + ["rest"] * (len(bench.decoded) - 2)
    assert len(bench.decoded) > 4
    assert not heard.command


async def test_a_finished_utterance_goes_before_the_rest_of_a_long_guess(bench: Bench) -> None:
    guess = submit(bench.pool, "guess", 28, urgent=False)
    await bench.step()
    submit(bench.pool, "live", 20)
    await bench.finish_all()
    await guess.result
    assert [text for text in bench.decoded if text != "rest"] == ["busy", "guess", "live"]
    assert bench.decoded.index("live") == 2


async def test_a_long_guess_given_up_is_decoded_no_further(bench: Bench) -> None:
    guess = submit(bench.pool, "guess", 28, urgent=False)
    await bench.step()
    bench.pool.give_up(guess)
    live = submit(bench.pool, "live", 2)
    await bench.finish_all()
    await live.result
    assert bench.decoded == ["busy", "guess", "live"]


async def test_only_the_device_whose_utterance_waits_is_told_so(bench: Bench) -> None:
    def busy_for(device: str) -> bool:
        bind_holder(device)
        return bench.pool.busy

    def submit_for(device: str) -> None:
        bind_holder(device)
        bench.pool.submit(pcm(device), urgent=True)

    contextvars.copy_context().run(submit_for, "waiting")
    assert contextvars.copy_context().run(busy_for, "waiting")
    assert not contextvars.copy_context().run(busy_for, "other")
    await bench.step()
    assert not contextvars.copy_context().run(busy_for, "waiting")
    await bench.finish_all()
