"""Merge patches of JSON objects (RFC 7396); pure."""

from collections.abc import Mapping

from mimi_mqtt.errors import Invalid

MAX_DEPTH = 16
"""Objects inside objects of a patch."""


def merged(target: Mapping[str, object], patch: Mapping[str, object], depth: int = 1) -> dict[str, object]:
    """`target` with the members of `patch`: null takes one away, an object is merged. Raises Invalid."""
    if depth > MAX_DEPTH:
        raise Invalid(f"more than {MAX_DEPTH} objects inside each other")
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, Mapping) else {}, value, depth + 1)
        else:
            result[name] = value
    return result
