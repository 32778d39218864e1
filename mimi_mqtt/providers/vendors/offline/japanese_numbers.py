"""Japanese numbers in katakana, with the counters whose sound they change or are changed by. Pure."""

import re
from collections.abc import Mapping
from typing import Final

_DIGITS: Final = ("ゼロ", "イチ", "ニ", "サン", "ヨン", "ゴ", "ロク", "ナナ", "ハチ", "キュウ")
_HUNDREDS: Final[Mapping[int, str]] = {1: "ヒャク", 3: "サンビャク", 6: "ロッピャク", 8: "ハッピャク"}
_THOUSANDS: Final[Mapping[int, str]] = {1: "セン", 3: "サンゼン", 8: "ハッセン"}
_GREAT: Final = (("", 1), ("マン", 10**4), ("オク", 10**8), ("チョウ", 10**12))

_KANJI_DIGITS: Final[Mapping[str, int]] = {kanji: value for value, kanji in enumerate("〇一二三四五六七八九")}
_KANJI_UNITS: Final[Mapping[str, int]] = {"十": 10, "百": 100, "千": 1000}
_KANJI_GREAT: Final[Mapping[str, int]] = {"万": 10**4, "億": 10**8, "兆": 10**12}

# What is said for the last digit (0: ten) before a counter, as endings of the number and the counter.
_H: Final = {1: "ッp", 3: "ンb", 6: "ッp", 8: "ッp", 0: "ッp"}  # ホン: イッポン サンボン
_F: Final = {1: "ッp", 3: "ンp", 4: "ンp", 6: "ッp", 8: "ッp", 0: "ッp"}  # フン: イップン サンプン
_K: Final = {1: "ッ", 6: "ッ", 8: "ッ", 0: "ッ"}
_S: Final = {1: "ッ", 8: "ッ", 0: "ッ"}

_COUNTERS: Final[Mapping[str, tuple[str, Mapping[int, str]]]] = {
    "分": ("フン", _F),
    "本": ("ホン", _H),
    "杯": ("ハイ", _H),
    "匹": ("ヒキ", _H),
    "個": ("コ", _K),
    "回": ("カイ", _K),
    "階": ("カイ", _K),
    "か月": ("カゲツ", _K),
    "ヶ月": ("カゲツ", _K),
    "歳": ("サイ", _S),
    "才": ("サイ", _S),
    "冊": ("サツ", _S),
    "週間": ("シュウカン", _S),
    "時間": ("ジカン", {}),
    "時": ("ジ", {}),
    "月": ("ガツ", {}),
    "日": ("ニチ", {}),
    "人": ("ニン", {}),
    "年": ("ネン", {}),
    "円": ("エン", {}),
}
"""Longer ones before those that they begin with."""

_WHOLE: Final[Mapping[str, Mapping[int, str]]] = {
    "月": {4: "シガツ", 7: "シチガツ", 9: "クガツ"},
    "日": {
        **dict(
            enumerate(
                (
                    "ツイタチ",
                    "フツカ",
                    "ミッカ",
                    "ヨッカ",
                    "イツカ",
                    "ムイカ",
                    "ナノカ",
                    "ヨウカ",
                    "ココノカ",
                    "トオカ",
                ),
                1,
            )
        ),
        14: "ジュウヨッカ",
        20: "ハツカ",
        24: "ニジュウヨッカ",
    },
    "人": {1: "ヒトリ", 2: "フタリ"},
    "歳": {20: "ハタチ"},
}
"""Numbers that have a word of their own."""

_FOUR_AND_NINE: Final[Mapping[str, Mapping[int, str]]] = {
    "時": {4: "ヨ", 7: "シチ", 9: "ク"},
    "時間": {4: "ヨ", 7: "シチ", 9: "ク"},
    "年": {4: "ヨ"},
    "円": {4: "ヨ"},
    "人": {4: "ヨ"},
}
"""The last digit, where it has another name before a counter."""

