from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from mimi_mqtt.errors import ToolError
from mimi_mqtt.tools.builtin.clock import Clock
from mimi_mqtt.tools.registry import ToolBox

NEW_YEAR = datetime(2026, 12, 31, 23, 5, tzinfo=UTC)


def box(timezone: str | None) -> ToolBox:
    return ToolBox(Clock(timezone, lambda zone: NEW_YEAR.astimezone(zone or ZoneInfo("Europe/London"))))


@pytest.mark.parametrize(
    ("home", "asked", "told"),
    [
        (None, {}, "Thursday, 31 December 2026, 23:05"),
        ("Europe/Berlin", {}, "Friday, 1 January 2027, 00:05"),
        ("Europe/Berlin", {"timezone": ""}, "Friday, 1 January 2027, 00:05"),
        ("Europe/Berlin", {"timezone": "Asia/Tokyo"}, "Friday, 1 January 2027, 08:05 in Asia/Tokyo"),
    ],
)
async def test_the_time_is_told_where_the_user_is_or_asks_for(
    home: str | None, asked: dict[str, str], told: str
) -> None:
    assert await box(home).call("get_time", asked) == told


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "\0"])
async def test_a_zone_that_is_none_is_told_to_the_model(zone: str) -> None:
    with pytest.raises(ToolError, match="time zone"):
        await box(None).call("get_time", {"timezone": zone})


def test_this_machines_clock_is_the_default() -> None:
    assert [spec.name for spec in ToolBox(Clock(None)).specs()] == ["get_time"]
