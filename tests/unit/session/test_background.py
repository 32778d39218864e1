"""Tasks with an owner."""

import asyncio
import contextvars

import pytest

from mimi_mqtt.session.background import Background

pytestmark = pytest.mark.virtual_time


async def test_close_waits_for_what_was_started() -> None:
    background = Background()
    ended: list[str] = []

    async def work() -> None:
        await asyncio.sleep(2)
        ended.append("work")

    background.spawn(work(), "work", contextvars.copy_context())
    await background.aclose(5)
    assert ended == ["work"]


async def test_what_takes_too_long_is_cancelled() -> None:
    background = Background()
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    background.spawn(work(), "endless")
    begun = asyncio.get_running_loop().time()
    await background.aclose(5)
    assert cancelled.is_set()
    assert asyncio.get_running_loop().time() - begun == pytest.approx(5)


async def test_failure_is_logged_as_an_error_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()

    async def fail() -> None:
        raise RuntimeError("a defect")

    background.spawn(fail(), "doomed")
    await background.aclose(5)
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [RuntimeError]


async def test_nothing_to_wait_for_is_fine() -> None:
    began = asyncio.get_running_loop().time()
    await Background().aclose(5)
    assert asyncio.get_running_loop().time() == began
