"""The token bucket."""

import pytest

from mimi_mqtt.limits import TokenBucket


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    bucket = TokenBucket(2, 4, 0.0)
    assert [bucket.take(0.0) for _ in range(5)] == [True, True, True, True, False]
    assert [bucket.take(1.0) for _ in range(3)] == [True, True, False]


def test_no_more_than_a_burst_is_saved() -> None:
    bucket = TokenBucket(2, 4, 0.0)
    assert bucket.is_full(0.0)
    bucket.take(0.0)
    assert not bucket.is_full(0.4)
    assert bucket.is_full(0.5)
    assert [bucket.take(100.0) for _ in range(5)] == [True] * 4 + [False]


def test_the_wait_ends_when_a_message_may_be_taken() -> None:
    bucket = TokenBucket(0.5, 1, 10.0)
    assert bucket.wait_s(10.0) == 0
    bucket.take(10.0)
    assert bucket.wait_s(10.0) == pytest.approx(2.0)
    assert bucket.wait_s(11.5) == pytest.approx(0.5)
    assert not bucket.take(11.5)
    assert bucket.wait_s(12.0) == 0
    assert bucket.take(12.0)


def test_a_clock_that_goes_back_earns_and_costs_nothing() -> None:
    bucket = TokenBucket(1, 2, 10.0)
    bucket.take(10.0)
    assert bucket.left(5.0) == 1
    assert bucket.take(5.0)
    assert not bucket.take(5.0)
    assert not bucket.take(10.9)
    assert bucket.take(11.0)


def test_a_part_or_several_may_be_taken() -> None:
    bucket = TokenBucket(rate=1.0, burst=2.0, now=0.0)
    assert [bucket.take(0.0, 0.8) for _ in range(3)] == [True, True, False]
    assert bucket.take(0.0, 0.3)
    assert not bucket.take(1.0, 1.5)
    assert bucket.take(1.5, 1.5)
