"""What `serve` does to the process it runs in."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mimi_mqtt.cli.serve import FullCollections, addresses, spare_collections
from mimi_mqtt.config import Settings


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


@pytest.mark.parametrize(
    ("certified", "plain", "shown"),
    [
        (None, True, ["http://192.168.1.5:8003/xiaozhi/ota/", "http://192.168.1.5:8003/"]),
        (
            "voice.example.org", True,
            [
                "http://192.168.1.5:8003/xiaozhi/ota/", "https://voice.example.org:8003/xiaozhi/ota/",
                "http://192.168.1.5:8003/",
            ],
        ),
        (
            "voice.example.org", False,
            ["https://voice.example.org:8003/xiaozhi/ota/", "https://voice.example.org:8003/"],
        ),
    ],
)  # fmt: skip
def test_the_addresses_that_are_served_are_shown(
    certified: str | None, plain: bool, shown: list[str]
) -> None:
    http = {"plain": plain, "tls_certificate": "c", "tls_key": "k"}
    app: Any = SimpleNamespace(
        settings=Settings.model_validate({"http": http}),
        device_host="192.168.1.5",
        http_port=8003,
        certified_host=certified,
    )
    found = [word for line in addresses(app) for word in line.split() if "://" in word]
    assert found == shown


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
    assert collections.pause_s == pytest.approx(100)
    await asyncio.sleep(100)
    assert collections.pause_s == FullCollections.EVERY_S
    await collections.aclose()
