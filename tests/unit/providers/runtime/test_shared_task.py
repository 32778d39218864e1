"""Work that is done once for all who wait for it, whoever of them goes away."""

import asyncio

import pytest

from mimi_mqtt.providers.runtime.shared_task import SharedTask


class Work:
    """Work that ends when it is `let`."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.let = asyncio.Event()
        self.fault: Exception | None = None

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.let.wait()
        finally:
            self.ended += 1
        if self.fault is not None:
            raise self.fault
        return self.begun


async def test_it_is_done_once_for_all_who_wait() -> None:
    work = Work()
    shared = SharedTask("work", work)
    waiting = [asyncio.create_task(shared.result()) for _ in range(3)]
    await asyncio.sleep(0)
    work.let.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert await shared.result() == 2


async def test_a_caller_that_is_cancelled_does_not_end_it() -> None:
    work = Work()
    shared = SharedTask("work", work)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await shared.result()
    await asyncio.sleep(0)
    assert (work.begun, work.ended) == (1, 0)
    work.let.set()
    assert await shared.result() == 1


async def test_a_failure_reaches_who_waits_and_the_next_call_tries_again() -> None:
    work = Work()
    work.fault = ValueError("not now")
    work.let.set()
    shared = SharedTask("work", work)
    with pytest.raises(ValueError, match="not now"):
        await shared.result()
    work.fault = None
    assert await shared.result() == 2


async def test_the_end_cancels_it() -> None:
    work = Work()
    shared = SharedTask("work", work)
    waiting = asyncio.create_task(shared.result())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await shared.aclose()
    assert (work.begun, work.ended) == (1, 1)
    with pytest.raises(asyncio.CancelledError):
        await waiting
