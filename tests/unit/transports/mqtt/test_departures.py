"""Ends of connections: a few in each turn of the loop, in order."""

import asyncio

from mimi_mqtt.transports.mqtt.departures import Departures
from mimi_mqtt.transports.mqtt.limits import DEPARTURES_A_TURN


async def test_many_that_leave_at_once_end_a_few_a_turn() -> None:
    departures, ended = Departures(), list[int]()
    total = 3 * DEPARTURES_A_TURN + 1
    for number in range(total):
        departures.add(lambda number=number: ended.append(number))  # type: ignore[misc]
    assert not ended
    by_turn = []
    for _ in range(5):
        before = len(ended)
        await asyncio.sleep(0)
        by_turn.append(len(ended) - before)
    assert by_turn == [DEPARTURES_A_TURN] * 3 + [1, 0]
    assert ended == list(range(total))
    departures.add(lambda: ended.append(-1))
    await asyncio.sleep(0)
    assert ended[-1] == -1, "also after a rest"


async def test_all_end_at_once_when_the_server_stops() -> None:
    departures, ended = Departures(), list[int]()
    for number in range(2 * DEPARTURES_A_TURN):
        departures.add(lambda number=number: ended.append(number))  # type: ignore[misc]
    departures.finish()
    assert len(ended) == 2 * DEPARTURES_A_TURN
    await asyncio.sleep(0)
    assert len(ended) == 2 * DEPARTURES_A_TURN
