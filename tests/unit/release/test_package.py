"""What people install holds the built web app, and nothing that only builds it."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[3]
APP = "mimi_mqtt/http/web/built/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that is built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as packed:
        return set(packed.namelist())


def test_wheel_holds_the_built_web_app(wheel: set[str]) -> None:
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / APP).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert f"{APP}index.html" in there, "scripts/web did not run"
    assert there <= wheel


def test_wheel_holds_no_sources_of_the_app(wheel: set[str]) -> None:
    assert not [name for name in wheel if name.startswith("web/") or "node_modules" in name]
    assert not [name for name in wheel if name.endswith((".svelte", ".ts"))]
