"""Checks a tool call's arguments against its JSON schema, and tells a model what is wrong.

The schemas are those of device tools and built-ins: a flat object of booleans, integers, numbers and strings
(device contract, section 6). Pure.
"""

from collections.abc import Mapping
from typing import Any, Final

from mimi_mqtt.errors import ToolError

MAX_STRING_CHARS: Final = 2_000
"""Longest string argument; a control message must stay under what a modem board can take (2 KB to 8 KB)."""

_SAFE_INTEGER: Final = 2**53  # what a JSON parser that knows only doubles (the firmware's) keeps exact


def check_arguments(tool: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the tool takes them (40.0 becomes 40 where an integer is wanted).

    Raises ToolError that names the argument and what is allowed.
    """
    properties = _mapping(schema.get("properties"))
    required = schema.get("required")
    for name in required if isinstance(required, list | tuple) else ():
        # A schema comes from a device: it may say anything.
        missing = isinstance(name, str) and name not in arguments
        if missing and "default" not in _mapping(properties.get(name)):
            raise ToolError(f"{tool}: the argument {name!r} is missing")
    checked: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in properties:
            known = ", ".join(properties) or "none"
            raise ToolError(f"{tool}: there is no argument {name[:40]!r}; it takes: {known}")
        checked[name] = _check(f"{tool}: {name}", _mapping(properties[name]), value)
    return checked


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _check(where: str, schema: Mapping[str, Any], value: object) -> Any:
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
            limit = schema.get("maxLength")
            longest = min(limit, MAX_STRING_CHARS) if isinstance(limit, int) else MAX_STRING_CHARS
            if len(value) > longest:
                raise ToolError(f"{where} must have at most {longest} characters")
        case _:
            if not isinstance(value, bool | int | float | str):
                raise ToolError(f"{where} must be a single value")
    allowed = schema.get("enum")
    if isinstance(allowed, list | tuple) and value not in allowed:
        raise ToolError(f"{where} must be one of {', '.join(map(str, allowed))}")
    return value


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
