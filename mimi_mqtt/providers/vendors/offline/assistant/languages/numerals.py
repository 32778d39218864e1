"""Numbers of Chinese, Japanese and Korean: 二千五百, 一万两千, 3万, 이천오백. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from re import Match, Pattern
from typing import Final

_MOST_MYRIADS: Final = 10**8


@dataclass(frozen=True, eq=False)
class Numerals:
    """Characters of a place-value system: digits, the units up to a thousand, and ten thousand and beyond.

    `before` and `after` are patterns of what may be around a number, where its characters also are parts of
    other words. A myriad alone is a number (만 is ten thousand) only where `before` or `after` is given.
    `elides`: the last unit is left out, as in 一百二 for 120 and 三万五 for 35,000.
    """

    digits: Mapping[str, int]
    units: Mapping[str, int]
    myriads: Mapping[str, int]
    before: str = ""
    after: str = ""
    elides: bool = False

    @cached_property
    def pattern(self) -> Pattern[str]:
        """A number, in characters alone or mixed with digits: 3万."""
        myriads = "".join(self.myriads)
        first = "".join((*self.digits, *self.units))
        scales = "".join((*self.units, *self.myriads))
        begin = first + (myriads if self.before or self.after else "")
        number = (
            rf"(?:[{begin}]|\d+(?=[{scales}]))"
            rf"(?:[{first}{myriads}]|\d+(?=[{scales}])|(?<=[{scales}])\d+|(?<=[{myriads}]) (?=[{first}]))*"
        )
        return re.compile(rf"{self.before}(?<![\d.]){number}{self.after}")

    def replaced(self, text: str) -> str:
        """`text` with its numbers in digits."""
        return self.pattern.sub(lambda number: str(self.value(number[0])), text)

    def value(self, number: str) -> int:
        """The value of `number`, which has the form of `pattern`."""
        total = section = digit = before = last = 0
        tokens = re.findall(r"\d+|\S", number)
        for token in tokens:
            before, last = last, self.units.get(token, 0) or self.myriads.get(token, 0)
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
        if self.elides and before > 10 and tokens[-1] in self.digits:
            digit *= before // 10
        return total + section + digit

    def decimal(self, number: Match[str]) -> str:
        """`number`, whose groups are a number and the digits after the point, in digits: 3.14 of 三点一四."""
        whole = number[1] if number[1].isdecimal() else self.value(number[1])
        return f"{whole}.{''.join(str(self.digits.get(digit, digit)) for digit in number[2])}"


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

CHINESE: Final = replace(HAN, elides=True)

HANGUL: Final = Numerals(
    {"영": 0, "공": 0, **{digit: value for value, digit in enumerate("일이삼사오육칠팔구", 1)}},
    {"십": 10, "백": 100, "천": 1_000},
    {"만": 10_000, "억": _MOST_MYRIADS},
    before=r"(?:(?<=[\s(])|^)",
    after=r"(?=\s*(?:더하기|빼기|곱하기|나누기|플러스|마이너스|퍼센트|프로|시간|분|초)"
    r"|[은는의] |[은는]?\W*$|(?:를|을|으로|로|에서|에) .*(?:나누|곱하|더하|빼))",
)
