"""The version is written in one place."""

import re
import tomllib
from pathlib import Path

from packaging.version import Version

from mimi_mqtt import __version__

ROOT = Path(__file__).parents[3]


def test_packages_take_their_version_from_the_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    source = ROOT / project["tool"]["hatch"]["version"]["path"]
    found = re.findall(r'(?m)^__version__ = "(.+)"$', source.read_text(encoding="utf-8"))
    assert found == [__version__]


def test_the_version_is_a_valid_one() -> None:
    assert str(Version(__version__)) == __version__
