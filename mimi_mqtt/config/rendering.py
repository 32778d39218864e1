"""Writes broker.yaml from the declarations: every key commented out at its default, with its meaning."""

import textwrap
from typing import Any

import yaml

from mimi_mqtt.config.section import Section
from mimi_mqtt.config.settings import Settings

_HEAD = """\
# Settings of mimi_mqtt. Every key has a default that works; to change one remove its "#".
# Each can also be set by a variable: MIMI_HTTP__BIND=0.0.0.0:8080 is http.bind.
# This file is written by `mimi-mqtt config`. `mimi-mqtt reload` has a running server read its changes.
"""
_WIDTH = 100


def render_default_yaml() -> str:
    """The commented default configuration, valid YAML that means `Settings()`."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            parts.append(f"\n# {_first_line(section.__doc__)}\n{name}:\n" + _render_section(section))
        elif field.description and field.examples:
            meaning = "\n".join(_comment(field.description))
            parts.append(f"\n{meaning}\n{name}:\n" + _render_example(field.examples[0]))
        else:
            raise TypeError(f"settings.{name} is neither a section nor does it show an example")
    return "".join(parts)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]


def _render_section(section: type[Section]) -> str:
    values: dict[str, Any] = section().model_dump(mode="json")
    lines: list[str] = []
    for name, field in section.model_fields.items():
        lines += [f"  {line}" for line in _comment(field.description or "")]
        lines.append(f"  #{name}: {_render_value(values[name])}".rstrip())
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH - 4)]


def _render_example(example: object) -> str:
    """The example as a comment: it is not the default."""
    text = yaml.safe_dump(example, allow_unicode=True, sort_keys=False, default_flow_style=None)
    return "".join(f"  # {line}\n" for line in text.splitlines())


def _render_value(value: object) -> str:
    if value is None:
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
