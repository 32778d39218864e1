"""The sources of tools that a server has, from which each session's tool box is put together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mimi_mqtt.tools.registry import ToolBox, ToolSource


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """The session whose tools are wanted.

    `allowed`: the agent's patterns of tool names. `device`: the tools of the device's connection, where there
    is one. `end_conversation` makes the present turn the session's last; None where no conversation is going
    on, as for a call from outside.
    """

    device_id: str
    allowed: Sequence[str] = ("*",)
    device: ToolSource | None = None
    end_conversation: Callable[[], None] | None = None


SourceFactory: TypeAlias = Callable[[ToolRequest], ToolSource | None]
"""Makes a source for one session, or None when it has nothing for it. Returns at once; raises nothing."""


class ToolCatalog:
    """The registered sources. Where two tools have the same name, the source registered first wins."""

    def __init__(self) -> None:
        self._factories: dict[str, SourceFactory] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The sources by name, in their order."""
        return tuple(self._factories)

    def register(self, name: str, factory: SourceFactory) -> None:
        """Adds a source for the tool boxes made from now on. Raises ValueError when the name is taken."""
        if name in self._factories:
            raise ValueError(f"a tool source {name!r} is registered already")
        self._factories[name] = factory

    def toolbox(self, request: ToolRequest) -> ToolBox:
        """The tools of one session, of every source that has some for it."""
        made = (factory(request) for factory in self._factories.values())
        return ToolBox(*(source for source in made if source is not None), allowed=request.allowed)
