import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.wire import strict_json

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
numbers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner)),
)


@given(values)
def test_what_is_written_is_read_back(value: object) -> None:
    assert strict_json.loads(strict_json.dumps(value)) == value
    assert strict_json.loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"NaN",
        b'{"a":Infinity}',
        b"[-Infinity]",
        b"1e999",
        b"18446744073709551616",
        b"9" * 5_000,
        b"-9223372036854775809",
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b'"\\u0000"',
        b'["\\\\\\u0000"]',
        b"[" * 100_000,
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
        b'"\xff"',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b"{'a':1}",
        b'{"a":1}x',
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_what_is_not_json_for_everyone_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads(raw)


def test_escapes_that_stand_for_text_are_read() -> None:
    assert strict_json.loads(rb'"\ud83d\ude00 \u00fc \\u0000"') == "😀 ü \\u0000"


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = strict_json.MAX_DEPTH
    assert strict_json.loads(b"[" * depth + b"]" * depth) is not None
    flat = [[n] for n in range(500)]
    assert strict_json.loads(strict_json.dumps(flat)) == flat


def test_last_of_two_equal_keys_counts() -> None:
    assert strict_json.loads(b'{"a":1,"a":2}') == {"a": 2}


def test_half_a_surrogate_pair_of_our_own_is_replaced() -> None:
    assert strict_json.dumps("a\ud800b") == b'"a?b"'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1j: 2}, b"x"])
def test_what_json_can_not_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.dumps(value)


def test_a_value_inside_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError, match=r"."):
        strict_json.dumps(loop)


@given(st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        value = strict_json.loads(raw)
    except ValueError:
        return
    assert strict_json.loads(strict_json.dumps(value)) == value
