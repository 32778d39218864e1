"""Server-sent events and JSON from a vendor that may send anything."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ProviderBadAnswer, ProviderRefused
from mimi_mqtt.providers.http.errors import readable
from mimi_mqtt.providers.http.server_sent_events import MAX_EVENT_CHARS, ServerSentEvent
from mimi_mqtt.providers.http.service import (
    MAX_ANSWER_BYTES,
    MAX_COMPLAINT_BYTES,
    HttpService,
    child,
    count_at,
    json_object,
    text_at,
)
from mimi_mqtt.providers.runtime.resilience import Limits

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


async def events(body: bytes) -> list[ServerSentEvent]:
    service = HttpService("fake", Limits(), "http://localhost", None)
    return [event async for event in service.events(httpx.Response(200, content=body))]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: a\n\n", [ServerSentEvent("message", "a")]),
        (b"event:done\ndata:a\r\n\r\n", [ServerSentEvent("done", "a")]),
        (b"data: a\ndata:  b\n\n", [ServerSentEvent("message", "a\n b")]),
        (b": comment\nid: 7\nevent: ping\n\ndata: a\n\n", [ServerSentEvent("message", "a")]),
        (b"data\n\n", [ServerSentEvent("message", "")]),
        (b"data: unfinished", []),
        (b"", []),
    ],
)
async def test_events_are_read_as_the_standard_says(body: bytes, expected: list[ServerSentEvent]) -> None:
    assert await events(body) == expected


async def test_an_event_without_end_is_a_bad_answer() -> None:
    line = b"data: " + b"x" * 65_536 + b"\n"
    with pytest.raises(ProviderBadAnswer):
        await events(line * (MAX_EVENT_CHARS // 65_536 + 1))


@pytest.mark.parametrize("line", [b"data: ", b": ", b"event: "])
async def test_a_line_without_end_is_a_bad_answer(line: bytes) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield line
        for _ in range(4 * MAX_EVENT_CHARS // 65_536):
            taken += 1
            yield b"x" * 65_536

    service = HttpService("fake", Limits(), "http://localhost", None)
    with pytest.raises(ProviderBadAnswer):
        [event async for event in service.events(httpx.Response(200, content=endless()))]
    assert taken <= MAX_EVENT_CHARS // 65_536 + 2


async def test_an_event_of_empty_lines_without_end_is_a_bad_answer() -> None:
    with pytest.raises(ProviderBadAnswer):
        await events(b"data\n" * (MAX_EVENT_CHARS + 1))


async def test_separators_within_json_are_no_ends_of_lines() -> None:
    text = json.dumps({"a": "one\u2028two\x85three"}, ensure_ascii=False)
    assert await events(f"data: {text}\n\n".encode()) == [ServerSentEvent("message", text)]


@given(st.binary(max_size=200))
async def test_any_bytes_are_events_or_none(body: bytes) -> None:
    for event in await events(body):
        assert event.kind


@given(JSON)
def test_json_is_an_object_or_a_bad_answer(value: object) -> None:
    text = json.dumps(value)
    if isinstance(value, dict):
        assert json_object("fake", text).keys() == value.keys()
    else:
        with pytest.raises(ProviderBadAnswer):
            json_object("fake", text)


@given(JSON)
def test_nothing_is_found_where_there_is_nothing(value: object) -> None:
    assert isinstance(text_at(value, "a", "b"), str)
    assert isinstance(count_at(value, "a", "b"), int)
    assert child({"a": {"b": value}}, "a", "b") is value


async def test_an_answer_without_end_is_a_bad_answer() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(4 * MAX_ANSWER_BYTES // 65_536):
            taken += 1
            yield b" " * 65_536

    service = HttpService("fake", Limits(), "http://localhost", None)
    with pytest.raises(ProviderBadAnswer, match="does not end"):
        await service.json(httpx.Response(200, content=endless()))
    assert taken <= MAX_ANSWER_BYTES // 65_536 + 2


async def test_of_an_endless_refusal_only_the_beginning_is_read() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1_000):
            taken += 1
            yield b"no " * 1_000

    service = HttpService("fake", Limits(), "http://localhost", None)
    refuse = httpx.MockTransport(lambda _: httpx.Response(403, content=endless()))
    async with httpx.AsyncClient(transport=refuse) as client:
        service._made = client
        with pytest.raises(ProviderRefused, match="no no"):
            async with service.post("/", {}):
                pass
    assert taken <= MAX_COMPLAINT_BYTES // 3_000 + 1


DEEP = "[" * 200_000


def test_json_nested_too_deeply_is_a_bad_answer() -> None:
    with pytest.raises(ProviderBadAnswer):
        json_object("fake", DEEP)


def test_a_complaint_nested_too_deeply_is_shown_as_it_is() -> None:
    assert readable(DEEP).startswith("[[[")
