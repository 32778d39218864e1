"""What `serve` does to the process it runs in."""

import gc
from collections.abc import Iterator

import pytest

from mimi_mqtt.cli.serve import spare_collections


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
