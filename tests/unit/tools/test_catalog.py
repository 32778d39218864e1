"""The catalogue of tool sources."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.catalog import ToolCatalog, ToolRequest
from mimi_mqtt.tools.registry import Tool


class Fixed:
    """A source of one tool, `name`, that answers `answer`."""

    def __init__(self, name: str, answer: str) -> None:
        self._tool = Tool(ToolSpec(name, "", {"type": "object"}), self._run)
        self._answer = answer

    async def _run(self, _: Mapping[str, Any]) -> str:
        return self._answer

    def tools(self) -> Sequence[Tool]:
        return (self._tool,)


def names(catalog: ToolCatalog, request: ToolRequest) -> list[str]:
    return [spec.name for spec in catalog.toolbox(request).specs()]


async def test_a_session_gets_the_tools_of_every_source_that_has_some_for_it() -> None:
    catalog = ToolCatalog()
    catalog.register("house", lambda request: Fixed("lamp", f"lamp of {request.device_id}"))
    catalog.register("kitchen", lambda request: Fixed("oven", "") if request.device_id == "k" else None)
    assert names(catalog, ToolRequest("k")) == ["lamp", "oven"]
    assert names(catalog, ToolRequest("b")) == ["lamp"]
    assert await catalog.toolbox(ToolRequest("b")).call("lamp", {}) == "lamp of b"


async def test_the_source_registered_first_wins_a_name() -> None:
    catalog = ToolCatalog()
    catalog.register("ours", lambda _: Fixed("lamp", "ours"))
    catalog.register("theirs", lambda _: Fixed("lamp", "theirs"))
    assert await catalog.toolbox(ToolRequest("d")).call("lamp", {}) == "ours"


def test_a_name_is_registered_once() -> None:
    catalog = ToolCatalog()
    catalog.register("house", lambda _: None)
    with pytest.raises(ValueError, match="'house' is registered already"):
        catalog.register("house", lambda _: None)
    assert catalog.names == ("house",)


def test_only_what_the_agent_may_use_is_there() -> None:
    catalog = ToolCatalog()
    catalog.register("house", lambda _: Fixed("lamp", ""))
    catalog.register("device", lambda request: request.device)
    request = ToolRequest("d", allowed=("self*",), device=Fixed("self__volume", ""))
    assert names(catalog, request) == ["self__volume"]
