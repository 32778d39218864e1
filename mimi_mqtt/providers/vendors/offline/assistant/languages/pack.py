"""The words of one language, as the offline assistant needs them."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from re import Match, Pattern
from typing import Final, NamedTuple

from mimi_mqtt.providers.durations import spoken_duration
from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import Reader, unmarked
from mimi_mqtt.providers.vendors.offline.assistant.languages.reminder_words import ReminderWords, Rewrites
from mimi_mqtt.providers.vendors.offline.assistant.sums import sums_apart

LONGEST_QUESTION: Final = 500
"""Characters of the user's text that are looked at."""

INTENTS: Final = (
    "timer", "alarm", "set", "remind", "cancel", "list", "left", "volume", "brightness", "up", "down", "to", "louder",
    "quieter", "brighter", "darker", "highest", "lowest", "tell", "mute", "unmute", "battery", "time",
    "elsewhere", "date", "tomorrow", "yesterday", "morning", "evening", "wake", "hello", "goodbye", "thanks", "help",
    "name", "how are you", "joke", "again", "never mind",
)  # fmt: skip
"""The patterns of a language: some are parts of a command, others whole ones."""

REPLIES: Final = (
    "greeting", "help", "unknown", "unknown again", "nothing", "thanks", "goodbye", "name", "how are you",
    "never mind", "joke", "how to repeat", "elsewhere", "today", "tomorrow", "yesterday", "sum", "about",
    "zero", "large", "how long", "too long", "no timers", "timer set", "alarm set", "timers", "timer left",
    "no timer", "cancelled", "failed", "volume now", "brightness now", "no volume", "no brightness", "level",
    "battery", "no battery",
)  # fmt: skip
"""The replies of a language."""

_SPACES: Final = re.compile(r"\s+")
_FRACTION: Final = re.compile(r"(\d*) ?([¼½¾])")
_FRACTIONS: Final[Mapping[str, str]] = {"¼": ".25", "½": ".5", "¾": ".75"}
_POWERS: Final = str.maketrans({"²": "^2", "³": "^3"})
_BRACKETS: Final = re.compile(r"[()]")
_CLOSING: Final = re.compile(r"\s+\)")
_REST: Final = re.compile(r"[^\w\s%√*/+^.:'’()×÷−-]")
_DOT: Final = re.compile(r"\.(?!\d)|(?<!\d)\.|:(?!\d)|(?<!\d):|['’]")
_POINT_THOUSANDS: Final = re.compile(r"(?<=\d)[.'’\u202f\xa0 ](?=\d{3}(?![\d.]))")
_COMMA_THOUSANDS: Final = re.compile(r"(?<=\d)[,'’\u202f\xa0 ](?=\d{3}(?![\d,]))")
_COMMA: Final = re.compile(r"(?<=\d),(?=\d)")
_SIGN: Final = re.compile(r"\s*([*/+^×÷√()]|%of)\s*|\s*[-−]\s*(?=[\d(√])")
_X: Final = re.compile(r"(?<=\d)\s*[xх]\s*(?=\d)")
_SUM: Final = re.compile(r"(?:(?:\d+(?:\.\d+)?|[-*/+^√()]|%of)\s*)+")
_PARTS: Final = frozenset("点點점천만억千万萬亿億")
_SIGNS: Final = frozenset(("-", "*", "/", "+", "^", "√", "%of"))
_NUMBER: Final = re.compile(r"(?<![\d.:])\d+(?:\.\d+)?(?![\d.:])")
_WORD: Final = re.compile(r"[^\W_]+")
_WRITTEN_CLOCK: Final = (r"(?<![\d:.@])(\d{1,2}):(\d{2})(?![\d:])", r"@\1:\2")
_CLOCK: Final = re.compile(r"@(\d{1,2})(?::(-?\d{1,2}))?")


class TimeOfDay(NamedTuple):
    """A time as it is said; `either`: nothing tells morning from evening, so that it is the next of both."""

    hour: int
    minute: int
    either: bool


