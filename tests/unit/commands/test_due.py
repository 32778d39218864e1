"""What is due becomes a notice, and what came of it is what the scheduler of reminders needs to know."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.commands.due import DueNotices
from mimi_mqtt.commands.model import MAX_EXPIRES_S
from mimi_mqtt.commands.waiting import MAX_PER_DEVICE
from mimi_mqtt.session.reach import Reach
from tests.unit.commands.fake_control import AWAY, DEVICE, STRANGER, FakeControl
from tests.unit.commands.test_notices import Desk, desk_of

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with desk_of() as made:
        yield made


@pytest.fixture
def due(desk: Desk) -> DueNotices:
    return DueNotices(desk.commands, FakeControl())


async def test_an_absent_device_is_left_to_the_scheduler(desk: Desk, due: DueNotices) -> None:
    assert await due.tell(AWAY, "Tea.", 60.0) == "away"
    assert await due.tell(STRANGER, "Tea.", 60.0) == "unknown"
    assert len(desk.notices) == 0


async def test_what_waits_as_a_notice_is_told_and_expires_in_time(desk: Desk, due: DueNotices) -> None:
    for expires_s in (0.2, 60.0, 10 * MAX_EXPIRES_S):
        assert await due.tell(DEVICE, "Tea.", expires_s) == "told"
    rows = desk.memory.rows.values()
    good_for = [round((row.expires_at - row.created_at).total_seconds()) for row in rows]
    assert good_for == [1, 60, MAX_EXPIRES_S]


async def test_a_device_with_too_many_notices_is_tried_again(due: DueNotices) -> None:
    for _ in range(MAX_PER_DEVICE):
        await due.tell(DEVICE, "Tea.", 60.0)
    assert await due.tell(DEVICE, "Tea.", 60.0) == "failed"


async def test_it_counts_as_told_once_the_notice_is_kept(desk: Desk, due: DueNotices) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.memory.stores.clear()
    telling = asyncio.create_task(due.tell(DEVICE, "Tea.", 60.0))
    await asyncio.sleep(10)
    assert not telling.done()
    desk.memory.stores.set()
    assert await telling == "told", "its outcome is not waited for: others are due, too"
    assert len(desk.notices) == 1


async def test_what_the_scheduler_tells_again_after_a_restart_is_no_notice_besides(
    desk: Desk, due: DueNotices
) -> None:
    desk.becomes(Reach.NOTIFY)
    desk.memory.stores.clear()
    telling = asyncio.create_task(due.tell(DEVICE, "Tea.", 60.0))
    await asyncio.sleep(0.1)
    assert len(desk.memory.rows) == 1
    telling.cancel()  # as `ReminderScheduler.aclose` does
    await asyncio.wait({telling})
    await desk.notices.aclose()
    assert desk.memory.rows == {}
