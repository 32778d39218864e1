"""The difference between two configurations: what takes effect at run time, and what needs a restart. No I/O.

Agents, providers, turn-taking, session limits, the log and `server.language` can change while the server
runs. Everything else (addresses, files, the database, accounts) is read once, at start.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.config.section import Section
from mimi_mqtt.config.settings import Settings
from mimi_mqtt.config.voice import ProviderSettings

_FIXED: Final[Mapping[str, frozenset[str]]] = {
    "log": frozenset(),
    "session": frozenset({"reattach_s"}),
    "voice": frozenset({"audio_threads", "opus_bitrate", "opus_complexity"}),
    "providers": frozenset({"vad", "cache_mb"}),
    "server": frozenset({"data_dir", "public_host", "timezone"}),
}
"""Sections that can change at run time, each with its keys that can't. `assistant` and `agents` can as a
whole; the sections that are not named here can't."""

_OWN_REPORT: Final = frozenset({"assistant", "agents"})

_UNTOLD: Final = frozenset({"prompt", "greeting"})
"""Keys of an agent whose words are not for the log."""

_MAX_SHOWN_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference that a new configuration makes. `effective` and `restart` are lines for people, a key
    each, without secrets; `settings` are those in force afterwards: the new ones but for the keys that need a
    restart."""

    settings: Settings
    effective: tuple[str, ...]
    restart: tuple[str, ...]


def can_change(section: str, key: str) -> bool:
    """True for a key whose change takes effect at run time."""
    return section in _OWN_REPORT or (section in _FIXED and key not in _FIXED[section])


def compare(old: Settings, new: Settings) -> Changes:
    """Compares the settings in force with those that are to replace them in a running server."""
    effective: list[str] = []
    restart: list[str] = []
    sections: dict[str, Section] = {}
    for name in Settings.model_fields:
        if name in _OWN_REPORT:
            continue
        before, after = _section(old, name), _section(new, name)
        fixed = _FIXED.get(name, frozenset(type(before).model_fields))
        kept: dict[str, object] = {}
        for key in type(before).model_fields:
            was, is_now = getattr(before, key), getattr(after, key)
            if key in fixed:
                kept[key] = was
                if was != is_now:
                    restart.append(f"{name}.{key}")
            elif was != is_now and not isinstance(was, dict):
                effective.append(f"{name}.{key}: {_told(was, is_now)}")
        if isinstance(before, ProviderSettings) and isinstance(after, ProviderSettings):
            _compare_tables(before, after, effective, restart, kept)
        sections[name] = after.model_copy(update=kept)
    effective += _agent_changes("assistant", old.assistant, new.assistant)
    for name in dict.fromkeys((*old.agents, *new.agents)):
        if name not in old.agents:
            effective.append(f"agents.{name}: added")
        elif name not in new.agents:
            effective.append(f"agents.{name}: removed")
        else:
            effective += _agent_changes(f"agents.{name}", old.agents[name], new.agents[name])
    return Changes(new.model_copy(update=sections), tuple(effective), tuple(restart))


def _section(settings: Settings, name: str) -> Section:
    section = getattr(settings, name)
    if not isinstance(section, Section):
        raise TypeError(f"settings.{name} is not a section")
    return section


def _compare_tables(
    before: ProviderSettings,
    after: ProviderSettings,
    effective: list[str],
    restart: list[str],
    kept: dict[str, object],
) -> None:
    """Options and prices, by provider: the options of voice activity detection stay as they were."""
    for name in dict.fromkeys((*before.options, *after.options)):
        was, is_now = before.options.get(name), after.options.get(name)
        if was == is_now:
            continue
        if name != before.vad:
            effective.append(f"providers.options.{name}: {_happened(was, is_now)}")
            continue
        restart.append(f"providers.options.{name}")
        others = {key: value for key, value in after.options.items() if key != name}
        kept["options"] = others if was is None else {**others, name: was}
    for name in dict.fromkeys((*before.prices, *after.prices)):
        was_price, price = before.prices.get(name), after.prices.get(name)
        if was_price != price:
            effective.append(f"providers.prices.{name}: {_happened(was_price, price)}")


def _agent_changes(key: str, old: AgentSettings, new: AgentSettings) -> Iterator[str]:
    """A line for each key with another value, or that follows the default agent from now on or no more."""
    for field in AgentSettings.model_fields:
        was_given, is_given = field in old.model_fields_set, field in new.model_fields_set
        was, is_now = getattr(old, field), getattr(new, field)
        if was != is_now or (was_given != is_given and key != "assistant"):
            hidden = was == is_now or field in _UNTOLD
            yield f"{key}.{field}: {'changed' if hidden else _told(was, is_now)}"


def _happened(was: object | None, is_now: object | None) -> str:
    return "added" if was is None else "removed" if is_now is None else "changed"


def _told(was: object, is_now: object) -> str:
    """The values where they are short; they are never secret, as options are not told by this."""
    before, after = _shown(was), _shown(is_now)
    return "changed" if max(len(before), len(after)) > _MAX_SHOWN_CHARS else f"{before} -> {after}"


def _shown(value: object) -> str:
    if value is None or value in ((), ""):
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    text = str(value)
    return text if text.isprintable() else " " * (_MAX_SHOWN_CHARS + 1)
