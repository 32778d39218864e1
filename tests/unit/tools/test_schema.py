"""Arguments are checked before a device is troubled with them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ToolError
from mimi_mqtt.tools.schema import MAX_ARGUMENTS_CHARS, MAX_DEPTH, MAX_STRING_CHARS, check_arguments

SCHEMA = {
    "type": "object",
    "properties": {
        "volume": {"type": "integer", "minimum": 0, "maximum": 100},
        "on": {"type": "boolean"},
        "theme": {"type": "string", "enum": ["light", "dark"]},
        "label": {"type": "string", "maxLength": 10},
        "gain": {"type": "number", "minimum": -1.5},
    },
    "required": ["volume"],
}


def check(**arguments: Any) -> dict[str, Any]:
    return check_arguments("tool", SCHEMA, arguments)


def test_good_arguments_pass() -> None:
    arguments = {"volume": 40, "on": True, "theme": "dark", "label": "tea", "gain": 0.5}
    assert check(**arguments) == arguments


def test_whole_number_written_with_a_point_is_an_integer() -> None:
    volume = check(volume=40.0)["volume"]
    assert volume == 40
    assert type(volume) is int


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "'volume' is missing"),
        ({"volume": "40"}, "volume must be an integer"),
        ({"volume": 40.5}, "volume must be an integer"),
        ({"volume": True}, "volume must be an integer"),
        ({"volume": None}, "volume must be an integer"),
        ({"volume": float("nan")}, "volume must be an integer"),
        ({"volume": 2**60}, "volume must be an integer"),
        ({"volume": 101}, "at least 0 and at most 100"),
        ({"volume": -1}, "at least 0 and at most 100"),
        ({"volume": 1, "on": 1}, "on must be true or false"),
        ({"volume": 1, "theme": "pink"}, "theme must be one of light, dark"),
        ({"volume": 1, "label": "much too long"}, "label must have at most 10 characters"),
        ({"volume": 1, "label": ["x"]}, "label must be a string"),
        ({"volume": 1, "gain": float("inf")}, "gain must be a number"),
        ({"volume": 1, "gain": float("nan")}, "gain must be a number"),
        ({"volume": 1, "gain": -2}, "gain must be at least -1.5"),
        ({"volume": 1, "colour": "red"}, "there is no argument 'colour'; it takes: volume, on, theme"),
    ],
)
def test_wrong_argument_is_named_with_what_is_allowed(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ToolError, match=complaint):
        check_arguments("tool", SCHEMA, arguments)


def test_argument_with_a_default_may_be_missing() -> None:
    schema = {"properties": {"n": {"type": "integer", "default": 3}}, "required": ["n"]}
    assert check_arguments("tool", schema, {}) == {}


def test_strings_are_bounded_without_a_limit_in_the_schema() -> None:
    with pytest.raises(ToolError, match="at most"):
        check_arguments(
            "tool", {"properties": {"s": {"type": "string"}}}, {"s": "x" * (MAX_STRING_CHARS + 1)}
        )


NESTED = {
    "type": "object",
    "properties": {
        "entities": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "colour": {
            "type": "object",
            "properties": {"red": {"type": "integer", "maximum": 255}, "name": {"type": "string"}},
            "required": ["red"],
            "additionalProperties": False,
        },
        "steps": {"type": "array", "items": {"type": "object", "properties": {"at": {"type": "number"}}}},
        "data": {"type": "object"},
        "area": {"type": ["string", "null"]},
        "nothing": {"type": "null"},
    },
}


def check_nested(**arguments: Any) -> dict[str, Any]:
    return check_arguments("tool", NESTED, arguments, nested=True)


def test_lists_and_objects_pass_to_tools_that_take_them() -> None:
    arguments = {
        "entities": ["lamp", "fan"],
        "colour": {"red": 3.0, "name": "x" * (MAX_STRING_CHARS + 1)},
        "steps": [{"at": 1.5, "more": [1]}],
        "data": {"any": {"thing": [None]}},
        "area": None,
        "nothing": None,
    }
    assert check_nested(**arguments) == arguments


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"entities": "lamp"}, "entities must be a list"),
        ({"entities": ["a", 1]}, r"entities\[1\] must be a string"),
        ({"entities": list("abcd")}, "entities must have at most 3 items"),
        ({"colour": []}, "colour must be an object"),
        ({"colour": {}}, "colour: the argument 'red' is missing"),
        ({"colour": {"red": 256}}, "colour: red must be at most 255"),
        ({"colour": {"red": 1, "hue": 2}}, "there is no argument 'hue'; it takes: red, name"),
        ({"steps": [{"at": "now"}]}, r"steps\[0\]: at must be a number"),
        ({"nothing": 1}, "nothing must be null"),
        ({"colours": 1}, "there is no argument 'colours'"),
        ({"data": {"a": float("nan")}}, "must be JSON"),
        ({"data": {"a": "x" * MAX_ARGUMENTS_CHARS}}, "at most 65536 characters together"),
    ],
)
def test_a_wrong_part_of_a_nested_argument_is_named(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ToolError, match=complaint):
        check_nested(**arguments)


def test_a_device_is_given_single_values_whatever_its_schema_says() -> None:
    for kind in ("array", "object"):
        schema = {"properties": {"a": {"type": kind}}, "additionalProperties": True}
        for value in ([1], {"b": 1}):
            with pytest.raises(ToolError, match="single value"):
                check_arguments("tool", schema, {"a": value})
        with pytest.raises(ToolError, match="no argument 'b'"):
            check_arguments("tool", schema, {"b": 1})


def test_nesting_is_bounded() -> None:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    value: list[Any] = []
    for _ in range(MAX_DEPTH):
        value = [value]
    with pytest.raises(ToolError, match="too deeply"):
        check_arguments("tool", {"properties": {"a": schema}}, {"a": value}, nested=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "minimum",
        "maximum",
        "enum",
        "maxLength",
        "items",
        "maxItems",
        "additionalProperties",
        "array",
        "object",
        "a",
        "b",
    ]
)


@pytest.mark.parametrize("value", ["x" * (MAX_STRING_CHARS + 1), float("inf"), float("nan"), 2**60])
def test_an_argument_without_a_type_is_bounded_all_the_same(value: object) -> None:
    with pytest.raises(ToolError):
        check_arguments("tool", {"properties": {"a": {}}}, {"a": value})


@given(
    st.dictionaries(WORDS, JSON | st.dictionaries(WORDS, JSON, max_size=4), max_size=5),
    st.booleans(),
    st.data(),
)
def test_whatever_the_schema_only_tool_errors_are_raised(
    schema: dict[str, Any], nested: bool, data: st.DataObject
) -> None:
    arguments = data.draw(st.dictionaries(st.sampled_from(["a", "b", "type"]), JSON, max_size=3))
    try:
        checked = check_arguments("tool", schema, arguments, nested=nested)
    except ToolError:
        return
    assert checked.keys() == arguments.keys()
