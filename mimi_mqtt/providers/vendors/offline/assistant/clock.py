"""Time and date as they are spoken, and times of day as they are understood. Pure."""

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.numbers import in_words, read_number

_TIME: Final = re.compile(r"\b(?:at|for|to|by) (?P<time>.+)$")
_HALVES: Final = (
    (re.compile(r"\b(?:a\.? ?m|morning)\b"), 0),
    (re.compile(r"\b(?:p\.? ?m|afternoon|evening|tonight|night)\b"), 12),
)
_BEFORE_HOUR: Final = {"half": 30, "quarter": 15}
_AFTER_TIME: Final = frozenset(
    (
        "am",
        "pm",
        "a",
        "p",
        "m",
        "o'clock",
        "oclock",
        "in",
        "at",
        "tomorrow",
        "tonight",
        "today",
        "sharp",
        "please",
        "to",
        "for",
        "and",
        "on",
    )
)


def spoken_time(now: datetime) -> str:
    """`four twenty-five in the afternoon`."""
    if now.minute == 0 and now.hour in (0, 12):
        return "midnight" if now.hour == 0 else "noon"
    hour = in_words((now.hour - 1) % 12 + 1)
    if now.minute == 0:
        clock = f"{hour} o'clock"
    elif now.minute < 10:
        clock = f"{hour} oh {in_words(now.minute)}"
    else:
        clock = f"{hour} {in_words(now.minute)}"
    return f"{clock} {_part_of_day(now.hour)}"


def _part_of_day(hour: int) -> str:
    if hour < 12:
        return "in the morning"
    if hour < 18:
        return "in the afternoon"
    return "in the evening" if hour < 22 else "at night"


def next_time(text: str, now: datetime) -> datetime | None:
    """The next time that `text` tells, such as `set an alarm for half past seven`; None when it tells none.

    An hour without morning or evening is the next of both, and one to wake up at is in the morning.
    """
    match = _TIME.search(text)
    words = match["time"].split() if match else []
    minutes = _read_time(words)
    if minutes is None:
        return None
    half = next((offset for pattern, offset in _HALVES if pattern.search(text)), None)
    if half is None and re.search(r"\bwake\b", text):
        half = 0
    hour, minute = divmod(minutes % (24 * 60), 60)
    if half is not None and 1 <= hour <= 12 and words[0] not in ("noon", "midnight"):
        hour = hour % 12 + half
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    times = [midnight + timedelta(days=days, hours=hour, minutes=minute) for days in (0, 1)]
    if half is None and 1 <= hour <= 12 and words[0] not in ("noon", "midnight"):
        times = [midnight + timedelta(hours=hour % 12 + hours, minutes=minute) for hours in (0, 12, 24, 36)]
    if "tomorrow" in words:
        times = [time for time in times if time.date() > now.date()]
    return next((time for time in times if time > now), None)


def seconds_until(then: datetime, now: datetime) -> int:
    """The seconds between two times, by UTC: clocks may be changed in between."""
    return round((then.astimezone(UTC) - now.astimezone(UTC)).total_seconds())


def _read_time(words: list[str]) -> int | None:
    """The minutes after midnight of `half past seven`, `7:30 am`, `seven oh five`."""
    if words[:1] in (["noon"], ["midnight"]):
        return 12 * 60 if words[0] == "noon" else 0
    words = words[1:] if words[:1] == ["a"] else words
    for offset, sign in (("past", 1), ("to", -1)):
        if offset not in words[1:3]:
            continue
        at = words.index(offset)
        before = _BEFORE_HOUR.get(words[0]) if at == 1 else None
        minutes = before if before is not None else _number(words[: at - (words[at - 1] == "minutes")], 59)
        hour = _number(words[at + 1 : at + 2], 24)
        if minutes is not None and hour is not None:
            return hour * 60 + sign * minutes
    if words and (match := re.fullmatch(r"(\d{1,2})[:.](\d{2})", words[0])):
        return int(match[1]) * 60 + int(match[2]) if int(match[1]) <= 24 and int(match[2]) < 60 else None
    found = read_number(words, 0) if words else None
    if found is None or found[0].denominator != 1 or not 0 <= found[0] <= 24:
        return None
    hour, rest = int(found[0]), words[found[1] :]
    length = next((at for at, word in enumerate(rest) if word in _AFTER_TIME), len(rest))
    if not length:
        return hour * 60
    minutes = _number(rest[1:length] if rest[0] == "oh" else rest[:length], 59)
    return None if minutes is None else hour * 60 + minutes


def _number(words: list[str], most: int) -> int | None:
    """The number that all of `words` are, from 0 to `most`."""
    found: tuple[Fraction, int] | None = read_number(words, 0) if words else None
    if found is None or found[1] != len(words) or found[0].denominator != 1 or not 0 <= found[0] <= most:
        return None
    return int(found[0])


def spoken_date(now: datetime) -> str:
    """`Saturday, the 21st of November 2026`."""
    return f"{now:%A}, the {now.day}{_ordinal(now.day)} of {now:%B} {now.year}"


def _ordinal(day: int) -> str:
    if 10 <= day % 100 <= 20:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
