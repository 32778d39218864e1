"""Managed resources as a YAML document, in the shape of broker.yaml: written by `export`, read by `import`.

Secrets are in no document: who gets one gets no keys.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

from mimi_mqtt.config.loading import note_lines, parse_yaml
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.managed.kinds import Kind
from mimi_mqtt.managed.resources import Change, ManagedResources, Resource

FORM: Final = 1
"""Version of the document's form."""
MAX_DOCUMENT_CHARS: Final = 8_000_000
"""Longest document that is read."""

_PLACES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "agent": ("agents",),
    "provider": ("providers", "options"),
    "price": ("providers", "prices"),
}

_HEAD: Final = """\
# Agents, options of providers and prices that people set in mimi_mqtt, for `mimi-mqtt import FILE`.
"""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def as_yaml(content: Mapping[str, object]) -> str:
    """`content` as YAML, in its order."""
    return yaml.dump(dict(content), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100)


async def exported(resources: ManagedResources) -> str:
    """All managed resources as a document. Raises StoreError."""
    tree: dict[str, object] = {"mimi_mqtt": {"export": FORM}}
    secrets: list[str] = []
    for kind, place in _PLACES.items():
        found: Sequence[Resource] = await resources.list_all(kind)
        branch: dict[str, object] = tree
        for part in place[:-1]:
            inner = branch.setdefault(part, {})
            assert isinstance(inner, dict)  # noqa: S101 - made here
            branch = inner
        branch[place[-1]] = {each.key: dict(each.content) for each in found}
        secrets += [f"{each.key}.{option}" for each in found for option in each.secrets]
    told = f"# Not in it, and to be set again where it is imported: {', '.join(secrets)}\n" if secrets else ""
    return _HEAD + told + as_yaml(tree)


def parsed(text: str, path: Path) -> list[Change]:
    """The changes that a document asks for. Raises ConfigError, which tells the line."""
    if len(text) > MAX_DOCUMENT_CHARS:
        raise ConfigError(f"{path} is longer than {MAX_DOCUMENT_CHARS} characters")
    node, tree = parse_yaml(text, f"{path} is")
    if not isinstance(tree, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} is not an export of mimi_mqtt: it has no sections")
    lines: dict[tuple[str, ...], str] = {}
    note_lines(node, (), path, lines)
    head = tree.pop("mimi_mqtt", None)
    form = head.get("export") if isinstance(head, dict) else None
    if not isinstance(form, int) or isinstance(form, bool):
        raise ConfigError(f"{path} is not an export of mimi_mqtt: it has no `mimi_mqtt: {{export: {FORM}}}`")
    if form > FORM:
        raise ConfigError(f"{path} was written by a newer mimi-mqtt: import it with that version")
    changes: list[Change] = []
    for kind, place in _PLACES.items():
        branch: object = tree
        for part in place:
            branch = _section(branch, part, lines, place, path)
        assert isinstance(branch, dict)  # noqa: S101 - `_section` checks it
        for key, content in branch.items():
            where = (*place, str(key))
            if not isinstance(key, str) or not isinstance(content, dict):
                raise ConfigError(f"{_at(where, lines, path)}: must be a name with keys and their values")
            if not all(isinstance(name, str) for name in content):
                raise ConfigError(f"{_at(where, lines, path)}: each key must be text")
            changes.append(Change(kind, key, content))
    _refuse_unknown(tree, ("agents", "providers"), (), lines, path)
    _refuse_unknown(tree.get("providers") or {}, ("options", "prices"), ("providers",), lines, path)
    return changes


def _section(
    branch: object, part: str, lines: Mapping[tuple[str, ...], str], place: tuple[str, ...], path: Path
) -> dict[object, object]:
    inner = branch.get(part) if isinstance(branch, dict) else None
    if inner is None:
        return {}
    if not isinstance(inner, dict):
        raise ConfigError(f"{_at(place[: place.index(part) + 1], lines, path)}: must be a section")
    return inner


def _refuse_unknown(
    branch: Mapping[object, object],
    known: tuple[str, ...],
    where: tuple[str, ...],
    lines: Mapping[tuple[str, ...], str],
    path: Path,
) -> None:
    for name in branch:
        if name not in known:
            raise ConfigError(
                f"{_at((*where, str(name)), lines, path)}: can't be imported; there are {', '.join(known)}"
            )


def _at(where: tuple[str, ...], lines: Mapping[tuple[str, ...], str], path: Path) -> str:
    return f"{lines.get(where, str(path))}: {'.'.join(where)}"
