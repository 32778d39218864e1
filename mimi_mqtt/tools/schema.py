"""Checks a tool call's arguments against its JSON schema, and tells a model what is wrong.

A device's tools take booleans, integers and strings only (device contract, section 6); other tools may take
lists and objects too. Keywords that are not known here (`$ref`, `oneOf`, `pattern`) are the tool's own to
check.
Pure.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from mimi_mqtt.errors import ToolError

MAX_STRING_CHARS: Final = 2_000
"""Longest string argument of a device's tool; a control message must stay under what a modem board can take
(2 KB to 8 KB)."""
MAX_ARGUMENTS_CHARS: Final = 64 * 1024
"""Longest arguments of another tool, encoded as JSON."""
MAX_DEPTH: Final = 16
"""Deepest nesting of lists and objects."""

_SAFE_INTEGER: Final = 2**53  # what a JSON parser that knows only doubles (the firmware's) keeps exact

_Check = Callable[[str, Mapping[str, Any], object], Any]
"""`(where, schema, value)` to the value as the tool takes it. Raises ToolError."""


def check_arguments(
    tool: str, schema: Mapping[str, Any], arguments: Mapping[str, Any], *, nested: bool = False
) -> dict[str, Any]:
    """The arguments as the tool takes them (40.0 becomes 40 where an integer is wanted).

    `nested`: they may hold lists and objects. Raises ToolError that names the argument and what is allowed.
    """
    if not nested:
        return _check_properties(tool, schema, arguments, _flat)
    checked = _check_properties(tool, schema, arguments, _nested_at(MAX_DEPTH))
    try:
        size = len(json.dumps(checked, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"{tool}: the arguments must be JSON") from error
    if size > MAX_ARGUMENTS_CHARS:
        raise ToolError(f"{tool}: the arguments must have at most {MAX_ARGUMENTS_CHARS} characters together")
    return checked


def _check_properties(
    where: str, schema: Mapping[str, Any], values: Mapping[str, Any], check: _Check
) -> dict[str, Any]:
    properties = _mapping(schema.get("properties"))
    required = schema.get("required")
    for name in required if isinstance(required, list | tuple) else ():
        # A schema comes from outside: it may say anything.
        missing = isinstance(name, str) and name not in values
        if missing and "default" not in _mapping(properties.get(name)):
            raise ToolError(f"{where}: the argument {name!r} is missing")
    others = schema.get("additionalProperties")
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name in properties:
            checked[name] = check(f"{where}: {name}", _mapping(properties[name]), value)
        elif check is not _flat and (others is True or isinstance(others, Mapping)):
            checked[name] = check(f"{where}: {name[:40]}", _mapping(others), value)
        else:
            known = ", ".join(properties) or "none"
            raise ToolError(f"{where}: there is no argument {name[:40]!r}; it takes: {known}")
    return checked


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _flat(where: str, schema: Mapping[str, Any], value: object) -> Any:
    match schema.get("type"):
        case "boolean":
            if not isinstance(value, bool):
                raise ToolError(f"{where} must be true or false")
        case "integer":
            value = _integer(where, value)
            _check_range(where, schema, value)
        case "number":
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not abs(value) < _SAFE_INTEGER
            ):
                raise ToolError(f"{where} must be a number")
            _check_range(where, schema, value)
        case "string":
            if not isinstance(value, str):
                raise ToolError(f"{where} must be a string")
            _check_length(where, schema, value, MAX_STRING_CHARS)
        case _:
            if not isinstance(value, bool | int | float | str):
                raise ToolError(f"{where} must be a single value")
            if isinstance(value, str):
                _check_length(where, schema, value, MAX_STRING_CHARS)
            elif not abs(value) <= _SAFE_INTEGER:  # NaN too
                raise ToolError(f"{where} must be a smaller number")
    _check_enum(where, schema, value)
    return value


def _nested_at(depth: int) -> _Check:
    """The check of a value in which lists and objects may be `depth` levels deep."""

    def check(where: str, schema: Mapping[str, Any], value: object) -> Any:
        if not depth:
            raise ToolError(f"{where} is nested too deeply")
        inner = _nested_at(depth - 1)
        match schema.get("type"):
            case "array":
                if not isinstance(value, list | tuple):
                    raise ToolError(f"{where} must be a list")
                most = schema.get("maxItems")
                if isinstance(most, int) and len(value) > most:
                    raise ToolError(f"{where} must have at most {most} items")
                items = _mapping(schema.get("items"))
                value = [inner(f"{where}[{at}]", items, item) for at, item in enumerate(value)]
            case "object":
                if not isinstance(value, Mapping):
                    raise ToolError(f"{where} must be an object")
                # An object without declared properties takes any; a closed one only those.
                if schema.get("properties") or schema.get("additionalProperties") is False:
                    value = _check_properties(where, {"additionalProperties": True, **schema}, value, inner)
            case "null":
                if value is not None:
                    raise ToolError(f"{where} must be null")
            case "string":
                if not isinstance(value, str):
                    raise ToolError(f"{where} must be a string")
                _check_length(where, schema, value, MAX_ARGUMENTS_CHARS)
            case "boolean" | "integer" | "number":
                return _flat(where, schema, value)
            case _:
                pass  # a list of types, or a keyword of the tool's own
        _check_enum(where, schema, value)
        return value

    return check


def _check_length(where: str, schema: Mapping[str, Any], value: str, most: int) -> None:
    limit = schema.get("maxLength")
    longest = min(limit, most) if isinstance(limit, int) else most
    if len(value) > longest:
        raise ToolError(f"{where} must have at most {longest} characters")


def _check_enum(where: str, schema: Mapping[str, Any], value: object) -> None:
    allowed = schema.get("enum")
    if isinstance(allowed, list | tuple) and value not in allowed:
        raise ToolError(f"{where} must be one of {', '.join(map(str, allowed))}")


def _integer(where: str, value: object) -> int:
    # Models write 40.0 where 40 is meant; anything less certain is theirs to correct.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _SAFE_INTEGER:
        raise ToolError(f"{where} must be an integer")
    return value


def _check_range(where: str, schema: Mapping[str, Any], value: float) -> None:
    low, high = schema.get("minimum"), schema.get("maximum")
    too_low = isinstance(low, int | float) and value < low
    too_high = isinstance(high, int | float) and value > high
    if too_low or too_high:
        bounds = [f"at least {low}" if low is not None else "", f"at most {high}" if high is not None else ""]
        raise ToolError(f"{where} must be {' and '.join(filter(None, bounds))}")
