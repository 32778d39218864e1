"""The watchdog of a turn, on virtual time."""

import asyncio

import pytest

from mimi_mqtt.voice.turn.output import TurnOutput
from mimi_mqtt.voice.turn.watchdog import Watchdog
from tests.fakes.voice import FakeDevice

pytestmark = pytest.mark.virtual_time


def watchdog(device: FakeDevice | None = None) -> Watchdog:
    return Watchdog(10.0, TurnOutput(device or FakeDevice(), lambda: None, 60))


async def ended_after(dog: Watchdog) -> float:
    """How long work takes that never ends."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError):
        async with dog:
            await asyncio.sleep(1_000)
    return loop.time() - began


async def test_nothing_is_watched_before_the_first_progress() -> None:
    dog = watchdog()
    async with dog:
        await asyncio.sleep(1_000)
    assert not dog.expired


async def test_work_that_moves_no_more_is_ended_in_time() -> None:
    dog = watchdog()
    loop = asyncio.get_running_loop()
    dog.progress()
    loop.call_later(7, dog.progress)
    loop.call_later(12, dog.progress)
    assert await ended_after(dog) == pytest.approx(22)
    assert dog.expired
    assert not dog.too_late


async def test_progress_after_the_work_changes_nothing() -> None:
    dog = watchdog()
    dog.progress()
    await ended_after(dog)
    dog.progress()
    await asyncio.sleep(100)
    assert dog.expired


async def test_a_reply_has_to_begin_in_time_but_for_pauses() -> None:
    dog = watchdog()
    loop = asyncio.get_running_loop()
    dog.give_up_at(loop.time() + 5)
    dog.progress()
    loop.call_later(2, dog.pause)
    loop.call_later(6, dog.resume)
    assert await ended_after(dog) == pytest.approx(9)
    assert dog.too_late


async def test_frames_that_leave_are_progress() -> None:
    device = FakeDevice()
    dog = watchdog(device)
    dog.output.begin_speech()
    for _ in range(90):
        await dog.output.play(b"frame")
    dog.progress()
    assert await ended_after(dog) == pytest.approx(0.1 + 90 * 0.06 + 10, abs=2.6)
