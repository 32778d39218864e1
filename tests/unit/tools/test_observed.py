"""Calls of tools are told by name, with their outcome, and without arguments and results."""

from collections.abc import Mapping
from typing import Any

import pytest

from mimi_mqtt.errors import ToolError
from mimi_mqtt.events import EventBus, ToolCalled
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.observed import ObservedTools
from mimi_mqtt.tools.registry import Tool, ToolBox


class Source:
    def tools(self) -> list[Tool]:
        async def run(arguments: Mapping[str, Any]) -> str:
            if arguments["text"] == "fail":
                raise ToolError("it failed")
            return "the secret word"

        parameters = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
        return [Tool(ToolSpec("speak", "speaks", parameters), run)]


async def test_calls_are_told() -> None:
    events = EventBus()
    told: list[ToolCalled] = []
    events.subscribe(told.append, ToolCalled, name="test")
    tools = ObservedTools(ToolBox(Source()), "aa-bb-cc-00-11-22", events)
    assert [spec.name for spec in tools.specs()] == ["speak"]
    assert await tools.call("speak", {"text": "hello"}) == "the secret word"
    for name, text in (("speak", "fail"), ("x" * 1000, "")):
        with pytest.raises(ToolError):
            await tools.call(name, {"text": text})
    assert [(call.device_id, call.tool[:5], call.ok) for call in told] == [
        ("aa-bb-cc-00-11-22", "speak", True),
        ("aa-bb-cc-00-11-22", "speak", False),
        ("aa-bb-cc-00-11-22", "xxxxx", False),
    ]
    assert max(len(call.tool) for call in told) < 200
    assert "secret" not in str(told)
