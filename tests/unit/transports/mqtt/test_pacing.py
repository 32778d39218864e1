"""The message rate of accounts: packets wait, in turn, and none is dropped."""

import asyncio
from itertools import pairwise

import pytest

from mimi_mqtt.shares import Ledger, Rates
from mimi_mqtt.transports.mqtt.limits import TURN_COST
from mimi_mqtt.transports.mqtt.pacing import SHARE, Pacer, Work, estimated_cost, message_cost
from mimi_mqtt.wire.mqtt import PacketReader, encode_publish, encode_subscribe


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def pacer(rate: float = 10.0, burst: float = 2.0) -> tuple[Pacer, Clock, Ledger]:
    clock, ledger = Clock(), Ledger()
    return Pacer(Rates(rate, burst), ledger, clock), clock, ledger


async def loop_turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_an_account_without_tokens_waits_and_others_do_not() -> None:
    pace, clock, ledger = pacer()
    pace.spend("busy", 2.0)
    waiting = asyncio.ensure_future(pace.turn("busy", 1.0))
    await asyncio.wait_for(pace.turn("calm", 1.0), 5)
    await loop_turns(5)
    assert not waiting.done()
    assert SHARE in ledger.summary()
    clock.now += 1.0
    await asyncio.wait_for(waiting, 5)


async def test_connections_of_one_account_take_turns() -> None:
    pace, _, _ = pacer(burst=1000.0)
    order: list[str] = []

    async def send(name: str, number: int) -> None:
        for _ in range(number):
            await pace.turn("one", TURN_COST)
            order.append(name)

    await asyncio.gather(send("flood", 20), send("calm", 3))
    assert order.index("calm") <= 2
    assert order[:8].count("calm") == 3


async def test_one_turn_of_the_loop_handles_a_bounded_number_of_packets() -> None:
    pace, _, _ = pacer(burst=1000.0)
    tasks = [asyncio.ensure_future(pace.turn(f"account {number % 7}", 1.0)) for number in range(100)]
    await loop_turns(2)
    done = [sum(task.done() for task in tasks)]
    while done[-1] < 100:
        await asyncio.sleep(0)
        done.append(sum(task.done() for task in tasks))
    assert max(after - before for before, after in pairwise(done)) <= TURN_COST


async def test_a_stop_lets_everything_pass_and_a_cancelled_wait_is_forgotten() -> None:
    pace, _, _ = pacer()
    pace.spend("busy", 2.0)
    cancelled, waiting = (asyncio.ensure_future(pace.turn("busy", 1.0)) for _ in range(2))
    await loop_turns(2)
    cancelled.cancel()
    await loop_turns(2)
    pace.stop()
    await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(pace.turn("busy", 1.0), 5)


def test_a_message_costs_by_its_size_its_receivers_and_the_filters_looked_at() -> None:
    assert message_cost(0) == 1
    assert message_cost(8_192) == 2
    assert Work(50, 0).cost() == 5
    assert Work(50, 0).cost(8_192) == 10
    assert Work(0, 1_000).cost() == 10


def test_a_subscribe_is_estimated_by_its_filters() -> None:
    filters = tuple((f"filter/{number}", 0) for number in range(500))
    publish, subscribe = PacketReader(100_000).feed(encode_publish("t", b"x") + encode_subscribe(1, filters))
    assert estimated_cost(publish) < 2
    assert estimated_cost(subscribe) > 500


@pytest.mark.virtual_time
async def test_turns_that_cost_more_than_expected_are_followed_by_a_rest() -> None:
    """What has many receivers is known only afterwards; without a rest the loop would never wait, and threads
    would hardly run."""
    pace, _, _ = pacer(burst=1_000_000.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(200):
        await pace.turn("one", 1.0)
        pace.spend("one", 1.2)
    assert loop.time() == began, "what costs about as much as expected has none"
    for _ in range(200):
        await pace.turn("one", 1.0)
        pace.spend("one", 5.0 * TURN_COST)
    assert 200 * 2 * TURN_COST * 0.0002 < loop.time() - began < 200 * 5 * TURN_COST * 0.0002


@pytest.mark.virtual_time
async def test_a_rest_is_over_when_nobody_came_meanwhile() -> None:
    pace, clock, _ = pacer(burst=1_000_000.0)
    loop = asyncio.get_running_loop()
    await pace.turn("one", 1.0)
    pace.spend("one", 1_000.0)
    clock.now += 60.0
    began = loop.time()
    await pace.turn("other", 1.0)
    assert loop.time() == began


@pytest.mark.virtual_time
async def test_no_rest_is_long_whatever_a_message_cost() -> None:
    pace, _, _ = pacer(burst=1_000_000.0)
    loop = asyncio.get_running_loop()
    await pace.turn("one", 1.0)
    pace.spend("one", 100_000.0)
    began = loop.time()
    await pace.turn("other", 1.0)
    assert 0.05 < loop.time() - began < 0.2
