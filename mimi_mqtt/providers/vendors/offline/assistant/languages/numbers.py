"""Numbers in words as digits: `einundzwanzig Minuten` becomes `21 Minuten`, 二十一分 becomes 21分.

The words are those of the Unicode CLDR, in all their forms (package unicode-rbnf), for 0 to 999; thousands and
millions are put together from them. Making them takes up to a quarter of a second a language, once: call
`reader` from a thread.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from re import Pattern
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numerals import Numerals

_MOST: Final = 999
_LONGEST: Final = 12
"""Words, or characters in a script without spaces, that one number below a thousand has at most."""
_HYPHENS: Final = re.compile(r"(?<=[^\W\d])-(?=[^\W\d])")


def unmarked(text: str) -> str:
    """`text` without the marks of its letters: `muoi phut` of `mười phút`."""
    letters = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the numbers of one language. `words` has the value of each number in words, in lower case.

    `scales` are the words for thousand and million, `joins` those between them and what follows; `glued`
    matches a number of which thousands are a part of the word. `numerals` are read before the words.
    """

    words: Mapping[str, int]
    scales: Mapping[str, int]
    joins: frozenset[str]
    glued: Pattern[str] | None
    numerals: Numerals | None
    spaced: bool
    longest: int

    def unmarked(self) -> "Reader":
        """The same for words that are written without the marks of their letters."""
        return replace(
            self,
            words={unmarked(word): value for word, value in self.words.items()},
            scales={unmarked(word): value for word, value in self.scales.items()},
            joins=frozenset(map(unmarked, self.joins)),
        )

    def digits(self, text: str) -> str:
        """`text` (lower case) with its numbers in digits."""
        return self._spaced(text) if self.spaced else self._unspaced(text)

    def _spaced(self, text: str) -> str:
        said = _HYPHENS.sub(" ", text).split()
        if self.glued is not None:
            said = [part for word in said for part in self._parts(word)]
        written: list[str] = []
        at = 0
        while at < len(said):
            value, length = self._number(said, at)
            written.append(str(value) if length else said[at])
            at += length or 1
        return " ".join(written)

    def _parts(self, word: str) -> Sequence[str]:
        """`zweitausendfünfhundert` in three; any other word as it is."""
        match = self.glued.fullmatch(word) if self.glued is not None else None
        parts = [part for part in match.groups() if part] if match else []
        return parts if all(part in self.words or part in self.scales for part in parts) and parts else [word]

    def _number(self, said: Sequence[str], at: int) -> tuple[int, int]:
        """The value of the number that begins at the word `at`, and its length in words."""
        total = length = 0
        smallest = 0  # the scale before: only smaller numbers may follow it
        while True:
            begin = at + length
            if smallest and begin < len(said) and said[begin] in self.joins:
                begin += 1
            value, words = self._group(said, begin)
            end = begin + words
            scale = self.scales.get(said[end], 0) if end < len(said) else 0
            if not words and (length or not scale):
                return total, length
            if smallest and (scale or value) >= smallest:
                return total, length
            total += (value if words else 1) * (scale or 1)
            length = end - at + (1 if scale else 0)
            if not scale:
                return total, length
            smallest = scale

    def _group(self, said: Sequence[str], at: int) -> tuple[int, int]:
        """The value of the longest number below a thousand that begins at the word `at`, and its length."""
        for length in range(min(self.longest, len(said) - at), 0, -1):
            value = self.words.get(" ".join(said[at : at + length]))
            if value is not None:
                return value, length
        digits = said[at] if at < len(said) else ""
        return (int(digits), 1) if digits.isdecimal() and int(digits) <= _MOST else (0, 0)

    def _unspaced(self, text: str) -> str:
        text = text if self.numerals is None else self.numerals.replaced(text)
        written: list[str] = []
        at = 0
        while at < len(text):
            for length in range(min(self.longest, len(text) - at), 0, -1):
                value = self.words.get(text[at : at + length])
                if value is not None:
                    written.append(str(value))
                    at += length
                    break
            else:
                written.append(text[at])
                at += 1
        return "".join(written)


@cache
def reader(
    language: str,
    *,
    spaced: bool = True,
    also: Callable[[], Mapping[str, int]] = dict,
    thousands: tuple[str, ...] = (),
    millions: tuple[str, ...] = (),
    joins: frozenset[str] = frozenset(),
    glued: str = "",
    numerals: Numerals | None = None,
    without: frozenset[str] = frozenset(),
) -> Reader:
    """The reader of `language`. `also` has further words, `without` those that mean something else too."""
    from unicode_rbnf import RbnfEngine

    engine = RbnfEngine.for_language(language)
    words: dict[str, int] = {}
    for number in range(_MOST + 1):
        for form in engine.format_number(number).text_by_ruleset.values():
            said = _HYPHENS.sub(" ", form.replace("\xad", "").lower()) if spaced else form
            if said and not said.isdecimal():
                words.setdefault(" ".join(said.split()), number)
    words |= also()
    for word in without:
        words.pop(word, None)
    longest = max(len(word.split()) if spaced else len(word) for word in words)
    return Reader(
        words,
        dict.fromkeys(thousands, 1_000) | dict.fromkeys(millions, 1_000_000),
        joins,
        re.compile(glued) if glued else None,
        numerals,
        spaced,
        min(longest, _LONGEST),
    )
