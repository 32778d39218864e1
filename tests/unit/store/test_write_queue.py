"""Turns of one process's writers, in virtual time."""

import asyncio

import pytest

from mimi_mqtt.store.write_queue import QUEUE_S, QueueStands, QueueTooLong, WriteQueue

pytestmark = pytest.mark.virtual_time


async def hold(queue: WriteQueue, seconds: float, *, moves: bool = True) -> None:
    async with queue.turn(None):
        await asyncio.sleep(seconds)
        if moves:
            queue.moved()


async def wait(queue: WriteQueue, within_s: float) -> float:
    async with queue.turn(within_s) as left_s:
        queue.moved()
        assert left_s is not None
        return left_s


async def test_writers_wait_for_each_other_for_longer_than_for_another_program() -> None:
    queue = WriteQueue()
    before = [asyncio.create_task(hold(queue, 2.0)) for _ in range(5)]
    await asyncio.sleep(0)
    assert await wait(queue, 3.0) == 3.0
    assert all(task.done() for task in before)


async def test_a_queue_that_stands_is_waited_in_as_long_as_said_since_it_last_moved() -> None:
    queue, loop = WriteQueue(), asyncio.get_running_loop()
    tasks = [asyncio.create_task(hold(queue, seconds)) for seconds in (2.0, 60.0)]
    await asyncio.sleep(0)
    began = loop.time()
    with pytest.raises(QueueStands):
        await wait(queue, 3.0)
    assert loop.time() - began == pytest.approx(5.0)
    await asyncio.gather(*tasks)
    assert await wait(queue, 3.0) == 3.0


async def test_turns_that_the_database_failed_in_do_not_move_the_queue() -> None:
    queue = WriteQueue()
    tasks = [asyncio.create_task(hold(queue, 2.0, moves=False)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(QueueStands):
        await wait(queue, 3.0)
    await asyncio.gather(*tasks)


async def test_a_long_queue_is_left_before_a_device_gives_up() -> None:
    queue, loop = WriteQueue(), asyncio.get_running_loop()
    tasks = [asyncio.create_task(hold(queue, 2.0)) for _ in range(12)]
    await asyncio.sleep(0)
    began = loop.time()
    with pytest.raises(QueueTooLong):
        await wait(queue, 3.0)
    assert loop.time() - began == pytest.approx(QUEUE_S)
    await asyncio.gather(*tasks)


async def test_what_was_waited_in_a_standing_queue_is_not_waited_for_another_program_too() -> None:
    queue = WriteQueue()
    task = asyncio.create_task(hold(queue, 2.0, moves=False))
    await asyncio.sleep(0)
    assert await wait(queue, 3.0) == pytest.approx(1.0)
    await task


async def test_a_writer_that_gives_up_leaves_its_turn_to_the_next() -> None:
    queue = WriteQueue()
    holder = asyncio.create_task(hold(queue, 2.0))
    await asyncio.sleep(0)
    cancelled, next_one = asyncio.create_task(wait(queue, 3.0)), asyncio.create_task(wait(queue, 3.0))
    await asyncio.sleep(1.0)
    cancelled.cancel()
    await holder
    assert await next_one > 0
    assert cancelled.cancelled()


@pytest.mark.parametrize("steps", range(6))
async def test_a_writer_that_gives_up_as_its_turn_comes_keeps_nobody_out(steps: int) -> None:
    queue, gate = WriteQueue(), asyncio.Event()

    async def holding() -> None:
        async with queue.turn(None):
            await gate.wait()

    async def never_ends() -> None:
        async with queue.turn(3.0):
            await asyncio.Event().wait()

    holder, late = asyncio.create_task(holding()), asyncio.create_task(never_ends())
    await asyncio.sleep(1.0)
    gate.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    late.cancel()
    await asyncio.wait({holder, late})
    assert await wait(queue, 3.0) > 0


async def test_a_cancelled_wait_for_the_turn_is_no_turn() -> None:
    queue = WriteQueue()
    holder = asyncio.create_task(hold(queue, 2.0))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(wait(queue, 3.0))
    await asyncio.sleep(1.0)
    (acquiring,) = asyncio.all_tasks() - {holder, waiting, asyncio.current_task()}
    acquiring.cancel()  # asyncio.run does so with every task at its end, in any order
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    await holder  # its turn was its own all the time
    assert await wait(queue, 3.0) > 0
