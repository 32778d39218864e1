"""The built-in tools as a session gets them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.builtin.sources import register_builtins
from mimi_mqtt.tools.builtin.timers import Timers
from mimi_mqtt.tools.catalog import ToolCatalog, ToolRequest
from mimi_mqtt.tools.registry import Tool, ToolBox

pytestmark = pytest.mark.virtual_time


class DeviceNamedLikeUs:
    """A device whose firmware has a `get_time` of its own."""

    async def _run(self, _: Mapping[str, Any]) -> str:
        return "half past nine"

    def tools(self) -> Sequence[Tool]:
        return [Tool(ToolSpec(name, "", {"type": "object"}), self._run) for name in ("get_time", "self__a")]


@pytest.fixture
def catalog() -> ToolCatalog:
    catalog = ToolCatalog()
    register_builtins(catalog, Timers(lambda device_id, text: True), "Europe/Berlin")
    return catalog


def specs(box: ToolBox) -> dict[str, bool]:
    return {spec.name: spec.read_only for spec in box.specs()}


async def test_a_conversation_has_all_of_them(catalog: ToolCatalog) -> None:
    ended: list[bool] = []
    request = ToolRequest("d", device=DeviceNamedLikeUs(), end_conversation=lambda: ended.append(True))
    box = catalog.toolbox(request)
    assert specs(box) == {
        "set_timer": False,
        "list_timers": True,
        "cancel_timer": False,
        "get_time": True,
        "end_conversation": False,
        "self__a": False,
    }
    assert await box.call("get_time", {}) != "half past nine"
    await box.call("end_conversation", {})
    assert ended == [True]


async def test_there_is_nothing_to_end_where_nobody_talks(catalog: ToolCatalog) -> None:
    assert "end_conversation" not in specs(catalog.toolbox(ToolRequest("d")))


async def test_devices_have_timers_of_their_own(catalog: ToolCatalog) -> None:
    mine, yours = catalog.toolbox(ToolRequest("mine")), catalog.toolbox(ToolRequest("yours"))
    await mine.call("set_timer", {"seconds": 60, "label": "tea"})
    assert await mine.call("list_timers", {}) == "tea timer: 1 minute left"
    assert await yours.call("list_timers", {}) == "No timers are running."
