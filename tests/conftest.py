"""Fixtures that all tests share: event loops, patience, logging as before, no models but those asked for."""

import asyncio
import gc
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from mimi_mqtt.models.folder import ModelsFolder, default_models_dir
from tests.virtual_time import VirtualTimeLoop

pytest_plugins = ["tests.databases"]

_ATTACKS = "tests/e2e/attacks"

# What `scripts/setup test` installs. All else sees a folder without models, so that no test depends on what
# is installed on a machine. The variable tells it to the processes of parallel tests, whose XDG_DATA_HOME is
# another already.
_MODELS = ModelsFolder(Path(os.environ.setdefault("TEST_MODELS_DIR", str(default_models_dir()))))
_NO_MODELS = tempfile.TemporaryDirectory(prefix="mimi-test-")
os.environ["XDG_DATA_HOME"] = _NO_MODELS.name

# How long an example takes says something of the machine and of what else runs on it, nothing of the code.
# With CI=true the examples are the same for the same code, so that a change is judged by what it changed; any
# other run looks for new ones.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("patient")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Virtual time for tests marked `virtual_time`, an ordinary loop for all others."""
    if item.get_closest_marker("virtual_time") is not None:
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.new_event_loop}


def pytest_collection_finish() -> None:
    """Has garbage collections pass over the collected tests, half a million objects that stay to the end."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest tests first: begun last, they would keep one core waiting for the other. Attacks come
    after other end-to-end tests, so that they don't begin beside the soak test."""

    def rank(item: pytest.Item) -> int:
        if "test_soak" in item.nodeid:
            return 0
        if item.nodeid.startswith(_ATTACKS):
            return 2
        return 1 if item.nodeid.startswith("tests/e2e") else 3

    items.sort(key=rank)


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each process a file at a time; all attacks count as one file, as two at once would need more than
    the cores have."""

    def _split_scope(self, nodeid: str) -> str:
        return _ATTACKS if nodeid.startswith(_ATTACKS) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """The scheduling of files in place of that of `--dist loadfile`."""
    return _Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command run within a test sets logging up for its process: the next test must not inherit that."""
    root, ours = logging.getLogger(), logging.getLogger("mimi_mqtt")
    handlers, root_level, our_level = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(root_level)
    ours.setLevel(our_level)


@pytest.fixture
def real_model() -> Callable[[str], Path]:
    """The place of an installed model of the catalogue. Skips the test where it is not, but never in CI."""

    def place(name: str) -> Path:
        found = _MODELS.locate(name)
        if found is None and not os.environ.get("CI"):
            pytest.skip(f"the model {name} is not installed: ./scripts/setup test")
        assert found is not None, f"./scripts/setup test installs {name}"
        return found

    return place


@pytest.fixture
def models_dir(real_model: Callable[[str], Path]) -> Path:
    """The folder with the models for tests, for `providers.models_dir`."""
    return real_model("whisper-tiny-en").parent
