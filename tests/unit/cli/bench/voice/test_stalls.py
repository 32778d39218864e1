"""Delays of the event loop while a model works."""

import asyncio
import time

import pytest

from mimi_mqtt.cli.bench.voice.stalls import Stalls


@pytest.mark.virtual_time
async def test_a_loop_that_is_free_has_no_delay() -> None:
    stalls = Stalls()
    async with stalls.watched():
        await asyncio.sleep(0.05)
    assert len(stalls.delays) >= 45
    assert max(stalls.delays) < 0.000_001


async def test_what_keeps_the_loop_is_measured_to_its_end() -> None:
    stalls = Stalls()
    async with stalls.watched():
        time.sleep(0.02)  # noqa: ASYNC251 - a model that holds the interpreter
    assert max(stalls.delays) >= 0.018


def test_the_figures_are_of_one_delay_in_a_hundred_and_the_longest() -> None:
    stalls = Stalls()
    assert stalls.figures() == {"loop_stall_ms_p99": None, "loop_stall_ms_max": None}
    stalls.delays = [0.0] * 98 + [0.0042, 0.5]
    assert stalls.figures() == {"loop_stall_ms_p99": 4.2, "loop_stall_ms_max": 500.0}
