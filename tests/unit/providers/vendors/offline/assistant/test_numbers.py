"""Spoken numbers and durations."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.offline.assistant.numbers import (
    first_number,
    in_words,
    read_duration,
    read_number,
    shown,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("forty", 40),
        ("seventy five", 75),
        ("zero", 0),
        ("one hundred", 100),
        ("a hundred and five", 105),
        ("two thousand five hundred and twelve", 2512),
        ("three million", 3_000_000),
        ("twelve hundred", 1200),
        ("one million two hundred thousand and one", 1_200_001),
        ("40", 40),
        ("2.5", Fraction(5, 2)),
        ("5 thousand", 5000),
        ("two point five", Fraction(5, 2)),
        ("three point one four", Fraction(314, 100)),
        ("two and a half", Fraction(5, 2)),
        ("minus seven", -7),
        ("negative 3", -3),
    ],
)
def test_numbers_are_read_to_their_end(text: str, value: int | Fraction) -> None:
    words = text.split()
    assert read_number(words, 0) == (value, len(words))


@pytest.mark.parametrize(
    "text", ["", "minus", "hundred", "and five", "a", "a cat", "point five", "1.2.3", "12a"]
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert read_number(text.split(), 0) is None


@pytest.mark.parametrize(
    ("text", "value", "end"),
    [
        ("five twenty", 5, 1),
        ("twenty ten", 20, 1),
        ("one hundred and a cat", 100, 2),
        ("six point blank", 6, 1),
    ],
)
def test_a_number_ends_where_no_one_would_go_on(text: str, value: int, end: int) -> None:
    assert read_number(text.split(), 0) == (Fraction(value), end)


@given(st.integers(0, 99))
def test_small_numbers_round_trip_through_words(number: int) -> None:
    assert first_number(in_words(number).replace("-", " ").split()) == number


_WORDS = "a and one twenty hundred thousand point half minus 3 4.5 the of".split()  # noqa: SIM905


@given(st.lists(st.sampled_from(_WORDS)))
def test_any_words_are_read_without_an_error(words: list[str]) -> None:
    for at in range(len(words)):
        found = read_number(words, at)
        assert found is None or at < found[1] <= len(words)
    read_duration(words)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("five minutes", 300),
        ("set a timer for thirty seconds", 30),
        ("one hour and 30 minutes", 5400),
        ("an hour and a half", 5400),
        ("two and a half minutes", 150),
        ("half an hour", 1800),
        ("a quarter of an hour", 900),
        ("a minute", 60),
        ("a ten minute timer", 600),
        ("1 hour 2 minutes 5 seconds", 3725),
        ("90 sec", 90),
    ],
)
def test_durations_are_added_up(text: str, seconds: int) -> None:
    assert read_duration(text.split()) == seconds


def test_without_a_unit_there_is_no_duration() -> None:
    assert read_duration(["set", "a", "timer", "for", "five"]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(84), "84"),
        (Fraction(5, 2), "2.5"),
        (Fraction(10, 3), "about 3.3333"),
        (Fraction(-7), "minus 7"),
        (Fraction(-1, 3), "about minus 0.3333"),
        (Fraction(1, 100_000), "about 0"),
    ],
)
def test_results_are_shown_in_digits_and_rounding_is_admitted(value: Fraction, text: str) -> None:
    assert shown(value) == text
