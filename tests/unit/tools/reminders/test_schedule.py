"""What is done about a reminder at a moment."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from mimi_mqtt.errors import ReminderError
from mimi_mqtt.store.reminders import ReminderRecord
from mimi_mqtt.tools.reminders.recurrence import parse_rule
from mimi_mqtt.tools.reminders.schedule import MAX_AHEAD, is_late, marked, scheduled, settled
from tests.fakes.reminders import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TIMER = ReminderRecord("1", "d", "timer", "", NOW + HOUR, NOW, 3_600, duration_s=3_600)
ALARM = ReminderRecord("2", "d", "alarm", "", None, NOW, 3_600, zone="Europe/Berlin")
MORNING = datetime(2026, 11, 28, 7, 30)


def daily(rule: str = "daily") -> ReminderRecord:
    return scheduled(ALARM, MORNING, parse_rule(rule), NOW)


def test_it_is_set_for_the_first_occurrence() -> None:
    weekdays = daily("weekdays")
    assert weekdays.wall == datetime(2026, 11, 30, 7, 30)
    assert weekdays.due_at == datetime.fromisoformat("2026-11-30T06:30+00:00")
    assert weekdays.rule == "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"
    assert scheduled(ALARM, MORNING, None, NOW).rule == ""


@pytest.mark.parametrize(
    ("wall", "problem"),
    [
        (datetime(2026, 11, 27, 12, 59), "is past: it is 2026-11-27 13:00 now in Europe/Berlin"),
        (datetime(2026, 11, 27) + MAX_AHEAD + 2 * DAY, "too far ahead"),
    ],
)
def test_a_time_that_is_not_ahead_is_refused(wall: datetime, problem: str) -> None:
    with pytest.raises(ReminderError, match=problem):
        scheduled(ALARM, wall, None, NOW)


def test_a_zone_that_does_not_exist_is_refused() -> None:
    for zone in ("Mars/Olympus", "", "../etc/passwd", "x" * 300):
        with pytest.raises(ReminderError, match="there is no time zone"):
            scheduled(replace(ALARM, zone=zone), MORNING, None, NOW)


def test_what_is_not_due_is_left_alone() -> None:
    assert marked(TIMER, NOW) is TIMER
    assert marked(replace(TIMER, due_at=None), NOW + DAY).pending_at is None


def test_what_is_due_is_pending_until_its_expiry_and_then_ends() -> None:
    due = marked(TIMER, NOW + HOUR)
    assert (due.pending_at, due.pending_until, due.due_at) == (NOW + HOUR, NOW + 2 * HOUR, None)
    told = settled(due, NOW + HOUR, NOW + HOUR)
    assert (told.pending_at, told.pending_until, told.told_at, told.ended_at) == (
        None,
        None,
        NOW + HOUR,
        NOW + HOUR,
    )


def test_what_is_older_than_its_expiry_is_not_told() -> None:
    dropped = marked(TIMER, NOW + 2 * HOUR)
    assert (dropped.pending_at, dropped.told_at, dropped.ended_at) == (None, None, NOW + 2 * HOUR)


def test_a_repetition_goes_on() -> None:
    alarm = daily()
    assert alarm.due_at is not None
    due = marked(alarm, alarm.due_at)
    assert (due.pending_at, due.due_at) == (alarm.due_at, alarm.due_at + DAY)
    assert settled(due, alarm.due_at, alarm.due_at).ended_at is None


def test_of_fifty_missed_occurrences_the_latest_is_told() -> None:
    alarm = daily()
    assert alarm.due_at is not None
    due = marked(alarm, alarm.due_at + 50 * DAY + timedelta(minutes=20))
    assert (due.pending_at, due.due_at) == (alarm.due_at + 50 * DAY, alarm.due_at + 51 * DAY)
    late = marked(alarm, alarm.due_at + 50 * DAY + 2 * HOUR)
    assert (late.pending_at, late.due_at, late.ended_at) == (None, alarm.due_at + 51 * DAY, None)


def test_a_repetition_ends_with_its_count() -> None:
    alarm = daily("FREQ=DAILY;COUNT=2")
    assert alarm.due_at is not None
    first = marked(alarm, alarm.due_at)
    assert first.rule == "FREQ=DAILY;COUNT=1"
    assert first.due_at is not None
    last = marked(first, first.due_at)
    assert (last.due_at, last.pending_at) == (None, first.due_at)


def test_a_zone_that_is_gone_does_not_keep_it_from_being_due() -> None:
    alarm = replace(daily(), zone="Mars/Olympus")
    assert alarm.due_at is not None
    due = marked(alarm, alarm.due_at)
    assert due.pending_at == alarm.due_at
    assert due.due_at is not None


def test_some_seconds_are_not_late() -> None:
    assert not is_late(NOW, NOW + timedelta(seconds=4))
    assert is_late(NOW, NOW + timedelta(seconds=5))
