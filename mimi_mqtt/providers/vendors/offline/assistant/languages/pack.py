"""The words of one language, as the offline assistant needs them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from re import Pattern
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import Reader

LONGEST_QUESTION: Final = 500
"""Characters of the user's text that are looked at."""

INTENTS: Final = (
    "timer", "remind", "cancel", "list", "volume", "brightness", "up", "down", "louder", "quieter", "brighter",
    "darker", "highest", "lowest", "tell", "mute", "unmute", "battery", "time", "date", "hello", "goodbye",
    "thanks", "help", "name", "how are you", "joke", "never mind",
)  # fmt: skip
"""The patterns of a language: first those that are parts of a command, then whole ones."""

REPLIES: Final = (
    "greeting", "help", "unknown", "unknown again", "nothing", "thanks", "goodbye", "name", "how are you",
    "never mind", "joke", "again", "sum", "zero", "large", "how long", "too long", "no timers", "timer set",
    "timers", "timer left", "no timer", "cancelled", "failed", "volume now", "brightness now", "no volume",
    "no brightness", "level", "battery", "no battery",
)  # fmt: skip
"""The replies of a language."""

_SPACES: Final = re.compile(r"\s+")
_REST: Final = re.compile(r"[^\w\s%√*/+^.:'’()×÷−-]")
_DOT: Final = re.compile(r"\.(?!\d)|(?<!\d)\.|:(?!\d)|(?<!\d):|['’]")
_THOUSANDS: Final = re.compile(r"(?<=\d)[.,'’\u202f\xa0 ](?=\d{3}(?!\d))")
_COMMA: Final = re.compile(r"(?<=\d),(?=\d)")
_SIGN: Final = re.compile(r"\s*([*/+^×÷√]|%of)\s*|(?<=[\d)])\s*[-−]\s*(?=[\d(])")
_X: Final = re.compile(r"(?<=\d)\s*[xх]\s*(?=\d)")
_SUM: Final = re.compile(
    r"(?:√ )?\(?-?\d+(?:\.\d+)?\)?(?: (?:\*|/|\+|-|\^|%of) (?:√ )?\(?-?\d+(?:\.\d+)?\)?)*"
)
_CLOCK: Final = re.compile(r"\b(\d{1,2}):(\d{2})\b")

Rewrites = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Pack:
    """One language.

    `intents` has a pattern for each of INTENTS, over the text as `plain` makes it; `replies` a text or several
    for each of REPLIES. `fractions` rewrite what is said of halves before, and `operators` the words of sums
    after the numbers are digits. `units` has the patterns of hours, minutes and seconds. `decimal_comma`: a
    comma, not a point, is before the fraction.
    """

    code: str
    read: Callable[[], Reader]
    intents: Mapping[str, str]
    replies: Mapping[str, str | tuple[str, ...]]
    units: tuple[str, str, str]
    time: Callable[[datetime], str]
    date: Callable[[datetime], str]
    duration: Callable[[int], str]
    repeat: str
    fractions: Rewrites = ()
    operators: Rewrites = ()
    spaced: bool = True
    decimal_comma: bool = True
    _compiled: dict[str, Pattern[str]] = field(default_factory=dict, compare=False)

    def plain(self, text: str) -> str:
        """`text` as the patterns see it: lower case, numbers in digits, signs for the words of sums."""
        text = _SPACES.sub(" ", text[:LONGEST_QUESTION].lower().replace("ё", "е"))
        for pattern, written in self.fractions:
            text = self._of(pattern).sub(written, text)
        text = _DOT.sub(" ", _REST.sub(" ", self._points(text)))
        text = self.read().digits(text)
        text = _X.sub(" * ", text)
        for pattern, written in self.operators:
            text = self._of(pattern).sub(written, text)
        text = _SIGN.sub(lambda sign: f" {sign[1] or '-'} ", text)
        text = text.replace("×", "*").replace("÷", "/")
        return _SPACES.sub(" ", text).strip()

    def _points(self, text: str) -> str:
        """`text` with a point before fractions, and none in thousands."""
        text = _THOUSANDS.sub("", text)
        return _COMMA.sub("." if self.decimal_comma else "", text)

    def means(self, intent: str, text: str) -> bool:
        """True when `text`, as `plain` makes it, has the pattern of `intent`."""
        return self._of(self.intents[intent]).search(text) is not None

    def seconds(self, text: str) -> int | None:
        """The duration in `text`, in seconds; None when there is none."""
        found = [
            (match, size)
            for pattern, size in zip(self.units, (3_600, 60, 1), strict=True)
            for match in self._of(rf"(\d+(?:\.\d+)?)\s*(?:{pattern})").finditer(text)
        ]
        if not found:
            return None
        return round(sum(float(match[1]) * size for match, size in found))

    def sum(self, text: str) -> str:
        """The sum in `text`, in digits and signs; empty when there is none."""
        found = max((match[0] for match in _SUM.finditer(text)), key=len, default="")
        return found if any(sign in found[1:] for sign in "*/+-^%") or found.startswith("√") else ""

    def number(self, text: str) -> float | None:
        """The only number in `text`, else None."""
        found = re.findall(r"-?\d+(?:\.\d+)?", text)
        return float(found[0]) if len(found) == 1 else None

    def words_to_repeat(self, spoken: str) -> str:
        """What is to be said again, in the user's own spelling; empty when that is not asked for."""
        match = self._of(rf"^\W*(?:{self.repeat})\W+(?P<words>.+)$").search(spoken[:LONGEST_QUESTION])
        return match["words"].strip(" \"“”«»「」'") if match else ""

    @cached_property
    def nothing_else(self) -> Pattern[str]:
        """A text of digits and signs alone."""
        return re.compile(r"[\d\s.:%*/+^()-]+")

    def _of(self, pattern: str) -> Pattern[str]:
        if pattern not in self._compiled:
            self._compiled[pattern] = re.compile(pattern, re.IGNORECASE)
        return self._compiled[pattern]


def clock_in_digits(text: str) -> str:
    """`7:30` as `7 30`, for sums that it is none of."""
    return _CLOCK.sub(r"\1 \2", text)