_VOICED: Final[Mapping[str, str]] = {"フ": "ブ", "ホ": "ボ", "ハ": "バ", "ヒ": "ビ"}
_POPPED: Final[Mapping[str, str]] = {"フ": "プ", "ホ": "ポ", "ハ": "パ", "ヒ": "ピ"}

_LONGEST: Final = 10**16
_ARABIC: Final = r"\d{1,3}(?:,\d{3})+|\d{1,16}"
_KANJI: Final = r"[〇一二三四五六七八九十百千][〇一二三四五六七八九十百千万億兆]*"
_NUMBER: Final = re.compile(
    rf"(?:(?<!\d)({_ARABIC})(?!\d)(?:\.(\d{{1,9}}))?(万|億|兆)?|({_KANJI}))({'|'.join(_COUNTERS)})?"
)


def _below_ten_thousand(number: int) -> str:
    thousands, hundreds, tens, ones = (number // 10**place % 10 for place in (3, 2, 1, 0))
    said = _THOUSANDS.get(thousands, _DIGITS[thousands] + "セン") if thousands else ""
    said += _HUNDREDS.get(hundreds, _DIGITS[hundreds] + "ヒャク") if hundreds else ""
    if tens:
        said += ("" if tens == 1 else _DIGITS[tens]) + "ジュウ"
    return said + (_DIGITS[ones] if ones else "")


def number_in_kana(number: int) -> str:
    """A number from 0 to below 10 to the 16th."""
    if number == 0:
        return _DIGITS[0]
    said = ""
    for name, size in reversed(_GREAT):
        if part := number // size % 10_000:
            words = _below_ten_thousand(part)
            said += (re.sub("イチ$", "イッ", words) if name == "チョウ" else words) + name
    return said


def counted(number: int, counter: str) -> str:
    """A number with its counter, one of `_COUNTERS`."""
    whole = _WHOLE.get(counter, {}).get(number)
    if whole is not None:
        return whole
    name, changes = _COUNTERS[counter]
    said, last = number_in_kana(number), number % 10
    if (other := _FOUR_AND_NINE.get(counter, {}).get(last)) is not None:
        return said.removesuffix(_DIGITS[last]) + other + name
    change = changes.get(last)
    if change is None or number == 0 or number % 1000 == 0 or (changes is _S and number % 100 == 0):
        return said + name
    if "ッ" in change:
        said = re.sub("(?:チ|ク|ウ)$", "", said) + "ッ"
    sound = {"p": _POPPED, "b": _VOICED}.get(change[-1], {})
    return said + sound.get(name[0], name[0]) + name[1:]


def _from_kanji(kanji: str) -> int:
    """The value of a number in kanji: 三百二十, 二〇二六."""
    total = section = digit = 0
    for character in kanji:
        if character in _KANJI_DIGITS:
            digit = digit * 10 + _KANJI_DIGITS[character]
        elif character in _KANJI_UNITS:
            section += (digit or 1) * _KANJI_UNITS[character]
            digit = 0
        else:
            total += (section + digit or 1) * _KANJI_GREAT[character]
            section = digit = 0
    return total + section + digit


def numbers_in_kana(text: str) -> str:
    """`text` with its numbers, and their counters, in katakana.

    A single one in kanji is a part of a word more often than a number: 一番, 日本一, 十分.
    """

    def said(match: re.Match[str]) -> str:
        arabic, fraction, great, kanji, counter = match.groups()
        if kanji is not None and len(kanji) == 1 and (counter in (None, "日", "本") or match[0] == "十分"):
            return match[0]
        number = int(arabic.replace(",", "")) if arabic is not None else _from_kanji(kanji)
        number *= _KANJI_GREAT[great] if great and fraction is None else 1
        if number >= _LONGEST:
            return match[0]
        if fraction is None:
            return counted(number, counter) if counter else number_in_kana(number)
        digits = "".join(_DIGITS[int(digit)] for digit in fraction)
        name = _COUNTERS[counter][0] if counter else ""
        scale = {"万": "マン", "億": "オク", "兆": "チョウ"}.get(great, "")
        return f"{number_in_kana(number)}テン{digits}{scale}{name}"

    return _NUMBER.sub(said, text)
