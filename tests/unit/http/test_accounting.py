"""What answering an address costs it."""

import gc
import time
from collections.abc import Iterator

import pytest

from mimi_mqtt.http.accounting import metered
from mimi_mqtt.http.collection_clock import CollectionClock


@pytest.fixture(autouse=True)
def _only_new_objects() -> Iterator[None]:
    """Collections look at the objects of the test, not at those of all tests before it."""
    gc.freeze()
    yield
    gc.unfreeze()


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


class Ballast:
    """What takes a collector time: it looks at all of these."""

    def __init__(self) -> None:
        self.objects: list[list[int]] = [[] for _ in range(200_000)]


async def test_computing_time_is_charged_without_full_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    collections = CollectionClock()
    monkeypatch.setattr("mimi_mqtt.http.accounting._COLLECTIONS", collections)
    collections.start()
    ballast = Ballast()
    charged: list[float] = []

    async def answer() -> None:
        compute(0.01)
        for _ in range(20):
            gc.collect()

    try:
        before, already = time.thread_time(), collections.seconds
        await metered(answer(), charged.append)
        whole = time.thread_time() - before
    finally:
        collections.stop()
    assert ballast.objects
    collected = collections.seconds - already
    assert sum(charged) >= 0.01
    assert collected > 0
    assert sum(charged) + collected <= whole


async def test_collections_of_young_objects_are_charged() -> None:
    collections = CollectionClock()
    collections.start()
    try:
        gc.collect(0)
        gc.collect(1)
        assert collections.seconds == 0
        gc.collect()
        assert collections.seconds > 0
    finally:
        collections.stop()
    gc.collect()
    seconds = collections.seconds
    gc.collect()
    assert collections.seconds == seconds
