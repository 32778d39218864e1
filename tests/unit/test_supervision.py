"""Long-lived loops go on after a fault, and say so."""

import asyncio
import itertools

import pytest

from mimi_mqtt.supervision import FIRST_DELAY_S, MAX_DELAY_S, LoopFinished, SupervisedLoop

pytestmark = pytest.mark.virtual_time


async def test_a_loop_goes_on_after_a_round_raised() -> None:
    rounds: list[float] = []

    async def tick() -> None:
        rounds.append(asyncio.get_running_loop().time())
        if len(rounds) == 2:
            raise RuntimeError("once")

    loop = SupervisedLoop("test", tick, every_s=1.0)
    loop.start()
    await asyncio.sleep(10)
    await loop.aclose()
    assert len(rounds) >= 8


async def test_a_loop_is_unhealthy_from_a_fault_until_a_round_succeeds() -> None:
    fail = asyncio.Event()
    fail.set()

    async def tick() -> None:
        if fail.is_set():
            raise RuntimeError("now and then")

    loop = SupervisedLoop("test", tick, every_s=1.0)
    seen = [loop.healthy]
    loop.start()
    seen.append(loop.healthy)
    await asyncio.sleep(1.1)
    seen.append(loop.healthy)
    fail.clear()
    await asyncio.sleep(1.0 + FIRST_DELAY_S)
    seen.append(loop.healthy)
    await loop.aclose()
    seen.append(loop.healthy)
    assert seen == [False, True, False, True, False]  # before, started, failed, going on, closed


async def test_a_loop_that_keeps_failing_waits_longer_each_time_up_to_a_bound() -> None:
    at: list[float] = []

    async def tick() -> None:
        at.append(asyncio.get_running_loop().time())
        raise RuntimeError("always")

    loop = SupervisedLoop("test", tick)
    loop.start()
    await asyncio.sleep(300)
    await loop.aclose()
    delays = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert delays[:3] == pytest.approx([FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S])
    assert max(delays) == pytest.approx(MAX_DELAY_S)


async def test_a_cancelled_round_ends_the_loop() -> None:
    started = asyncio.Event()

    async def wait_for_ever() -> None:
        started.set()
        await asyncio.get_running_loop().create_future()

    loop = SupervisedLoop("test", wait_for_ever)
    loop.start()
    await started.wait()
    await loop.aclose()
    await loop.aclose()
    assert not loop.healthy


async def test_a_round_may_end_its_loop_within_the_time_given_to_close() -> None:
    work: asyncio.Queue[int | None] = asyncio.Queue()
    done: list[int] = []

    async def take() -> None:
        item = await work.get()
        if item is None:
            raise LoopFinished
        await asyncio.sleep(1)
        done.append(item)

    loop = SupervisedLoop("test", take)
    loop.start()
    for item in (1, 2, None):
        work.put_nowait(item)
    await loop.aclose(timeout_s=5)
    assert done == [1, 2]