@dataclass(frozen=True)
class Pack:
    """One language.

    `intents` has a pattern for each of INTENTS, over the text as `plain` makes it; `replies` a text or several
    for each of REPLIES. `fractions` rewrite what is said of halves before, and `operators` the words of sums
    after the numbers are digits; `clock` then rewrites times of day as `@7:30`, or `@8:-15` for a quarter to
    eight. `units` has the patterns of hours, minutes and seconds, `percent` that of percent;
    `minus` is said before a negative number. `label` finds the
    name of a timer, the group `label`, in the text as it was said; `reminders` has the words for reminders.
    `decimal_comma`: a comma, not a point, is
    before the fraction. `marked`: its letters have marks that a recogniser may leave out, all of them.

    `at` says a time as in "the alarm rings at …", `time` as an answer, `day` a date without "today is".
    """

    code: str
    read: Callable[[], Reader]
    intents: Mapping[str, str]
    replies: Mapping[str, str | tuple[str, ...]]
    units: tuple[str, str, str]
    percent: str
    minus: str
    at: Callable[[datetime], str]
    time: Callable[[datetime], str]
    day: Callable[[datetime], str]
    repeat: str
    reminders: ReminderWords
    fractions: Rewrites = ()
    operators: Rewrites = ()
    clock: Rewrites = ()
    label: str = ""
    spaced: bool = True
    decimal_comma: bool = True
    marked: bool = False
    _compiled: dict[str, Pattern[str]] = field(default_factory=dict, compare=False)

    def unmarked(self) -> "Pack":
        """The same for texts without the marks of the letters: `hen gio 5 phut`."""
        hours, minutes, seconds = map(unmarked, self.units)
        return replace(
            self,
            read=cache(lambda: self.read().unmarked()),
            intents={intent: unmarked(pattern) for intent, pattern in self.intents.items()},
            units=(hours, minutes, seconds),
            percent=unmarked(self.percent),
            repeat=unmarked(self.repeat),
            reminders=self.reminders.unmarked(),
            fractions=_unmarked(self.fractions),
            operators=_unmarked(self.operators),
            clock=_unmarked(self.clock),
            label=unmarked(self.label),
            _compiled={},
        )

    def plain(self, text: str) -> str:
        """`text` as the patterns see it: lower case, numbers in digits, signs for the words of sums."""
        text = _SPACES.sub(
            " ", _composed(text[:LONGEST_QUESTION])[:LONGEST_QUESTION].lower().replace("ё", "е")
        )
        text = _BRACKETS.sub(r" \g<0> ", text)
        for pattern, written in self.fractions:
            text = self._of(pattern).sub(written, text)
        text = _DOT.sub(" ", _REST.sub(" ", self._points(text)))
        text = _X.sub(" * ", sums_apart(_CLOSING.sub(")", self.read().digits(text))))
        for pattern, written in self.operators:
            text = self._of(pattern).sub(written, text)
        text = _SIGN.sub(lambda sign: f" {sign[1] or '-'} ", text)
        text = text.replace("×", "*").replace("÷", "/")
        return _SPACES.sub(" ", text).strip()

    def _points(self, text: str) -> str:
        """`text` with a point before fractions, and none in thousands."""
        if self.decimal_comma:
            return _COMMA.sub(".", _POINT_THOUSANDS.sub("", text))
        return _COMMA_THOUSANDS.sub("", text)

    def begins_with(self, intent: str, text: str) -> bool:
        """True when `text`, as `plain` makes it, begins with the pattern of `intent`."""
        return self._of(self.intents[intent]).match(text) is not None

    def without(self, intent: str, text: str) -> str:
        """`text` without what matches the pattern of `intent`."""
        return self._of(self.intents[intent]).sub("", text)

    def duration(self, seconds: int) -> str:
        """So many seconds as they are said."""
        return spoken_duration(seconds, self.code)

    def means(self, intent: str, text: str) -> bool:
        """True when `text`, as `plain` makes it, has the pattern of `intent`."""
        return self._of(self.intents[intent]).search(text) is not None

    def seconds(self, text: str) -> int | None:
        """The duration in `text`, in seconds; None when there is none. `2 minutes 30` is two and a half."""
        units = "|".join(self.units)
        total: float | None = None
        for pattern, size in zip(self.units, (3_600, 60, 1), strict=True):
            measure = rf"(\d+(?:\.\d+)?)\s*(?:{pattern})(?:(?: \w{{1,3}})? (\d{{1,2}})(?![\d.:])(?!\s*(?:{units})))?"
            for match in self._of(measure).finditer(text):
                total = (total or 0) + float(match[1]) * size
                if match[2] and size > 1:
                    total += int(match[2]) * size / 60
        return None if total is None else round(total)

    def finds(self, pattern: str, text: str) -> bool:
        """True when `text`, as `plain` makes it, has `pattern`."""
        return self._of(pattern).search(text) is not None

    def removed(self, pattern: str, text: str) -> str:
        """`text` without what matches `pattern`."""
        return _SPACES.sub(" ", self._of(pattern).sub(" " if self.spaced else "", text)).strip()

    def rewritten(self, rewrites: Rewrites, text: str) -> str:
        """`text` with what the patterns of `rewrites` match replaced."""
        for pattern, written in rewrites:
            text = self._of(pattern).sub(written, text)
        return text

    def respelled(self, words: str, spoken: str) -> str:
        """`words`, of a text as `plain` makes it, as they are spelled in `spoken`: together, or each of them."""
        between = r"\W+" if self.spaced else r"\W*"
        pattern = between.join(map(re.escape, words.split() if self.spaced else words))
        match = re.search(pattern, spoken[:LONGEST_QUESTION], re.IGNORECASE) if words else None
        if match is not None:
            return match[0]
        spelled = {word.lower(): word for word in _WORD.findall(spoken[:LONGEST_QUESTION])}
        return " ".join(spelled.get(word, word) for word in words.split())

    def clocked(self, text: str) -> str:
        """`text` with its times of day as `@7:30`."""
        return self.rewritten((_WRITTEN_CLOCK, *self.clock), text)

    def times_of_day(self, text: str) -> Sequence[TimeOfDay]:
        """All times of day in `text` as `plain` makes it; what tells morning from evening counts for each."""
        clocked = self.clocked(text)
        found = (self._time_of_day(clocked, match) for match in _CLOCK.finditer(clocked))
        return [time for time in found if time is not None]

    def time_of_day(self, text: str) -> TimeOfDay | None:
        """The time of day in `text` as `plain` makes it; None when there is none."""
        for pattern, written in (_WRITTEN_CLOCK, *self.clock):
            if (match := _CLOCK.search(text := self._of(pattern).sub(written, text))) is not None:
                return self._time_of_day(text, match)
        return None

    def _time_of_day(self, text: str, match: Match[str]) -> TimeOfDay | None:
        hour, minute = divmod(int(match[1]) * 60 + int(match[2] or 0), 60)
        evening, morning = self.means("evening", text), self.means("morning", text)
        # An alarm clock is to wake up by, unless somebody is reminded of one.
        alarm = self.means("alarm", text) and not self.means("remind", text)
        told = evening or morning or alarm or self.means("wake", text)
        either = 1 <= hour < 12 and match[1][0] != "0" and not told
        if evening and 1 <= hour < 12:
            hour += 12
        elif morning and hour == 12:
            hour = 0
        known = 0 <= hour <= 24 and int(match[2] or 0) < 60
        return TimeOfDay(hour % 24, minute, either) if known else None

    def named(self, spoken: str) -> str:
        """The name that a timer is called by in `spoken`; empty when it has none."""
        match = self._of(self.label).search(spoken[:LONGEST_QUESTION]) if self.label else None
        name = next((group for group in match.groups() if group), "") if match else ""
        plain = self.plain(name)
        is_time = any(map(str.isdecimal, plain)) or any(
            self._of(unit).fullmatch(plain) for unit in self.units
        )
        return "" if is_time else name

    def sum(self, text: str) -> str:
        """The longest sum in `text`, in digits and signs; empty when there is none."""
        # After a thousand that was not read, or a decimal point in words, it is only a part of a sum.
        sums = (match for match in _SUM.finditer(text) if text[: match.start()].rstrip()[-1:] not in _PARTS)
        longest = max((match[0].split() for match in sums), key=len, default=[])
        while longest and (longest[-1] in _SIGNS or longest[-1] == "("):
            longest.pop()
        return " ".join(longest) if _SIGNS.intersection(longest) else ""

    def number(self, text: str) -> float | None:
        """The only number in `text`, else None."""
        found = _NUMBER.findall(text)
        return float(found[0]) if len(found) == 1 else None

    def ends_with_number(self, text: str) -> bool:
        """True when the number in `text` is a percentage, or nearly at the end."""
        return self._of(rf"\d ?(?:%|{self.percent}|(?: \S+){{0,2}}$)").search(text) is not None

    def words_to_repeat(self, spoken: str) -> str | None:
        """The words to be said again, in the user's own spelling; None when that is not asked for."""
        match = self._of(rf"^\W*(?:{self.repeat})(?:\W+(?P<words>.+)|\W*)$").search(spoken[:LONGEST_QUESTION])
        return (match["words"] or "").strip(" \"“”«»「」'") if match else None

    def _of(self, pattern: str) -> Pattern[str]:
        if pattern not in self._compiled:
            self._compiled[pattern] = re.compile(pattern, re.IGNORECASE)
        return self._compiled[pattern]


def _unmarked(rewrites: Rewrites) -> Rewrites:
    return [
        (unmarked(pattern), unmarked(written) if isinstance(written, str) else written)
        for pattern, written in rewrites
    ]


def _composed(text: str) -> str:
    """`text` with full-width characters as the ordinary ones, and with composed letters.

    What that makes of `5²` and `1½` would be 52 and 11⁄2.
    """
    text = _FRACTION.sub(lambda found: f"{found[1] or 0}{_FRACTIONS[found[2]]}", text.translate(_POWERS))
    return unicodedata.normalize("NFKC", text)
