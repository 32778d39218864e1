"""The providers of each agent: its own, else those of the section `providers`."""

from collections.abc import Mapping, Sequence
from typing import get_args

from mimi_mqtt.config import ProviderSettings, Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT, AgentSettings
from mimi_mqtt.providers.catalog.registry import resolve
from mimi_mqtt.providers.contract.provider import Role

Selection = Mapping[Role, tuple[str, ...]]
"""The providers of each role in the order in which they are asked; of `s2s` there may be none."""


def select_providers(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, Selection]:
    """The providers of every agent, by its key, the default one first. Raises ConfigError, naming the key."""
    known: _Known = {}
    return {
        agent: select_of_agent(settings, agent, own, environ, known)
        for agent, own in settings.every_agent.items()
    }


def select_vision(settings: Settings, key: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The language models that an agent asks about photos; empty where it asks those that it talks by. Raises
    ConfigError, naming the key."""
    names = settings.every_agent[key].vision
    if not names:
        return ()
    given = key != DEFAULT_AGENT and "vision" in settings.agents[key].model_fields_set
    section = f"agents.{key}" if given else "assistant"
    return resolve("llm", with_providers(settings.providers, "llm", names), environ, f"{section}.vision")


_Known = dict[tuple[Role, str, str], tuple[str, ...]]
"""Providers that agents without their own ask, by role, language and voice: `auto` looks for installed
models, which takes some ms."""


def select_of_agent(
    settings: Settings,
    key: str,
    agent: AgentSettings,
    environ: Mapping[str, str],
    known: _Known | None = None,
) -> Selection:
    """The providers of one agent of `settings`. Raises ConfigError, naming the key."""
    roles: tuple[Role, ...] = get_args(Role)
    usual: _Known = {} if known is None else known
    return {role: _of_agent(settings, key, agent, role, environ, usual) for role in roles}


def different(asked: Mapping[str, Selection], role: Role) -> Mapping[tuple[str, ...], Sequence[str]]:
    """Each list of providers of `role` once, with the agents that ask it; empty lists are left out."""
    found: dict[tuple[str, ...], list[str]] = {}
    for agent, of_agent in asked.items():
        if of_agent[role]:
            found.setdefault(of_agent[role], []).append(agent)
    return found


def with_providers(settings: ProviderSettings, role: Role, names: Sequence[str]) -> ProviderSettings:
    """`settings` with other providers for `role`."""
    single = role in ("vad", "s2s")
    return settings.model_copy(update={role: next(iter(names), None) if single else tuple(names)})


def _of_agent(
    settings: Settings,
    agent: str,
    own: AgentSettings,
    role: Role,
    environ: Mapping[str, str],
    usual: _Known,
) -> tuple[str, ...]:
    names = _own(own, role)
    language = _language(settings, own)
    if names is None:
        wish = (role, language, repr(own.voice))
        if wish not in usual:
            usual[wish] = resolve(role, settings.providers, environ, language=language, voice=own.voice)
        return usual[wish]
    given = agent != DEFAULT_AGENT and role in settings.agents[agent].model_fields_set
    section = f"agents.{agent}" if given else "assistant"
    return resolve(
        role,
        with_providers(settings.providers, role, names),
        environ,
        f"{section}.{role}",
        language,
        own.voice,
    )


def _language(settings: Settings, agent: AgentSettings) -> str:
    """The language that an agent is spoken to in, as far as it is set; else empty."""
    if agent.language:
        return agent.language
    return settings.server.language if "language" in settings.server.model_fields_set else ""


def _own(agent: AgentSettings, role: Role) -> tuple[str, ...] | None:
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
