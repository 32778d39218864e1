"""Percentiles of merged histograms are near the true ones, whatever was merged in which order."""

import math

from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.store.histogram import BUCKETS, HIGHEST_MS, LOWEST_MS, bucket_of, percentile

durations = st.lists(st.floats(LOWEST_MS, HIGHEST_MS * 0.999), min_size=1, max_size=60)


def counts(of: list[float]) -> list[int]:
    found = [0] * BUCKETS
    for ms in of:
        found[bucket_of(ms)] += 1
    return found


@given(durations, durations, st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_percentile_of_merged_histograms_is_within_ten_percent(
    one: list[float], other: list[float], share: float
) -> None:
    merged = [a + b for a, b in zip(counts(one), counts(other), strict=True)]
    assert merged == counts([*other, *one])
    both = sorted([*one, *other])
    true = both[max(1, math.ceil(share * len(both))) - 1]
    told = percentile(merged, share)
    assert told is not None
    assert abs(told - true) <= 0.1 * true


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_duration_has_a_bucket(ms: float) -> None:
    assert 0 <= bucket_of(ms) < BUCKETS


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_longer_duration_is_in_no_lower_bucket(one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert bucket_of(low) <= bucket_of(high)


def test_beyond_the_bounds_the_bound_is_told() -> None:
    assert percentile(counts([1.0, 2.0]), 0.5) == LOWEST_MS
    assert percentile(counts([1e6]), 0.95) == HIGHEST_MS
    assert percentile([0] * BUCKETS, 0.5) is None
