"""A tool box whose calls are published as domain events: the names of tools, not their arguments."""

import time
from collections.abc import Mapping
from typing import Any

from mimi_mqtt.events import EventBus, ToolCalled
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.tools.registry import ToolBox


class ObservedTools:
    """A `ToolBox` whose calls are published on `events` as `ToolCalled`."""

    __slots__ = ("_device_id", "_events", "_tools")

    def __init__(self, tools: ToolBox, device_id: str, events: EventBus) -> None:
        self._tools = tools
        self._device_id = device_id
        self._events = events

    def specs(self) -> tuple[ToolSpec, ...]:
        """See `ToolBox`."""
        return self._tools.specs()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """See `ToolBox`."""
        began = time.monotonic()
        ok = False
        try:
            result = await self._tools.call(name, arguments)
            ok = True
            return result
        finally:
            duration_ms = (time.monotonic() - began) * 1000
            # A model may make a name up, of any length.
            self._events.publish(
                ToolCalled(device_id=self._device_id, tool=name[:128], ok=ok, duration_ms=duration_ms)
            )
