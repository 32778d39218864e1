import json
import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from mimi_mqtt.store.values import UtcDateTime, bounded, bounded_object, finite, holds_storable


@given(st.text(), st.integers(0, 50))
def test_bounded_text_fits_and_is_storable(text: str, limit: int) -> None:
    kept = bounded(text, limit)
    assert len(kept) <= limit
    assert "\0" not in kept
    kept.encode("utf-8")


def test_lone_surrogates_are_replaced() -> None:
    assert bounded("a\ud800b\0c", 10) == "a?bc"


def test_an_object_that_is_too_large_or_is_no_json_becomes_empty() -> None:
    assert bounded_object({"a": "x" * 50}, 40) == {}
    assert bounded_object({"a": math.nan}, 40) == {}
    assert bounded_object({"a": object()}, 40) == {}
    assert bounded_object({"a": [1, None]}, 40) == {"a": [1, None]}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _JSON))
def test_an_object_is_kept_as_it_is_but_for_what_no_database_takes(value: dict[str, object]) -> None:
    kept = bounded_object(value, 1_000_000)
    assert holds_storable(kept)
    assert kept == value or not holds_storable(value)


def test_texts_in_an_object_that_no_database_takes_are_replaced() -> None:
    assert bounded_object({"a\0": ["b\ud800", {"c": "\\u0000"}]}, 99) == {"a": ["b?", {"c": "\\u0000"}]}


@given(st.dictionaries(st.text(), st.floats()))
def test_timings_are_always_json(values: dict[str, float]) -> None:
    kept = json.loads(json.dumps(finite(values), allow_nan=False))
    assert kept.keys() == {name for name, value in values.items() if math.isfinite(value)}
    assert all(math.isclose(kept[name], values[name], rel_tol=1e-14, abs_tol=0.051) for name in kept)


@pytest.mark.parametrize("url", ["sqlite://", "postgresql+asyncpg://"])
def test_a_time_without_a_zone_is_refused(url: str) -> None:
    dialect = make_url(url).get_dialect()()
    with pytest.raises(ValueError, match="aware"):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), dialect)
