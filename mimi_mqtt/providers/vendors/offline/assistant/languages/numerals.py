"""Numbers of Chinese, Japanese and Korean: 二千五百, 一万两千, 3万, 이천오백. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from re import Pattern
from typing import Final

_MOST_MYRIADS: Final = 10**8


@dataclass(frozen=True, eq=False)
class Numerals:
    """Characters of a place-value system: digits, the units up to a thousand, and ten thousand and beyond.

    `before` and `after` are patterns of what may be around a number, where its characters also are parts of
    other words.
    """

    digits: Mapping[str, int]
    units: Mapping[str, int]
    myriads: Mapping[str, int]
    before: str = ""
    after: str = ""

    @cached_property
    def pattern(self) -> Pattern[str]:
        """A number, in characters alone or mixed with digits: 3万."""
        words = "".join((*self.digits, *self.units, *self.myriads))
        first = "".join((*self.digits, *self.units))
        scales = "".join((*self.units, *self.myriads))
        number = rf"(?:[{first}]|\d+(?=[{scales}]))(?:[{words}]|\d+(?=[{scales}])|(?<=[{scales}])\d+)*"
        return re.compile(rf"{self.before}(?<![\d.]){number}{self.after}")

    def replaced(self, text: str) -> str:
        """`text` with its numbers in digits."""
        return self.pattern.sub(lambda number: str(self.value(number[0])), text)

    def value(self, number: str) -> int:
        """The value of `number`, which has the form of `pattern`."""
        total = section = digit = 0
        for token in re.findall(r"\d+|.", number):
            if token in self.myriads:
                total += (section + digit or (0 if total else 1)) * min(self.myriads[token], _MOST_MYRIADS)
                section = digit = 0
            elif token in self.units:
                section += (digit or 1) * self.units[token]
                digit = 0
            elif token in self.digits:
                digit = digit * 10 + self.digits[token]
            else:
                digit = int(token)
        return total + section + digit


HAN: Final = Numerals(
    {
        "〇": 0,
        "零": 0,
        **{digit: value for value, digit in enumerate("一二三四五六七八九", 1)},
        "两": 2,
        "兩": 2,
    },
    {"十": 10, "百": 100, "千": 1_000},
    {"万": 10_000, "萬": 10_000, "亿": _MOST_MYRIADS, "億": _MOST_MYRIADS},
)

HANGUL: Final = Numerals(
    {"영": 0, "공": 0, **{digit: value for value, digit in enumerate("일이삼사오육칠팔구", 1)}},
    {"십": 10, "백": 100, "천": 1_000},
    {"만": 10_000, "억": _MOST_MYRIADS},
    before=r"(?:(?<=[\s(])|^)",
    after=r"(?=\s*(?:더하기|빼기|곱하기|나누기|플러스|마이너스|퍼센트|프로|시간|분|초)"
    r"|[은는의] |[은는]?\W*$)",
)
