"""The difference between two versions of a managed resource, field by field; pure."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MAX_DIFF_LINES: Final = 2_000
"""Longest difference of one field, in lines."""


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One field that differs: `before` and `after` are None where it was not set; `unified` has the lines of
    a unified diff."""

    field: str
    before: object
    after: object
    unified: str


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[FieldDiff]:
    """The fields that differ, in the order of the later version, then those that are gone."""
    return [
        FieldDiff(name, before.get(name), after.get(name), _unified(name, before, after))
        for name in dict.fromkeys((*after, *before))
        if (name in before, before.get(name)) != (name in after, after.get(name))
    ]


def _unified(name: str, before: Mapping[str, object], after: Mapping[str, object]) -> str:
    lines = difflib.unified_diff(_lines(before, name), _lines(after, name), name, name, lineterm="")
    found = list(lines)
    cut = [f"… {len(found) - MAX_DIFF_LINES} more lines"] if len(found) > MAX_DIFF_LINES else []
    return "\n".join([*found[:MAX_DIFF_LINES], *cut])


def _lines(content: Mapping[str, object], name: str) -> list[str]:
    if name not in content:
        return []
    value = content[name]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return text.splitlines() or [""]
