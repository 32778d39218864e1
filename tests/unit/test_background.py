"""Work in slices: short ones, in turns by account, and a fault is one account's."""

import asyncio
from collections.abc import Iterator

from mimi_mqtt.background import SLICE_S, Background
from mimi_mqtt.transports.mqtt.counters import Counters


class StepClock:
    """Each look at it costs a quarter of a slice."""

    now = 0.0

    def __call__(self) -> float:
        self.now += SLICE_S / 4
        return self.now


async def test_a_turn_of_the_loop_does_one_slice_and_accounts_take_turns() -> None:
    background = Background(Counters(lambda: 0.0), StepClock())
    done: list[str] = []

    def work(name: str, steps: int) -> Iterator[None]:
        for _ in range(steps):
            done.append(name)
            yield

    background.add("many", work("many", 10))
    background.add("few", work("few", 2))
    assert done == []
    await asyncio.sleep(0)
    assert done == ["many", "few", "many", "few"]
    for _ in range(12):
        await asyncio.sleep(0)
    assert len(done) == 12


async def test_work_that_fails_is_given_up_and_the_rest_goes_on() -> None:
    counters = Counters(lambda: 0.0)
    background = Background(counters)
    done = asyncio.Event()

    def fails() -> Iterator[None]:
        yield
        raise RuntimeError("a fault of the server")

    def works() -> Iterator[None]:
        done.set()
        yield

    background.add("one", fails())
    background.add("one", works())
    await asyncio.wait_for(done.wait(), 5)
    assert counters.faults["background"] == 1
    background.close()
    done.clear()
    background.add("one", works())
    await asyncio.sleep(0)
    assert not done.is_set()
