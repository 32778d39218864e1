"""The messages over the pipes to a decoding child."""

import json
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.offline.sphinx.messages import (
    HEADER,
    READY,
    Heard,
    pack_answer,
    pack_ready,
    pack_request,
    parse_answer,
    parse_ready,
)


def test_a_request_is_number_length_and_samples() -> None:
    packed = pack_request(7, b"\x01\x02\x03\x04", commands=True)
    assert packed == b"\x07\x00\x00\x00\x04\x00\x00\x00\x01\x01\x02\x03\x04"


@given(st.builds(Heard, st.text(), st.booleans(), st.none() | st.floats(0, 1)), st.integers(0, 2**32 - 1))
def test_answers_round_trip(heard: Heard, number: int) -> None:
    packed = pack_answer(number, heard)
    assert HEADER.unpack(packed[: HEADER.size]) == (number, len(packed) - HEADER.size)
    assert parse_answer(packed[HEADER.size :]) == heard


@given(st.text())
def test_the_first_word_round_trips(failure: str) -> None:
    packed = pack_ready(failure)
    assert HEADER.unpack(packed[: HEADER.size])[0] == READY
    assert parse_ready(packed[HEADER.size :]) == failure


@given(st.binary(max_size=64) | st.sampled_from([b"[]", b"{}", b"[1, true, null]", b'["a", 1, null]', b"5"]))
@example(b'"')
@example(b'"a')
def test_anything_else_is_a_value_error(body: bytes) -> None:
    with suppress(ValueError):
        assume(not isinstance(json.loads(body), str))  # which a child that is ready may say
    for parse in (parse_answer, parse_ready):
        with pytest.raises(ValueError):  # noqa: PT011 - of any kind
            parse(body)


@given(st.text())
def test_a_string_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        parse_answer(json.dumps(text).encode())
