"""Agents found at run time by key, and the agent of each device.

An agent comes from a source: the settings in force are one, whose agents are replaced when broker.yaml is
read again or managed agents change (`managed.merging`). Where two sources have an agent of the same name, the
first source wins.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, overload

from mimi_mqtt.config.agents import DEFAULT_AGENT, AgentSettings
from mimi_mqtt.fleet.directory import DeviceInfo

_log = logging.getLogger(__name__)

_MAX_MISSED: Final = 1_000
"""Missing agents that are logged; further ones are not."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent: its key, which is its name in the configuration, and its settings."""

    key: str
    settings: AgentSettings


class AgentSource(Protocol):
    """One place that agents come from."""

    def get(self, key: str) -> AgentSettings | None:
        """The complete settings of the agent `key` as they are now; None when it is not of this source."""


class AgentsInForce:
    """The agents of the settings in force (`Settings.every_agent`), provisioned and managed ones, the default
    one among them. An `AgentSource`."""

    def __init__(self, agents: Mapping[str, AgentSettings]) -> None:
        self._agents = agents

    def get(self, key: str) -> AgentSettings | None:
        """The agent's settings, or None."""
        return self._agents.get(key)

    def replace(self, agents: Mapping[str, AgentSettings]) -> None:
        """Puts `agents` in the place of all agents that there were."""
        self._agents = agents


class AgentCatalog:
    """All agents of all sources. The first source must have the default agent at all times."""

    def __init__(self, *sources: AgentSource) -> None:
        self._sources = sources
        self._missed: set[str] = set()

    def find(self, key: str) -> Agent | None:
        """The agent `key` as it is now, or None."""
        for source in self._sources:
            if (settings := source.get(key)) is not None:
                return Agent(key, settings)
        return None

    def of(self, device: DeviceInfo) -> Agent:
        """The device's agent. The default agent takes the place of a missing one, which is logged once."""
        key = device.agent or DEFAULT_AGENT
        if (agent := self.find(key)) is not None:
            self._missed.discard(key)
            return agent
        if key not in self._missed and len(self._missed) < _MAX_MISSED:
            self._missed.add(key)
            _log.warning(
                "there is no agent %r any more: its devices have the default one "
                "(`mimi-mqtt devices set ID --agent NAME`)",
                key,
            )
        return self.current(DEFAULT_AGENT)

    def current(self, key: str) -> Agent:
        """The agent `key` as it is now, or the default agent when it is missing."""
        agent = self.find(key) or self.find(DEFAULT_AGENT)
        if agent is None:
            raise LookupError("the first source of agents has no default agent")
        return agent

    def tools_of(self, key: str) -> Sequence[str]:
        """The patterns of the tools that the agent `key` may use, which follow its changes; the default
        agent's when it is missing."""
        return _AllowedTools(self, key)


class _AllowedTools(Sequence[str]):
    """The tool patterns of one agent as they are now."""

    def __init__(self, catalog: AgentCatalog, key: str) -> None:
        self._catalog = catalog
        self._key = key

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._catalog.current(self._key).settings.tools[index]

    def __len__(self) -> int:
        return len(self._catalog.current(self._key).settings.tools)
