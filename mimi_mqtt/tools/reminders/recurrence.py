"""Repetition by RFC 5545 recurrence rules, in the wall time of a time zone. Pure.

Rules are evaluated by `dateutil.rrule`, which looks for a match up to the year 9999 and can't be told to stop
before. The Gregorian calendar, weekdays included, repeats every 400 years: so a rule is evaluated as late as
the calendar allows with all of `YEARS` ahead, which bounds the search to some 400 years, a fifth of a second
at worst.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final, Literal

from mimi_mqtt.errors import ReminderError

MAX_RULE_CHARS: Final = 200
"""Longest recurrence rule."""
MAX_INTERVAL: Final = 1_000
"""Greatest INTERVAL of a rule."""
MAX_COUNT: Final = 10_000
"""Greatest COUNT of a rule."""
MAX_VALUES: Final = 31
"""Most values in one list of a rule."""

YEARS: Final = range(1971, 2399)
"""Years of the times that are understood."""

WORDS: Final[Mapping[str, str]] = {
    "hourly": "FREQ=HOURLY",
    "daily": "FREQ=DAILY",
    "weekdays": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
    "weekends": "FREQ=WEEKLY;BYDAY=SA,SU",
    "weekly": "FREQ=WEEKLY",
    "monthly": "FREQ=MONTHLY",
    "yearly": "FREQ=YEARLY",
}
"""Words that are accepted in place of a rule."""
DAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
"""The days of the week, in the order of `datetime.weekday`."""

_FREQUENCIES: Final = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY")
"""In the order of dateutil's constants."""
_PERIODS: Final[Mapping[str, timedelta]] = {
    "WEEKLY": timedelta(weeks=1), "DAILY": timedelta(days=1), "HOURLY": timedelta(hours=1)
}  # fmt: skip
"""The frequencies whose periods are of one length."""
_LAST_YEAR: Final = 9_999
_LATER: Final = (_LAST_YEAR - YEARS[-1]) // 400 * 400
"""Years by which rules are evaluated later: cycles of the calendar."""
_FURTHEST_ZONE: Final = timedelta(days=2)
"""More than any zone's time differs from UTC, and clocks are changed."""
_DAY: Final = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_NUMBER: Final = re.compile(r"[+-]?\d{1,5}")
_UNTIL: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})(Z?))?")
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "BYMONTH": (1, 12), "BYMONTHDAY": (-31, 31), "BYYEARDAY": (-366, 366), "BYWEEKNO": (-53, 53),
    "BYSETPOS": (-366, 366), "BYHOUR": (0, 23), "BYMINUTE": (0, 59),
}  # fmt: skip
_ONLY_WITH: Final[Mapping[str, tuple[str, ...]]] = {
    "BYMONTHDAY": ("YEARLY", "MONTHLY", "DAILY"),
    "BYYEARDAY": ("YEARLY",),
    "BYWEEKNO": ("YEARLY",),
    "BYSETPOS": ("YEARLY", "MONTHLY"),
    "BYMINUTE": ("YEARLY", "MONTHLY", "WEEKLY", "DAILY"),
}
"""Parts that RFC 5545 (section 3.3.10) or the bound on the search allows with some frequencies alone."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A recurrence rule that was checked. `until` is as it is written: naive is wall time."""

    frequency: str
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    days: tuple[tuple[int, int], ...] = ()
    """BYDAY: pairs of an ordinal (0: every) and a day of the week (0: Monday)."""
    lists: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """The other lists by name."""
    week_start: int = 0

    def __str__(self) -> str:
        parts = [f"FREQ={self.frequency}"]
        if self.interval > 1:
            parts.append(f"INTERVAL={self.interval}")
        if self.count is not None:
            parts.append(f"COUNT={self.count}")
        if self.until is not None:
            parts.append(f"UNTIL={self.until:%Y%m%dT%H%M%S}{'Z' if self.until.tzinfo else ''}")
        if self.days:
            parts.append("BYDAY=" + ",".join(f"{nth or ''}{DAYS[day]}" for nth, day in self.days))
        parts += [f"{name}={','.join(map(str, values))}" for name, values in self.lists]
        if self.week_start:
            parts.append(f"WKST={DAYS[self.week_start]}")
        return ";".join(parts)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time at which a rule is due: `wall` in its zone, `due` in UTC. `rule` has the occurrences from this
    one on: COUNT is what is left."""

    wall: datetime
    due: datetime
    rule: Rule


@dataclass(frozen=True, slots=True)
class Progress:
    """The occurrences around a moment: the `latest` that is due by then, and the `next` one."""

    latest: Occurrence | None
    next: Occurrence | None


def parse_rule(text: str) -> Rule:
    """The rule in `text`: RFC 5545's RRULE with or without its name, or one of WORDS.

    Rules that are due more than once an hour are refused. Raises ReminderError, which says what is allowed.
    """
    text = text.strip()
    if len(text) > MAX_RULE_CHARS:
        raise ReminderError(f"a repetition has at most {MAX_RULE_CHARS} characters")
    text = WORDS.get(text.lower(), text).upper().removeprefix("RRULE:").rstrip(";")
    parts: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.strip().partition("=")
        if not equals or not value:
            words = ", ".join(WORDS)
            raise ReminderError(
                f"{part[:40]!r} is no part of a repetition: it is one of {words}, or a rule such as "
                "FREQ=WEEKLY;BYDAY=MO,TH"
            )
        if name in parts:
            raise ReminderError(f"{name[:20]} is there twice in the repetition")
        parts[name] = value.strip()
    rule = _checked(parts)
    if rule.count is not None and rule.until is not None:
        raise ReminderError("a repetition ends by COUNT or by UNTIL, not by both")
    return rule


def _checked(parts: dict[str, str]) -> Rule:
    frequency = parts.pop("FREQ", "")
    if frequency in ("SECONDLY", "MINUTELY"):
        raise ReminderError("a reminder repeats once an hour at most: FREQ=HOURLY is the fastest")
    if frequency not in _FREQUENCIES:
        raise ReminderError(f"FREQ must be one of {', '.join(_FREQUENCIES)}")
    rule = Rule(frequency)
    lists: dict[str, tuple[int, ...]] = {}
    for name, value in parts.items():
        allowed = _ONLY_WITH.get(name)
        if allowed is not None and frequency not in allowed:
            raise ReminderError(f"{name} goes with FREQ={' or FREQ='.join(allowed)}, not with {frequency}")
        match name:
            case "INTERVAL":
                rule = replace(rule, interval=_number(name, value, 1, MAX_INTERVAL))
            case "COUNT":
                rule = replace(rule, count=_number(name, value, 1, MAX_COUNT))
            case "UNTIL":
                rule = replace(rule, until=_until(value))
            case "WKST":
                rule = replace(rule, week_start=_week_start(value))
            case "BYDAY":
                rule = replace(rule, days=_days(value, frequency))
            case "BYSECOND":
                _number(name, value, 0, 0)
            case _ if name in _RANGES:
                lists[name] = _numbers(name, value)
            case _:
                raise ReminderError(
                    f"there is no {name[:20]!r} in a repetition: it may have FREQ, INTERVAL, COUNT, UNTIL, "
                    f"WKST, BYDAY, {', '.join(_RANGES)}"
                )
    if len(lists.get("BYMINUTE", ())) > 1:
        raise ReminderError("BYMINUTE has one value: a reminder repeats once an hour at most")
    others = bool(rule.days) or any(name not in ("BYSETPOS", "BYHOUR", "BYMINUTE") for name in lists)
    if "BYSETPOS" in lists and not others:
        raise ReminderError("BYSETPOS chooses from days: it needs BYDAY or another list beside it")
    return replace(rule, lists=tuple(sorted(lists.items())))


def _number(name: str, text: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise ReminderError(f"{name} must be a number from {least} to {most}, not {text[:20]!r}")
    return int(text)


def _numbers(name: str, text: str) -> tuple[int, ...]:
    least, most = _RANGES[name]
    written = text.split(",")
    if len(written) > MAX_VALUES:
        raise ReminderError(f"{name} has at most {MAX_VALUES} values")
    values = tuple(dict.fromkeys(_number(name, value, least, most) for value in written))
    if least < 0 and 0 in values:
        raise ReminderError(f"{name} counts from 1, or from -1 backwards")
    return values


def _days(text: str, frequency: str) -> tuple[tuple[int, int], ...]:
    written = text.split(",")
    if len(written) > MAX_VALUES:
        raise ReminderError(f"BYDAY has at most {MAX_VALUES} values")
    found: list[tuple[int, int]] = []
    for value in written:
        match = _DAY.fullmatch(value.strip())
        if match is None:
            raise ReminderError(f"BYDAY has days such as MO, or 1MO for the first Monday, not {value[:20]!r}")
        nth = int(match[1] or 0)
        if match[1] and (frequency not in ("MONTHLY", "YEARLY") or not 1 <= abs(nth) <= 53):
            raise ReminderError("BYDAY counts days, such as 1MO or -1FR, with FREQ=MONTHLY or FREQ=YEARLY")
        found.append((nth, DAYS.index(match[2])))
    return tuple(dict.fromkeys(found))


def _week_start(text: str) -> int:
    if text not in DAYS:
        raise ReminderError(f"WKST must be one of {', '.join(DAYS)}")
    return DAYS.index(text)


def _until(text: str) -> datetime:
    match = _UNTIL.fullmatch(text)
    try:
        if match is None or int(match[1]) not in YEARS:
            raise ValueError
        day = datetime(int(match[1]), int(match[2]), int(match[3]))
        clock = time(int(match[4]), int(match[5]), int(match[6])) if match[4] else time(23, 59, 59)
    except ValueError:
        raise ReminderError("UNTIL must be a date such as 20261231 or 20261231T090000") from None
    return datetime.combine(day, clock, UTC if match[7] else None)


def to_utc(wall: datetime, zone: tzinfo) -> datetime:
    """The moment of a wall time. One that clocks skip is as much later as they are put forward, and of two
    the first one counts (RFC 5545, section 3.3.5)."""
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def progress(rule: Rule, start: datetime, zone: tzinfo, now: datetime) -> Progress:
    """The occurrences of `rule` around `now`, of those at or after the wall time `start`.

    `start` gives what the rule leaves out, such as the time of day. Where clocks are changed, an occurrence
    that would not be later than the one before is left out.
    """

    def occurrence(number: int, wall: datetime) -> Occurrence:
        left = rule if rule.count is None else replace(rule, count=rule.count - number)
        return Occurrence(wall, to_utc(wall, zone), left)

    latest: Occurrence | None = None
    passed: tuple[int, datetime] | None = None
    surely_passed = now.replace(tzinfo=None) - _FURTHEST_ZONE
    for number, wall in enumerate(_walls(rule, start, zone)):
        if wall < surely_passed:  # of years of hours, to convert each took seconds
            passed = number, wall
            continue
        if passed is not None:
            latest, passed = occurrence(*passed), None
        found = occurrence(number, wall)
        if found.due > now:
            if latest is not None and found.due <= latest.due:
                continue
            return Progress(latest, found)
        latest = found
    return Progress(latest if passed is None else occurrence(*passed), None)


def upcoming(rule: Rule, start: datetime, zone: tzinfo, now: datetime, most: int) -> list[Occurrence]:
    """The next occurrences of `rule` later than `now`, at most `most`; as `progress` counts them."""
    found: list[Occurrence] = []
    latest: datetime | None = None
    surely_passed = now.replace(tzinfo=None) - _FURTHEST_ZONE
    for number, wall in enumerate(_walls(rule, _later(rule, start, surely_passed), zone)):
        if wall < surely_passed:
            continue
        due = to_utc(wall, zone)
        if latest is not None and due <= latest:
            continue
        latest = due
        if due > now:
            left = rule if rule.count is None else replace(rule, count=rule.count - number)
            found.append(Occurrence(wall, due, left))
            if len(found) == most:
                break
    return found


def first(rule: Rule, start: datetime, zone: tzinfo, now: datetime) -> Occurrence:
    """The first occurrence at or after the wall time `start` that is later than `now`. Raises ReminderError
    when there is none."""
    later = _later(rule, start, now.replace(tzinfo=None) - _FURTHEST_ZONE)
    found = progress(rule, later, zone, now).next
    if found is None:
        raise ReminderError(f"the repetition {rule} is never due from then on")
    return found


def _later(rule: Rule, start: datetime, until: datetime) -> datetime:
    """`start` later by whole intervals, but not later than `until`: from then on the rule has the same
    occurrences. To go through those of many years takes seconds. A rule with COUNT has to count them."""
    if rule.count is not None or start >= until:
        return start
    if (period := _PERIODS.get(rule.frequency)) is not None:
        step = period * rule.interval
        return start + (until - start) // step * step
    months = rule.interval * (12 if rule.frequency == "YEARLY" else 1)
    first_month = start.year * 12 + start.month - 1
    before = until.year * 12 + until.month - 2
    for steps in range((before - first_month) // months, 0, -1):
        year, month = divmod(first_month + steps * months, 12)
        try:
            return start.replace(year=year, month=month + 1)
        except ValueError:  # a month without this day
            continue
    return start


def _walls(rule: Rule, start: datetime, zone: tzinfo) -> Iterator[datetime]:
    """The wall times of the rule."""
    from dateutil.rrule import DAILY, HOURLY, MONTHLY, WEEKLY, YEARLY, rrule, weekday

    lists = dict(rule.lists)
    until = rule.until
    if until is not None and until.tzinfo is not None:
        until = until.astimezone(zone).replace(tzinfo=None)
    if until is not None:
        until = _moved(until, _LATER) if until.year + _LATER <= _LAST_YEAR else None
    frequency: Literal[0, 1, 2, 3, 4]
    match rule.frequency:
        case "YEARLY":
            frequency = YEARLY
        case "MONTHLY":
            frequency = MONTHLY
        case "WEEKLY":
            frequency = WEEKLY
        case "DAILY":
            frequency = DAILY
        case _:
            frequency = HOURLY
    try:
        found = rrule(
            frequency,
            dtstart=_moved(start, _LATER),
            interval=rule.interval,
            wkst=rule.week_start,
            count=rule.count,
            until=until,
            bysetpos=lists.get("BYSETPOS"),
            bymonth=lists.get("BYMONTH"),
            bymonthday=lists.get("BYMONTHDAY"),
            byyearday=lists.get("BYYEARDAY"),
            byweekno=lists.get("BYWEEKNO"),
            byweekday=[weekday(day, nth or None) for nth, day in rule.days] or None,
            byhour=lists.get("BYHOUR"),
            byminute=lists.get("BYMINUTE"),
        )
    except ValueError:  # an hour that an interval of hours never comes to
        return
    for wall in found:
        yield _moved(wall, -_LATER)


def _moved(wall: datetime, years: int) -> datetime:
    """The same day of the calendar in another of its cycles of 400 years."""
    return wall.replace(year=wall.year + years)
