"""The providers of each agent: its own, else those of the section `providers`."""

from collections.abc import Mapping, Sequence
from typing import get_args

from mimi_mqtt.config import ProviderSettings, Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT, AgentSettings
from mimi_mqtt.providers.catalog.registry import resolve
from mimi_mqtt.providers.contract.provider import Role

Chains = Mapping[Role, tuple[str, ...]]
"""The providers of each role in the order in which they are asked; of `s2s` there may be none."""


def chains(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, Chains]:
    """The chains of every agent, by its key, the default one first. Raises ConfigError, naming the key."""
    roles: tuple[Role, ...] = get_args(Role)
    return {
        agent: {role: _chain(settings, agent, own, role, environ) for role in roles}
        for agent, own in settings.every_agent.items()
    }


def different(asked: Mapping[str, Chains], role: Role) -> Mapping[tuple[str, ...], Sequence[str]]:
    """Each chain of `role` once, with the agents that ask it. No chain is none."""
    found: dict[tuple[str, ...], list[str]] = {}
    for agent, of_agent in asked.items():
        if of_agent[role]:
            found.setdefault(of_agent[role], []).append(agent)
    return found


def with_chain(settings: ProviderSettings, role: Role, names: Sequence[str]) -> ProviderSettings:
    """`settings` with other providers for `role`."""
    single = role in ("vad", "s2s")
    return settings.model_copy(update={role: next(iter(names), None) if single else tuple(names)})


def _chain(
    settings: Settings, agent: str, own: AgentSettings, role: Role, environ: Mapping[str, str]
) -> tuple[str, ...]:
    names = _own_chain(own, role)
    if names is None:
        return resolve(role, settings.providers, environ)
    given = agent != DEFAULT_AGENT and role in settings.agents[agent].model_fields_set
    section = f"agents.{agent}" if given else "assistant"
    return resolve(role, with_chain(settings.providers, role, names), environ, f"{section}.{role}")


def _own_chain(agent: AgentSettings, role: Role) -> tuple[str, ...] | None:
    match role:
        case "vad":
            return None
        case "stt":
            return agent.stt or None
        case "llm":
            return agent.llm or None
        case "tts":
            return agent.tts or None
        case "s2s":
            if agent.s2s is None:
                return None
            return (agent.s2s,) if agent.s2s else ()
