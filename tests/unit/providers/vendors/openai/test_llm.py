"""Tool calls from deltas of every dialect, and thoughts that are not spoken."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.providers.vendors.openai.compatible import parse_arguments
from mimi_mqtt.providers.vendors.openai.llm import ThinkingFilter, ToolCallAssembler

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
DELTA = st.dictionaries(
    st.sampled_from(["index", "id", "type", "function", "x"]), JSON, max_size=5
) | st.fixed_dictionaries(
    {"function": st.dictionaries(st.sampled_from(["name", "arguments"]), JSON)},
    optional={"index": st.integers(0, 3), "id": st.sampled_from(["a", "b", ""])},
)


def assemble(*deltas: dict[str, Any]) -> list[ToolCall]:
    calls = ToolCallAssembler("fake")
    for delta in deltas:
        calls.add(delta)
    return list(calls.finish())


def function(name: str | None = None, arguments: object = None) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


EXPECTED = [ToolCall("a", "light", {"on": True}), ToolCall("b", "volume", {"level": 4})]
LIGHT, VOLUME = '{"on": true}', '{"level": 4}'


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(
            [
                {"index": 0, "id": "a", "function": function("light", "")},
                {"index": 0, "id": None, "function": function(None, LIGHT[:5])},
                {"index": 0, "function": function(None, LIGHT[5:])},
                {"index": 1, "id": "b", "function": function("volume", VOLUME)},
            ],
            id="as OpenAI does",
        ),
        pytest.param(
            [
                {"index": 0, "id": "a", "function": function("light")},
                {"index": 1, "id": "b", "function": function("volume")},
                {"index": 0, "function": function(None, LIGHT)},
                {"index": 1, "function": function(None, VOLUME)},
            ],
            id="interleaved",
        ),
        pytest.param(
            [
                {"index": 0, "id": "a", "function": function("light", LIGHT)},
                {"index": 0, "id": "b", "function": function("volume", VOLUME)},
            ],
            id="every call is number 0",
        ),
        pytest.param(
            [
                {"id": "a", "function": function("light", LIGHT[:3])},
                {"function": function(None, LIGHT[3:])},
                {"id": "b", "function": function("volume", VOLUME)},
            ],
            id="no index",
        ),
        pytest.param(
            [
                {"index": 0, "id": "a", "function": function("light", LIGHT[:3])},
                {"index": 0, "id": "a", "function": function("light", LIGHT[3:])},
                {"index": 1, "id": "b", "function": function("volume", VOLUME)},
            ],
            id="id and name repeated",
        ),
        pytest.param(
            [
                {"index": 0, "id": "a", "function": function("light", {"on": True})},
                {"index": 1, "id": "b", "function": function("volume", {"level": 4})},
            ],
            id="arguments as an object",
        ),
        pytest.param(
            [
                {"index": 0, "id": "a", "function": function("light", json.dumps(LIGHT))},
                {"index": 1, "id": "b", "function": function("volume", VOLUME)},
            ],
            id="arguments encoded twice",
        ),
    ],
)
def test_every_dialect_gives_the_same_calls(deltas: list[dict[str, Any]]) -> None:
    assert assemble(*deltas) == EXPECTED


def test_calls_without_ids_get_different_ones() -> None:
    first, second = assemble({"function": function("light", LIGHT)}, {"function": function("volume", VOLUME)})
    assert first.id
    assert second.id
    assert first.id != second.id
    assert (first.name, second.name) == ("light", "volume")


@pytest.mark.parametrize("arguments", [None, "", "  ", "null", '""', "{}"])
def test_no_arguments_are_an_empty_object(arguments: str | None) -> None:
    assert assemble({"index": 0, "id": "a", "function": function("light", arguments)}) == [
        ToolCall("a", "light", {})
    ]


@pytest.mark.parametrize(
    "delta",
    [
        {"index": 0, "id": "a", "function": function("light", '{"on": tr')},
        {"index": 0, "id": "a", "function": function("light", "[1]")},
        {"index": 0, "id": "a", "function": function(None, "{}")},
        {},
    ],
)
def test_a_call_that_can_not_be_made_is_a_bad_answer(delta: dict[str, Any]) -> None:
    with pytest.raises(ProviderBadAnswer):
        assemble(delta)


@given(st.lists(DELTA, max_size=6))
def test_any_deltas_give_calls_or_a_bad_answer(deltas: list[dict[str, Any]]) -> None:
    try:
        calls = assemble(*deltas)
    except ProviderBadAnswer:
        return
    assert all(call.name and call.id and isinstance(call.arguments, dict) for call in calls)


@given(st.text() | JSON.map(json.dumps))
def test_any_arguments_are_an_object_or_a_bad_answer(text: str) -> None:
    try:
        assert isinstance(parse_arguments("fake", text), dict)
    except ProviderBadAnswer:
        return


def filtered(pieces: list[str]) -> str:
    thinking = ThinkingFilter()
    return "".join([*map(thinking.feed, pieces), thinking.flush()])


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@given(
    thought=st.text().filter(lambda text: "</think>" not in text),
    answer=st.text(),
    lead=st.sampled_from(["", "\n", " "]),
    places=st.lists(st.integers(0, 500)),
)
def test_a_thought_is_dropped_wherever_it_is_cut(
    thought: str, answer: str, lead: str, places: list[int]
) -> None:
    text = f"{lead}<think>{thought}</think>{answer}"
    assert filtered(cut(text, places)) == answer.lstrip()


@given(text=st.text().filter(lambda text: "<think>" not in text), places=st.lists(st.integers(0, 500)))
def test_an_answer_without_thoughts_is_untouched(text: str, places: list[int]) -> None:
    assert filtered(cut(text, places)) == text


def test_an_unfinished_thought_is_dropped() -> None:
    assert filtered(["<think>I wonder", " whether"]) == ""


def test_a_tag_in_the_middle_of_an_answer_is_part_of_it() -> None:
    assert filtered(["Say ", "<think>", " aloud"]) == "Say <think> aloud"


def test_the_first_word_is_not_held_back() -> None:
    assert ThinkingFilter().feed("Hello") == "Hello"
