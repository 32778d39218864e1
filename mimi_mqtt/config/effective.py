"""The settings in force, each with its meaning, its source, and whether it can change at run time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, JsonValue

from mimi_mqtt.config.changes import can_change
from mimi_mqtt.config.loading import is_secret
from mimi_mqtt.config.settings import Settings

_HARMLESS: Final = frozenset({"model", "voice", "language", "device", "region", "format", "quality"})
HIDDEN: Final = "(hidden)"
"""The value of a secret that is set."""


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting. `source` is a variable, or a file and its line; empty for the default. The `value` of a
    secret is `HIDDEN`, or None where it is not set."""

    key: str
    value: JsonValue
    default: JsonValue
    source: str
    doc: str
    at_run_time: bool


def effective(settings: Settings, sources: Mapping[tuple[str, ...], str]) -> Iterator[EffectiveSetting]:
    """All settings. `sources` are those of `loading.settings_sources`."""
    defaults = Settings()
    for section_name, field in Settings.model_fields.items():
        section: object = getattr(settings, section_name)
        if not isinstance(section, BaseModel):  # free keys, such as agents
            where: tuple[str, ...] = (section_name,)
            yield EffectiveSetting(
                section_name, _shown(where, section), _shown(where, getattr(defaults, section_name)),
                _source(where, sources), _text(field.description), True,
            )  # fmt: skip
            continue
        before = getattr(defaults, section_name)
        for name, inner in type(section).model_fields.items():
            where = (section_name, name)
            yield EffectiveSetting(
                ".".join(where), _shown(where, _plain(section, name)), _shown(where, _plain(before, name)),
                _source(where, sources), _text(inner.description), can_change(section_name, name),
            )  # fmt: skip


def _plain(section: BaseModel, name: str) -> Any:
    """The value of a key as JSON has it."""
    return section.model_dump(mode="json", include={name})[name]


def _shown(where: tuple[str, ...], value: Any) -> JsonValue:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): _shown((*where, str(key)), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(where, inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    if value and isinstance(value, str) and (is_secret(where) or may_hold_a_secret(where)):
        return HIDDEN
    return str(value)


def may_hold_a_secret(where: tuple[str, ...]) -> bool:
    """True for an option of a provider, whose name is the vendor's, unless it is known to be harmless."""
    return where[:2] == ("providers", "options") and where[-1] not in _HARMLESS


def _source(where: tuple[str, ...], sources: Mapping[tuple[str, ...], str]) -> str:
    found = [source for key, source in sources.items() if key[: len(where)] == where]
    own = sources.get(where)
    return own or (found[0] if found else "")


def _text(description: str | None) -> str:
    return " ".join((description or "").split())
