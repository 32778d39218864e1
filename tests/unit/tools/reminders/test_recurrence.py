"""Recurrence rules: what is understood and refused, and when they are due where clocks are changed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from mimi_mqtt.errors import ReminderError
from mimi_mqtt.tools.reminders.recurrence import (
    DAYS,
    MAX_RULE_CHARS,
    WORDS,
    first,
    parse_rule,
    progress,
    to_utc,
    upcoming,
)

BERLIN = ZoneInfo("Europe/Berlin")
FRIDAY = datetime(2026, 11, 27, 7, 30)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Ho_Chi_Minh", "Australia/Lord_Howe", "Africa/Casablanca")


def walls(text: str, start: datetime, number: int, zone: ZoneInfo = BERLIN) -> list[str]:
    """The first occurrences from `start` on."""
    rule, now = parse_rule(text), to_utc(start, zone) - timedelta(seconds=1)
    found = []
    wall = start
    for _ in range(number):
        following = progress(rule, wall, zone, now).next
        if following is None:
            break
        rule, wall, now = following.rule, following.wall, following.due
        found.append(f"{wall:%a %Y-%m-%d %H:%M}")
    return found


@pytest.mark.parametrize("year", [1971, 1985, 1999, 2000, 2026])
@pytest.mark.parametrize("text", ["yearly", "daily", "FREQ=HOURLY;INTERVAL=24", "FREQ=WEEKLY;UNTIL=20300101"])
def test_a_rule_may_begin_long_ago(text: str, year: int) -> None:
    start, now = datetime(year, 5, 3, 9), datetime(2026, 11, 27, tzinfo=UTC)
    found = first(parse_rule(text), start, BERLIN, now)
    assert now < found.due <= now + timedelta(days=366)
    assert found.wall.hour == 9


def test_what_was_due_last_is_found_however_long_ago_and_counted() -> None:
    start, now = datetime(2020, 1, 1, 9), datetime(2026, 11, 27, tzinfo=UTC)
    around = progress(parse_rule("FREQ=DAILY;COUNT=10"), start, BERLIN, now)
    assert around.next is None
    assert around.latest is not None
    assert around.latest.wall == datetime(2020, 1, 10, 9)
    around = progress(parse_rule("FREQ=YEARLY;COUNT=10"), start, BERLIN, now)
    assert around.latest is not None
    assert around.next is not None
    assert (around.latest.wall.year, around.next.wall.year, around.next.rule.count) == (2026, 2027, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily", ["Fri 2026-11-27 07:30", "Sat 2026-11-28 07:30"]),
        ("weekdays", ["Fri 2026-11-27 07:30", "Mon 2026-11-30 07:30"]),
        ("weekends", ["Sat 2026-11-28 07:30", "Sun 2026-11-29 07:30"]),
        ("Weekly", ["Fri 2026-11-27 07:30", "Fri 2026-12-04 07:30"]),
        ("monthly", ["Fri 2026-11-27 07:30", "Sun 2026-12-27 07:30"]),
        ("yearly", ["Fri 2026-11-27 07:30", "Sat 2027-11-27 07:30"]),
        ("hourly", ["Fri 2026-11-27 07:30", "Fri 2026-11-27 08:30"]),
        ("RRULE:FREQ=WEEKLY;BYDAY=MO,TH", ["Mon 2026-11-30 07:30", "Thu 2026-12-03 07:30"]),
        ("freq=weekly;interval=2;byday=mo;", ["Mon 2026-12-07 07:30", "Mon 2026-12-21 07:30"]),
        ("FREQ=MONTHLY;BYDAY=-1FR", ["Fri 2026-11-27 07:30", "Fri 2026-12-25 07:30"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", ["Mon 2026-11-30 07:30", "Thu 2026-12-31 07:30"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1", ["Tue 2026-12-01 07:30", "Fri 2027-01-01 07:30"]),
        ("FREQ=DAILY;BYHOUR=9;BYMINUTE=0;BYSECOND=0", ["Fri 2026-11-27 09:00", "Sat 2026-11-28 09:00"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", ["Tue 2028-02-29 07:30", "Sun 2032-02-29 07:30"]),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO", ["Mon 2027-01-04 07:30", "Mon 2028-01-03 07:30"]),
    ],
)
def test_rules_and_words_are_understood(text: str, expected: list[str]) -> None:
    assert walls(text, FRIDAY, 2) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "hourly, daily"),
        ("every monday", "FREQ=WEEKLY;BYDAY=MO,TH"),
        ("FREQ=MINUTELY;INTERVAL=90", "once an hour at most"),
        ("FREQ=SECONDLY", "once an hour at most"),
        ("FREQ=FORTNIGHTLY", "FREQ must be one of"),
        ("BYDAY=MO", "FREQ must be one of"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL must be a number from 1 to 1000"),
        ("FREQ=DAILY;INTERVAL=999999999", "INTERVAL must be a number"),
        ("FREQ=DAILY;COUNT=-1", "COUNT must be a number"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "not by both"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL must be a date"),
        ("FREQ=DAILY;UNTIL=20260230", "UNTIL must be a date"),
        ("FREQ=DAILY;UNTIL=99991231T235959Z", "UNTIL must be a date"),
        ("FREQ=WEEKLY;BYDAY=1MO", "FREQ=MONTHLY or FREQ=YEARLY"),
        ("FREQ=MONTHLY;BYDAY=99MO", "BYDAY counts days"),
        ("FREQ=WEEKLY;BYDAY=MONDAY", "BYDAY has days such as MO"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "from -31 to 31"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "counts from 1"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "not with WEEKLY"),
        ("FREQ=HOURLY;BYMINUTE=0", "not with HOURLY"),
        ("FREQ=DAILY;BYMINUTE=0,1,2", "once an hour at most"),
        ("FREQ=DAILY;BYSECOND=30", "BYSECOND must be a number from 0 to 0"),
        ("FREQ=MONTHLY;BYSETPOS=1", "needs BYDAY"),
        ("FREQ=DAILY;FREQ=DAILY", "twice"),
        ("FREQ=DAILY;BYEASTER=0", "there is no 'BYEASTER'"),
        ("FREQ=DAILY;BYHOUR=" + ",".join(["1"] * 32), "at most 31 values"),
        ("FREQ=DAILY;" + "X" * MAX_RULE_CHARS, f"at most {MAX_RULE_CHARS} characters"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said(text: str, problem: str) -> None:
    with pytest.raises(ReminderError, match=problem):
        parse_rule(text)


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30;INTERVAL=7",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30,31;BYDAY=MO;BYHOUR=1,2,3",
        "FREQ=HOURLY;INTERVAL=24;BYHOUR=3",
        "FREQ=WEEKLY;INTERVAL=1000;BYDAY=MO;BYMONTH=2",
        "FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6",
        "FREQ=DAILY;UNTIL=20200101",
    ],
)
def test_a_rule_that_is_never_due_is_refused(text: str) -> None:
    with pytest.raises(ReminderError, match="is never due"):
        first(parse_rule(text), FRIDAY, BERLIN, to_utc(FRIDAY, BERLIN))


@pytest.mark.parametrize("year", [1971, 2026, 2100, 2398])
def test_the_search_for_an_occurrence_is_bounded(monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    searched: list[int] = []

    class Watched(rrule.rrule):
        def __init__(self, freq: Literal[0, 1, 2, 3, 4], dtstart: datetime, **parts: Any) -> None:
            searched.append(datetime.max.year - dtstart.year)
            super().__init__(freq, dtstart=dtstart, **parts)

    monkeypatch.setattr(rrule, "rrule", Watched)
    start = datetime(year, 2, 28, 7, 30)
    assert walls("daily", start, 1) == [f"{start:%a %Y-%m-%d %H:%M}"]
    assert searched[0] < 430


def test_the_wall_time_stays_where_clocks_are_changed() -> None:
    sunday = datetime(2026, 3, 28, 7, 30)
    rule, dues = parse_rule("daily"), []
    for day in range(3):
        now = to_utc(sunday + timedelta(days=day), BERLIN) - timedelta(hours=1)
        found = first(rule, sunday, BERLIN, now)
        dues.append(f"{found.due:%d %H:%M}")
    assert dues == ["28 06:30", "29 05:30", "30 05:30"]


def test_a_time_that_clocks_skip_is_due_when_it_would_have_been() -> None:
    found = first(
        parse_rule("daily"), datetime(2026, 3, 29, 2, 30), BERLIN, datetime(2026, 3, 28, tzinfo=UTC)
    )
    assert found.due == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 3:30 on the wall
    after = first(found.rule, found.wall, BERLIN, found.due)
    assert f"{after.wall:%d %H:%M}" == "30 02:30"


def test_of_two_times_that_are_called_the_same_the_first_is_due_alone() -> None:
    start = datetime(2026, 10, 25, 2, 30)
    found = first(parse_rule("daily"), start, BERLIN, datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert found.due == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert f"{first(found.rule, found.wall, BERLIN, found.due).wall:%d %H:%M}" == "26 02:30"


def test_an_hour_that_is_skipped_is_not_due_twice() -> None:
    start = datetime(2026, 3, 29, 0, 30)
    now, dues = to_utc(start, BERLIN) - timedelta(seconds=1), []
    rule, wall = parse_rule("hourly"), start
    for _ in range(4):
        found = first(rule, wall, BERLIN, now)
        rule, wall, now = found.rule, found.wall, found.due
        dues.append(f"{now:%H:%M}")
    assert dues == ["23:30", "00:30", "01:30", "02:30"]


def test_count_is_what_is_left_and_includes_what_was_missed() -> None:
    rule = parse_rule("FREQ=DAILY;COUNT=5")
    around = progress(rule, FRIDAY, BERLIN, to_utc(datetime(2026, 11, 29, 8, 0), BERLIN))
    assert around.latest is not None
    assert around.next is not None
    assert (around.latest.wall.day, str(around.next.rule)) == (29, "FREQ=DAILY;COUNT=2")
    assert len(walls("FREQ=DAILY;COUNT=5", FRIDAY, 9)) == 5


@pytest.mark.parametrize(
    ("until", "number"), [("20261129", 3), ("20261129T060000Z", 2), ("20261129T073000", 3)]
)
def test_until_is_a_day_a_wall_time_or_a_moment(until: str, number: int) -> None:
    assert len(walls(f"FREQ=DAILY;UNTIL={until}", FRIDAY, 9)) == number


NUMBERS = st.integers(-400, 400)
PARTS = st.one_of(
    st.sampled_from(["BYDAY=MO", "BYDAY=1MO,-1SU", "BYDAY=SA,SU", "WKST=SU", "UNTIL=20280229", "COUNT=3"]),
    st.builds(
        lambda name, values: f"{name}={','.join(map(str, values))}",
        st.sampled_from(["INTERVAL", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS", "BYHOUR"]),
        st.lists(NUMBERS, min_size=1, max_size=3),
    ),
)
RULES = st.builds(
    lambda frequency, parts: ";".join([f"FREQ={frequency}", *parts]),
    st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"]),
    st.lists(PARTS, max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(RULES, st.sampled_from(ZONES), st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))
def test_any_rule_is_refused_or_due_later_each_time(text: str, zone_name: str, start: datetime) -> None:
    zone, start = ZoneInfo(zone_name), start.replace(second=0, microsecond=0)
    now = to_utc(start, zone)
    try:
        rule = parse_rule(text)
        found = first(rule, start, zone, now)
    except ReminderError:
        reject()
    for _ in range(3):
        assert parse_rule(str(found.rule)) == found.rule
        assert found.due > now
        assert abs(found.due.astimezone(zone).replace(tzinfo=None) - found.wall) <= timedelta(hours=1)
        now = found.due
        following = progress(found.rule, found.wall, zone, now)
        if following.next is None:
            break
        # A gap of an hour at least, but where the clocks are put forward.
        assert following.next.wall - found.wall >= timedelta(hours=1)
        found = following.next


@settings(max_examples=150, deadline=None)
@given(RULES, st.sampled_from(ZONES), st.datetimes(datetime(2019, 1, 1), datetime(2027, 1, 1)))
def test_a_rule_that_began_long_ago_is_due_as_if_all_of_it_was_gone_through(
    text: str, zone_name: str, start: datetime
) -> None:
    zone, start = ZoneInfo(zone_name), start.replace(second=0, microsecond=0)
    now = datetime(2026, 11, 27, 6, 31, tzinfo=UTC)
    try:
        rule = parse_rule(text)
    except ReminderError:
        reject()
    found = progress(rule, start, zone, now).next
    following = upcoming(rule, start, zone, now, 1)
    assert following == ([] if found is None else [found])
    if found is not None:
        assert first(rule, start, zone, now) == found


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("FREQ=HOURLY;INTERVAL=7", datetime(1971, 1, 1, 3)),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=SU", datetime(1999, 12, 31, 9)),
        ("FREQ=MONTHLY;INTERVAL=5", datetime(1990, 8, 31, 9)),
        ("FREQ=MONTHLY;BYDAY=-1FR", datetime(1990, 8, 31, 9)),
        ("FREQ=YEARLY;INTERVAL=3", datetime(1972, 2, 29, 9)),
        ("FREQ=YEARLY;BYWEEKNO=53", datetime(1980, 1, 31, 9)),
    ],
)
def test_intervals_are_counted_from_where_the_rule_began(text: str, start: datetime) -> None:
    rule, now = parse_rule(text), datetime(2026, 11, 27, tzinfo=UTC)
    assert first(rule, start, BERLIN, now) == progress(rule, start, BERLIN, now).next


@pytest.mark.parametrize(
    "text",
    [
        "hourly",
        "FREQ=DAILY;BYHOUR=7,8,9",
        "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR=7,8,9",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR=7,8,9",
        "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR=7,8,9",
    ],
)
def test_occurrences_of_many_years_are_not_gone_through(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took seconds."""
    searched = 0

    class Counted(rrule.rrule):
        def __iter__(self) -> Iterator[datetime]:
            nonlocal searched
            for found in super().__iter__():
                searched += 1
                yield found

    monkeypatch.setattr(rrule, "rrule", Counted)
    start, now = datetime(1971, 5, 3, 9), datetime(2026, 11, 27, tzinfo=UTC)
    found = first(parse_rule(text), start, BERLIN, now)
    assert upcoming(parse_rule(text), start, BERLIN, now, 1) == [found]
    assert 0 < searched < 2 * 3 * 2 * 366


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = parse_rule(text)
    except ReminderError:
        return
    assert parse_rule(str(rule)) == rule


