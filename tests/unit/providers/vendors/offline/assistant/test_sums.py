"""Arithmetic in words."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.offline.assistant.intents import plain
from mimi_mqtt.providers.vendors.offline.assistant.sums import TooLarge, calculate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("what is twelve times seven", 84),
        ("how much is forty two plus seventeen", 59),
        ("what is one hundred divided by four", 25),
        ("what is nine minus three", 6),
        ("what is minus three plus five", 2),
        ("what is twenty percent of eighty", 16),
        ("What's 20% of 80?", 16),
        ("what is seven squared", 49),
        ("calculate two cubed", 8),
        ("what is the square root of 144", 12),
        ("what is half of fifty", 25),
        ("what is twice eleven", 22),
        ("two plus three times four", 14),
        ("what is 2 to the power of 10", 1024),
        ("what is 12×7", 84),
        ("12*7", 84),
        ("what is 3 x 4?", 12),
        ("What is 1,000 + 2,500?", 3500),
        ("what is 7-9", -2),
        ("what is fifteen point five plus three", Fraction(37, 2)),
        ("ten over four", Fraction(5, 2)),
        ("10 / 4", Fraction(5, 2)),
    ],
)
def test_sums_are_worked_out(text: str, value: int | Fraction) -> None:
    assert calculate(plain(text)) == value


@pytest.mark.parametrize(
    "text",
    ["what is", "the weather is over", "five", "what is plus", "plus", "jump over the dog", "two times", "x",
     "the root of evil", "what is five plus cats", "two to the power of a half"],
)  # fmt: skip
def test_what_is_no_sum_is_none(text: str) -> None:
    assert calculate(plain(text)) is None


@pytest.mark.parametrize("text", ["one divided by zero", "5 / 0", "zero to the power of minus one"])
def test_division_by_zero_is_told_apart(text: str) -> None:
    with pytest.raises(ZeroDivisionError):
        calculate(plain(text))


@pytest.mark.parametrize(
    "text",
    [
        "999999999999 times 999999999999",
        "10 to the power of 99",
        "ten to the power of ten to the power of ten",
    ],
)
def test_what_can_not_be_said_is_too_large(text: str) -> None:
    with pytest.raises(TooLarge):
        calculate(plain(text))


@given(st.integers(-10_000, 10_000), st.sampled_from(["plus", "minus", "times"]), st.integers(0, 10_000))
def test_whole_numbers_agree_with_python(left: int, operation: str, right: int) -> None:
    expected = {"plus": left + right, "minus": left - right, "times": left * right}[operation]
    words = f"minus {-left}" if left < 0 else str(left)
    assert calculate(f"what is {words} {operation} {right}") == expected


_WORDS = """
one two hundred point minus plus times over ^ √ - * / %of squared half of the a 3 0 4.5 root what
""".split()  # noqa: SIM905 - easier to read than two dozen quoted words


@given(st.lists(st.sampled_from(_WORDS), max_size=40))
def test_any_words_are_a_sum_or_none_or_one_of_two_errors(words: list[str]) -> None:
    with suppress(ZeroDivisionError, TooLarge):
        calculate(" ".join(words))
