"""docs/security.md: its tables are held to the settings and constants that they tell of."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.config.connections import SharesSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z_.]+)` \| ([^|]+?) \| ([^|]+?) \|$", re.MULTILINE)
CONSTANT = re.compile(r"^\| `([a-z_.]+)\.([A-Z_]+)` \| ([^|]+?) \| ([^|]+?) \|$", re.MULTILINE)

BOUNDS = {key: default for key, default, _ in ROW.findall(PAGE)}


@pytest.mark.parametrize("key", BOUNDS)
def test_a_bound_is_a_setting_with_the_default_that_the_page_tells(key: str) -> None:
    section, _, name = key.partition(".")
    assert str(getattr(getattr(Settings(), section), name)) == BOUNDS[key]


def test_every_share_is_told() -> None:
    told = [key.partition(".")[2] for key in BOUNDS if key.startswith("shares.")]
    assert told == list(SharesSettings.model_fields)


def test_every_bound_of_the_transports_is_told() -> None:
    bounded = re.compile(r"max_|_per_|_timeout_s$")
    for section in ("mqtt", "udp", "http", "ota", "session"):
        for name in type(getattr(Settings(), section)).model_fields:
            assert not bounded.search(name) or f"{section}.{name}" in BOUNDS, f"{section}.{name} is missing"


@pytest.mark.parametrize(("module", "name", "value"), [row[:3] for row in CONSTANT.findall(PAGE)])
def test_a_constant_has_the_value_that_the_page_tells(module: str, name: str, value: str) -> None:
    assert str(getattr(import_module(f"mimi_mqtt.{module}"), name)) == value


def test_every_setting_that_is_named_exists() -> None:
    sections = "|".join(Settings.model_fields)
    named = re.findall(rf"`((?:{sections})\.[a-z_]+)(?=[`: ])", PAGE)
    assert len(named) > 60
    for key in set(named) - {"server.secret"}:  # a file
        section, _, name = key.partition(".")
        assert name in type(getattr(Settings(), section)).model_fields, f"there is no setting {key}"


def test_the_tables_are_there() -> None:
    assert len(BOUNDS) > 40
    assert len(CONSTANT.findall(PAGE)) >= 8


def test_links_lead_to_files() -> None:
    for page in (ROOT / "docs" / "security.md", ROOT / "SECURITY.md", ROOT / "README.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