def test_words_are_rules() -> None:
    assert {word: str(parse_rule(word)) for word in WORDS} == dict(WORDS)
    assert [datetime(2026, 11, 23 + at).strftime("%a").upper()[:2] for at in range(7)] == list(DAYS)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("FREQ=HOURLY", datetime(2026, 10, 24, 23, 30)), ("FREQ=DAILY", datetime(2027, 3, 26, 2, 30)),
        ("FREQ=WEEKLY;BYDAY=MO,TH;COUNT=5", FRIDAY), ("FREQ=MONTHLY;BYDAY=-1FR", FRIDAY),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", FRIDAY), ("FREQ=DAILY;UNTIL=20261130T000000Z", FRIDAY),
    ],
)  # fmt: skip
def test_upcoming_occurrences_are_those_that_come_one_after_the_other(
    text: str, start: datetime, zone: str
) -> None:
    there = ZoneInfo(zone)
    found = upcoming(parse_rule(text), start, there, to_utc(start, there) - timedelta(seconds=1), 8)
    assert [f"{each.wall:%a %Y-%m-%d %H:%M}" for each in found] == walls(text, start, 8, there)
    assert [each.due for each in found] == sorted({each.due for each in found})


def test_upcoming_occurrences_leave_out_what_is_past() -> None:
    found = upcoming(parse_rule("daily"), FRIDAY - timedelta(days=400), BERLIN, to_utc(FRIDAY, BERLIN), 2)
    assert [each.wall for each in found] == [FRIDAY + timedelta(days=1), FRIDAY + timedelta(days=2)]
