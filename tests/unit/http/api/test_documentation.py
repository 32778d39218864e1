"""`docs/api.md` is held to the code: every path it names is a route, and it has every command."""

import re
from pathlib import Path

import pytest

from mimi_mqtt.http.api.event_feed import MAX_KEPT, MAX_LISTENERS, event_names
from mimi_mqtt.store.idempotency import MAX_PER_CALLER
from tests.unit.http.api.test_routes import ROUTES

TEXT = (Path(__file__).parents[4] / "docs" / "api.md").read_text(encoding="utf-8")
NAMED = re.findall(r"mimi-mqtt api '?([a-z][^\s'`]*)", TEXT) + re.findall(r"\$api/([^\s\"]+)", TEXT)
NAMED += [path.lstrip("/") for path in re.findall(r"`(?:GET|POST) (/[^`…]+)`", TEXT)]


@pytest.mark.parametrize("path", sorted({path.partition("?")[0] for path in NAMED if path != "PATH"}))
def test_a_path_that_is_named_is_a_route(path: str) -> None:
    assert any(route.path_regex.match(f"/{path}") for route in ROUTES)


def test_every_command_is_told() -> None:
    table = TEXT.partition("## Commands")[2].partition("\n## ")[0]
    for route in ROUTES:
        if "/commands/" in route.path:
            assert f"`{route.path.partition('/commands/')[2]}`" in table


def test_names_and_bounds_are_those_of_the_code() -> None:
    assert len(NAMED) > 12
    asked = re.findall(r"types=([\w,]+)", TEXT)
    assert {name for each in asked for name in each.split(",")} <= set(event_names())
    for number in (MAX_KEPT, MAX_LISTENERS, MAX_PER_CALLER):
        assert f"{number:,}" in TEXT
