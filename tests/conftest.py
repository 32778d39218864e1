"""What all tests share: which event loop a test runs on, patience, and logging as it was before."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import HealthCheck, settings

from tests.virtual_time import VirtualTimeLoop

# How long an example takes says something of the machine and of what else runs on it, nothing of the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Virtual time for tests marked `virtual_time`, an ordinary loop for all others."""
    if item.get_closest_marker("virtual_time") is not None:
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command run within a test sets logging up for its process: the next test must not inherit that."""
    root, ours = logging.getLogger(), logging.getLogger("mimi_mqtt")
    handlers, root_level, our_level = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(root_level)
    ours.setLevel(our_level)
