"""The built-in tools as a session gets them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.builtin.sources import register_builtins
from mimi_mqtt.tools.catalog import ToolCatalog, ToolRequest
from mimi_mqtt.tools.registry import Tool, ToolBox
from tests.fakes.reminders import reminders

pytestmark = pytest.mark.virtual_time


class DeviceNamedLikeUs:
    """A device whose firmware has a `get_time` of its own."""

    async def _run(self, _: Mapping[str, Any]) -> str:
        return "half past nine"

    def tools(self) -> Sequence[Tool]:
        return [Tool(ToolSpec(name, "", {"type": "object"}), self._run) for name in ("get_time", "self__a")]


@pytest.fixture
async def catalog() -> ToolCatalog:
    catalog = ToolCatalog()
    told, _ = reminders(lambda device_id, text: True, lambda device_id: "en")
    register_builtins(catalog, told, "Europe/Berlin")
    return catalog


def specs(box: ToolBox) -> dict[str, bool]:
    return {spec.name: spec.read_only for spec in box.specs()}


async def test_a_conversation_has_all_of_them(catalog: ToolCatalog) -> None:
    ended: list[bool] = []
    request = ToolRequest("d", device=DeviceNamedLikeUs(), end_conversation=lambda: ended.append(True))
    box = catalog.toolbox(request)
    assert specs(box) == {
        "set_timer": False,
        "set_reminder": False,
        "list_reminders": True,
        "change_reminder": False,
        "cancel_reminder": False,
        "get_time": True,
        "end_conversation": False,
        "self__a": False,
    }
    assert await box.call("get_time", {}) != "half past nine"
    await box.call("end_conversation", {})
    assert ended == [True]


async def test_there_is_nothing_to_end_where_nobody_talks(catalog: ToolCatalog) -> None:
    assert "end_conversation" not in specs(catalog.toolbox(ToolRequest("d")))


async def test_devices_have_reminders_of_their_own(catalog: ToolCatalog) -> None:
    mine, yours = catalog.toolbox(ToolRequest("mine")), catalog.toolbox(ToolRequest("yours"))
    await mine.call("set_timer", {"seconds": 60, "label": "tea"})
    assert '"left": "1 minute"' in await mine.call("list_reminders", {})
    assert await yours.call("list_reminders", {}) == "Nothing is set."


def test_names_of_before_still_allow_a_tool(catalog: ToolCatalog) -> None:
    box = catalog.toolbox(ToolRequest("d", allowed=("list_timers", "cancel_timer")))
    assert set(specs(box)) == {"list_reminders", "cancel_reminder"}
