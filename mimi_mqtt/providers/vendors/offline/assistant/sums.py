"""Arithmetic in words: `what is twelve times seven`, `20 percent of 80`, `the square root of 2`. Pure."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from mimi_mqtt.providers.vendors.offline.assistant.numbers import read_number

_MOST = 10**15
_MOST_POWER = 100
_DEEPEST = 8
"""Brackets within brackets."""
_OTHER_BRACKETS = re.compile(r"\((?!\s*[\d(√−-])|(?<![\d)])\)|[\[\]{}]")
_BRACKETS = re.compile(r"[()]")
_SPAN = re.compile(r"(?<![\d.])(\d{3,4})[-−–](\d{3,4})(?![\d.])")

_SYMBOLS = (
    ("multiplied by", "*"),
    ("divided by", "/"),
    ("to the power of", "^"),
    ("square root of", "√"),
    ("root of", "√"),
    ("percent of", "%of"),
    ("per cent of", "%of"),
    ("% of", "%of"),
    ("half of", "0.5 *"),
    ("twice", "2 *"),
    ("squared", "^ 2"),
    ("cubed", "^ 3"),
    ("plus", "+"),
    ("minus", "-"),
    ("times", "*"),
    ("over", "/"),
    ("x", "*"),
    ("×", "*"),
    ("÷", "/"),
    ("−", "-"),
)
_SIGNS = frozenset("+-*/^√") | {"%of"}


class NoSum(Exception):
    """Raised for words that are no sum."""


class TooLarge(Exception):
    """Raised for a result that is too large to be said."""


def sums_apart(text: str) -> str:
    """`text` with a space around the brackets of a sum, without all others, and without the hyphen of a span.

    `2020-2022` is a span of years and no subtraction; `12-5` is one.
    """
    text = _SPAN.sub(lambda span: " ".join(span.groups()) if int(span[1]) < int(span[2]) else span[0], text)
    return _BRACKETS.sub(r" \g<0> ", _OTHER_BRACKETS.sub(" ", text))


def calculate(text: str) -> Fraction | None:
    """The value of the sum that `text` (lower case, no punctuation) ends with; None when it is no sum.

    Raises ZeroDivisionError, and TooLarge beyond 10¹⁵.
    """
    for words, sign in _SYMBOLS:
        text = f" {text} ".replace(f" {words} ", f" {sign} ").strip()
    tokens = text.replace(" of % ", " ").split()
    for begin in range(len(tokens)):
        if begin and (tokens[begin - 1] in _SIGNS or tokens[begin - 1] in "()"):
            continue
        tail = tokens[begin:]
        if not any(token in _SIGNS for token in tail[1:]) and tail[0] != "√":
            return None
        try:
            return _Sum(tail).value()
        except NoSum:
            continue
    return None


class _Sum:
    """A recursive descent over tokens: sums of products of powers, in brackets of a bounded depth."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = list(tokens)
        self._at = 0
        self._depth = 0

    def value(self) -> Fraction:
        result = self._terms()
        if self._at != len(self._tokens):
            raise NoSum
        return result

    def _next(self, *signs: str) -> str:
        if self._at < len(self._tokens) and self._tokens[self._at] in signs:
            self._at += 1
            return self._tokens[self._at - 1]
        return ""

    def _terms(self) -> Fraction:
        result = self._factors()
        while sign := self._next("+", "-"):
            right = self._factors()
            result = _bounded(result + right if sign == "+" else result - right)
        return result

    def _factors(self) -> Fraction:
        result = self._power()
        while sign := self._next("*", "/", "%of"):
            right = self._power()
            match sign:
                case "*":
                    result = _bounded(result * right)
                case "/":
                    result = _bounded(result / right)
                case _:
                    result = _bounded(result * right / 100)
        return result

    def _power(self) -> Fraction:
        base = self._atom()
        while self._next("^"):
            exponent = self._atom()
            if exponent.denominator != 1 or abs(exponent) > _MOST_POWER:
                raise NoSum
            base = _bounded(base ** int(exponent))
        return base

    def _atom(self) -> Fraction:
        while self._at < len(self._tokens) and self._tokens[self._at] == "the":
            self._at += 1
        if self._next("√"):
            return _root(self._atom())
        if self._next("("):
            return self._brackets()
        found = read_number(self._tokens, self._at)
        if found is None:
            raise NoSum
        value, self._at = found
        return _bounded(value)

    def _brackets(self) -> Fraction:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NoSum
        value = self._terms()
        if not self._next(")"):
            raise NoSum
        self._depth -= 1
        return value


def _bounded(value: Fraction) -> Fraction:
    if abs(value) > _MOST:
        raise TooLarge
    return value.limit_denominator(_MOST)


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise NoSum
    numerator, denominator = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if numerator**2 == value.numerator and denominator**2 == value.denominator:
        return Fraction(numerator, denominator)
    return Fraction(math.sqrt(value))
