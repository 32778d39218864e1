"""What `serve` does to the process it runs in."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from mimi_mqtt.cli.serve import FullCollections, spare_collections


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_the_collector_works_again_once_the_server_has_started() -> None:
    gc.disable()
    spare_collections()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


class Knot:
    """Refers to itself: only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.mark.virtual_time
@pytest.mark.usefixtures("collector")
async def test_what_refers_to_itself_is_gone_within_minutes() -> None:
    gc.disable()
    collections = FullCollections()
    collections.start()
    knot = weakref.ref(Knot())
    await asyncio.sleep(FullCollections.EVERY_S - 1)
    assert knot() is not None
    await asyncio.sleep(2)
    assert knot() is None
    await collections.aclose()


@pytest.mark.virtual_time
async def test_collections_that_take_long_come_rarely() -> None:
    ticks = iter((0.0, 0.5, 0.5, 0.501))
    collections = FullCollections(lambda: next(ticks))
    collections.start()
    await asyncio.sleep(FullCollections.EVERY_S + 1)
    assert collections.pause_s == pytest.approx(500)
    await asyncio.sleep(500)
    assert collections.pause_s == FullCollections.EVERY_S
    await collections.aclose()
