"""A turn's own way to what has effects: held while somebody may be going on with the question."""

import asyncio
from collections.abc import Mapping
from typing import Any

from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.voice.services import Tools


class TurnTools:
    """The `tools` of one turn. Nothing is done between `hold` and `release`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._released = asyncio.Event()
        self._released.set()
        self.acted = False
        """Whether something was done that can't be taken back."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """As ever: being told of a tool has no effect."""
        return self._tools.specs()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Calls one, if need be later. Raises ToolError."""
        if any(spec.name == name and spec.read_only for spec in self._tools.specs()):
            await self._released.wait()
        else:
            await self.act()
        return await self._tools.call(name, arguments)

    async def act(self) -> None:
        """Returns when something may be done that can't be taken back; from then on it counts as done."""
        await self._released.wait()
        self.acted = True

    def hold(self) -> None:
        """Nothing may be done for the time being."""
        self._released.clear()

    def release(self) -> None:
        """Goes on after `hold`."""
        self._released.set()
