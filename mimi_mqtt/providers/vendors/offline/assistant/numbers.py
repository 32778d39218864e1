"""Numbers and durations as people say them: `two hundred and five`, `2.5`, `an hour and a half`. Pure."""

from collections.abc import Sequence
from fractions import Fraction

_SMALL = tuple(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
    """.split()  # noqa: SIM905 - easier to read than twenty quoted words
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_UNITS = {word: value for value, word in enumerate(_SMALL)} | {"fourty": 40, "oh": 0}
_UNITS |= {word: 20 + 10 * index for index, word in enumerate(_TENS)}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_SECONDS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3_600}
_MOST_DIGITS = 15
_MOST_DECIMALS = 4


def read_number(words: Sequence[str], at: int) -> tuple[Fraction, int] | None:
    """The number that begins at `words[at]` and the index after it; None when there is none."""
    sign = 1
    index = at
    if index < len(words) and words[index] in ("minus", "negative", "-"):
        sign, index = -1, index + 1
    found = _read_digits(words, index) or _read_words(words, index)
    if found is None:
        return None
    value, index = found
    if words[index : index + 3] in (["and", "a", "half"], ["and", "one", "half"]):
        value, index = value + Fraction(1, 2), index + 3
    return sign * value, index


def _read_digits(words: Sequence[str], at: int) -> tuple[Fraction, int] | None:
    if at >= len(words) or not words[at][0].isdecimal():
        return None
    whole, _, decimals = words[at].partition(".")
    if not (whole + decimals).isdecimal() or len(words[at]) > _MOST_DIGITS:
        return None
    value, index = Fraction(words[at]), at + 1
    while index < len(words) and words[index] in _SCALES:
        value, index = value * _SCALES[words[index]], index + 1
    return value, index


def _read_words(words: Sequence[str], at: int) -> tuple[Fraction, int] | None:
    total = group = 0
    index = at
    last = ""  # the kind of the word before: a "five twenty" is two numbers
    while index < len(words):
        word = words[index]
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in _UNITS and last in ("", "scale"):
            group += _UNITS[word]
            last = "tens" if word in _TENS or word == "fourty" else "unit"
        elif word in _UNITS and last == "tens" and 1 <= _UNITS[word] <= 9:
            group += _UNITS[word]
            last = "unit"
        elif word == "a" and not last and following in _SCALES:
            group, last = 1, "unit"
        elif word == "hundred" and last in ("unit", "tens") and group < _SCALES["hundred"]:
            group, last = group * _SCALES[word], "scale"
        elif word in _SCALES and word != "hundred" and last:
            total, group, last = total + group * _SCALES[word], 0, "scale"
        elif word == "and" and last == "scale" and following in _UNITS:
            pass
        else:
            break
        index += 1
    if not last:
        return None
    return _read_point(Fraction(total + group), words, index)


def _read_point(value: Fraction, words: Sequence[str], at: int) -> tuple[Fraction, int]:
    if at + 1 >= len(words) or words[at] != "point":
        return value, at
    index, digits = at + 1, ""
    while index < len(words) and _UNITS.get(words[index], 10) < 10 and len(digits) < _MOST_DIGITS:
        digits += str(_UNITS[words[index]])
        index += 1
    return (value + Fraction(int(digits), 10 ** len(digits)), index) if digits else (value, at)


def first_number(words: Sequence[str]) -> Fraction | None:
    """The first number anywhere in `words`."""
    for at in range(len(words)):
        if found := read_number(words, at):
            return found[0]
    return None


def read_duration(words: Sequence[str]) -> int | None:
    """All durations in `words` together, in whole seconds; None when there is none."""
    total = Fraction(0)
    found = False
    at = 0
    while at < len(words):
        step = _read_part(words, at)
        if step is None:
            at += 1
            continue
        seconds, at = step
        total += seconds
        found = True
    return round(total) if found else None


def _read_part(words: Sequence[str], at: int) -> tuple[Fraction, int] | None:
    amount: Fraction
    rest = list(words[at : at + 3])
    if rest[:2] in (["half", "an"], ["half", "a"]):
        amount, index = Fraction(1, 2), at + 2
    elif rest[:2] == ["quarter", "of"] and rest[2:] in (["an"], ["a"]):
        amount, index = Fraction(1, 4), at + 3
    elif number := read_number(words, at):
        amount, index = number
    elif words[at] in ("a", "an"):
        amount, index = Fraction(1), at + 1
    else:
        return None
    unit = words[index] if index < len(words) else ""
    seconds = _SECONDS.get(unit.removesuffix("s"))
    if seconds is None or amount < 0:
        return None
    index += 1
    if list(words[index : index + 3]) == ["and", "a", "half"]:
        amount, index = amount + Fraction(1, 2), index + 3
    return amount * seconds, index


def shown(value: Fraction) -> str:
    """`value` in digits: exact when it has few decimals, else rounded and said to be."""
    rounded = round(value, _MOST_DECIMALS)
    if rounded.denominator == 1:
        text = str(rounded.numerator)
    else:
        text = f"{float(rounded):.{_MOST_DECIMALS}f}".rstrip("0").rstrip(".")
    text = f"minus {text[1:]}" if text.startswith("-") else text
    return text if rounded == value else f"about {text}"


def in_words(number: int) -> str:
    """0 to 99 in words: `twenty-five`."""
    if number < len(_SMALL):
        return _SMALL[number]
    tens, unit = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_SMALL[unit]}" if unit else "")
