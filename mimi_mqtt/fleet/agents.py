"""The agent of a device: the one that a person gave it, else the default."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.config.agents import DEFAULT_AGENT, AgentSettings
from mimi_mqtt.fleet.directory import DeviceInfo

_log = logging.getLogger(__name__)

_MAX_MISSED: Final = 1_000
"""Missing agents that were logged; further ones are not."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent: the name that it has in the configuration, and its settings."""

    key: str
    settings: AgentSettings


class AgentDirectory:
    """The agents of the configuration (`Settings.every_agent`), by device."""

    def __init__(self, agents: Mapping[str, AgentSettings]) -> None:
        self._agents = {key: Agent(key, settings) for key, settings in agents.items()}
        self._default = self._agents[DEFAULT_AGENT]
        self._missed: set[str] = set()

    def of(self, device: DeviceInfo) -> Agent:
        """The device's agent. The default one takes the place of an agent that no longer exists, which is
        logged once."""
        agent = self._agents.get(device.agent or DEFAULT_AGENT)
        if agent is not None:
            return agent
        if device.agent not in self._missed and len(self._missed) < _MAX_MISSED:
            self._missed.add(device.agent)
            _log.warning(
                "there is no agent %r in the configuration: its devices have the default one "
                "(`mimi-mqtt devices set ID --agent NAME`)",
                device.agent,
            )
        return self._default
