"""Records behind the caller's back: none is lost uncounted, and no failure ends the writer."""

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry, Counter

from mimi_mqtt.errors import StoreError
from mimi_mqtt.store.write_behind import CLOSE_TIMEOUT_S, WriteBehind

pytestmark = pytest.mark.virtual_time


class Database:
    """Keeps what it is given, unless `fault` is set or `hangs` is."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.fault: Exception | None = None
        self.hangs = False
        self.asked = 0

    async def save(self, records: Sequence[int]) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        self.kept += records


def is_healthy(writer: WriteBehind[int]) -> bool:
    return writer.healthy


def make(database: Database, *, max_waiting: int = 1_000) -> WriteBehind[int]:
    counter = Counter("records_total", "Records", ["outcome"], registry=CollectorRegistry())
    return WriteBehind(database.save, "records", counter, max_waiting=max_waiting)


@pytest.mark.parametrize("fault", [StoreError("locked"), KeyError("a mistake"), RuntimeError("driver")])
async def test_records_after_a_failed_write_are_kept_whatever_it_raised(fault: Exception) -> None:
    database = Database()
    writer = make(database)
    await writer.start()
    assert is_healthy(writer)
    database.fault = fault
    writer.add(1)
    writer.add(2)
    await asyncio.sleep(0.1)
    assert (writer.dropped, is_healthy(writer)) == (2, False)
    database.fault = None
    await asyncio.sleep(60)
    assert not is_healthy(writer)  # nothing was written yet
    writer.add(3)
    await asyncio.sleep(1)
    assert (database.kept, writer.dropped, is_healthy(writer)) == ([3], 2, True)
    await writer.aclose()


async def test_records_wait_while_the_database_is_out_of_reach() -> None:
    database = Database()
    writer = make(database)
    await writer.start()
    database.fault = StoreError("out of reach")
    for number in range(50):
        writer.add(number)
        await asyncio.sleep(1)
    database.fault = None
    await asyncio.sleep(60)
    assert writer.dropped + len(database.kept) == 50
    assert len(database.kept) > 10
    await writer.aclose()


async def test_the_batch_in_flight_counts_as_lost_when_closing_takes_too_long() -> None:
    database = Database()
    writer = make(database)
    await writer.start()
    database.hangs = True
    writer.add(1)
    await asyncio.sleep(0.1)
    writer.add(2)
    writer.add(3)
    began = asyncio.get_running_loop().time()
    await writer.aclose()
    assert asyncio.get_running_loop().time() - began <= 2 * CLOSE_TIMEOUT_S
    assert (database.kept, writer.dropped) == ([], 3)


async def test_what_waits_is_written_when_closing_finds_the_database_back() -> None:
    database = Database()
    writer = make(database)
    await writer.start()
    database.fault = StoreError("out of reach")
    for number in range(6):  # the last failure is followed by a long pause
        writer.add(number)
        await asyncio.sleep(30)
    lost = writer.dropped
    database.fault = None
    for number in range(10, 260):
        writer.add(number)
    await writer.aclose()
    assert database.kept == list(range(10, 260))
    assert writer.dropped == lost


async def test_closing_gives_up_on_a_database_that_stays_away() -> None:
    database = Database()
    writer = make(database)
    await writer.start()
    database.fault = StoreError("out of reach")
    for number in range(350):
        writer.add(number)
    await writer.aclose()
    await writer.aclose()
    assert (database.kept, writer.dropped) == ([], 350)
    assert database.asked < 5


async def test_a_closed_writer_starts_again() -> None:
    database = Database()
    writer = make(database)
    for number in range(2):
        await writer.start()
        writer.add(number)
        await writer.aclose()
    assert database.kept == [0, 1]
