"""Numbers in words as digits: `einundzwanzig Minuten` becomes `21 Minuten`, 二十一分 becomes 21分.

The words are those of the Unicode CLDR, in all their forms (package unicode-rbnf), for 0 to 999, and whole
thousands. Making them takes up to a quarter of a second a language, once: call `reader` from a thread.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

_MOST: Final = 999
_LONGEST: Final = 6
"""Words, or characters in a script without spaces, that one number has at most."""
_HYPHENS: Final = re.compile(r"(?<=[^\W\d])-(?=[^\W\d])")
_DIGITS: Final = str.maketrans("０１２３４５６７８９：．，％＋－×÷", "0123456789:.,%+-×÷")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the numbers of one language. `words` has the value of each number in words, in lower case."""

    words: Mapping[str, int]
    thousands: Mapping[str, int]
    spaced: bool
    longest: int

    def digits(self, text: str) -> str:
        """`text` (lower case) with its numbers in digits."""
        text = text.translate(_DIGITS)
        return self._spaced(text) if self.spaced else self._unspaced(text)

    def _spaced(self, text: str) -> str:
        said = _HYPHENS.sub(" ", text).split()
        written: list[str] = []
        at = 0
        while at < len(said):
            value, length = self._longest(said, at)
            if length == 0 and said[at] in self.thousands:
                value = 1  # "thousand" alone
            elif length == 0:
                written.append(said[at])
                at += 1
                continue
            at += length
            if at < len(said) and said[at] in self.thousands:
                value *= self.thousands[said[at]]
                at += 1
                rest, length = self._longest(said, at)
                value, at = value + (rest if length and rest < 1_000 else 0), at + length
            written.append(str(value))
        return " ".join(written)

    def _longest(self, said: list[str], at: int) -> tuple[int, int]:
        """The value of the longest number that begins at the word `at`, and its length in words."""
        for length in range(min(self.longest, len(said) - at), 0, -1):
            value = self.words.get(" ".join(said[at : at + length]))
            if value is not None:
                return value, length
        return 0, 0

    def _unspaced(self, text: str) -> str:
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
    return Reader(words, dict.fromkeys(thousands, 1_000), spaced, min(longest, 2 * _LONGEST))
