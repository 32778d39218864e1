"""Fuzz targets of reminders: recurrence rules, times, and what is said to the assistant without a model."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from mimi_mqtt.errors import ReminderError
from mimi_mqtt.tools.reminders.recurrence import parse_rule, progress, to_utc
from mimi_mqtt.tools.reminders.service import Reminders
from tests.fakes.reminders import NOW, MemoryRows
from tests.fuzz.target import Target, told_briefly
from tests.unit.providers.vendors.offline.assistant.dialogue import ask

_ZONE = ZoneInfo("Europe/Berlin")
_START = datetime(2026, 3, 28, 2, 30)


def check_rule(data: bytes) -> bool:
    """A recurrence rule: refused briefly, or its occurrences come one after another."""
    try:
        rule = parse_rule(data.decode(errors="replace"))
    except ReminderError as error:
        told_briefly(error)
        return False
    assert parse_rule(str(rule)) == rule
    now = to_utc(_START, _ZONE) - timedelta(seconds=1)
    wall = _START
    for _ in range(3):
        found = progress(rule, wall, _ZONE, now).next
        if found is None:
            break
        assert found.due > now
        assert found.wall >= wall
        rule, wall, now = found.rule, found.wall, found.due
    return True


def check_time(data: bytes) -> bool:
    """The time and the text of a reminder: refused briefly, or ahead and bounded."""
    at, _, text = data.decode(errors="replace").partition("\n")
    reminders = Reminders(MemoryRows(), "Europe/Berlin", now=lambda: NOW)
    try:
        record = asyncio.run(reminders.set_reminder("d", at, text))
    except ReminderError as error:
        told_briefly(error)
        return False
    assert record.due_at is not None
    assert NOW < record.due_at < datetime(2040, 1, 1, tzinfo=UTC)
    assert record.text.isprintable()
    return True


def check_words(data: bytes) -> bool:
    """A sentence to the assistant without a model: an answer in words, whatever it is."""
    answer = asyncio.run(ask(data.decode(errors="replace")))
    assert answer.text
    for tool, arguments in answer.calls:
        if tool == "set_reminder":
            due = datetime.fromisoformat(str(arguments["time"]))
            assert due > datetime(2026, 11, 21, 16, 25)
            parse_rule(str(arguments["repeat"]) or "daily")
    return bool(answer.calls)


TARGETS = (
    Target(
        "reminder-rule",
        check_rule,
        (b"FREQ=WEEKLY;BYDAY=MO,TH;INTERVAL=2", b"FREQ=MONTHLY;BYDAY=-1FR;COUNT=3", b"weekdays"),
        (
            b"FREQ=",
            b"YEARLY",
            b"HOURLY",
            b"UNTIL=20280229T020000Z",
            b"BYMONTHDAY=",
            b"BYSETPOS=",
            b"BYHOUR=",
            b";",
            b",",
        ),
        256,
    ),
    Target(
        "reminder-time",
        check_time,
        (b"2026-11-28T09:00\ncall mum", b"07:30\n", b"2026-11-28T09:00:00+09:00\nx"),
        (b"T", b":", b"-", b"Z", b"+23:59", b"2026", b"\n"),
        256,
    ),
    Target(
        "reminder-words",
        check_words,
        (
            b"remind me tomorrow at nine to call mum",
            "erinnere mich jeden Montag um zehn Uhr an den Müll".encode(),
            "明天九点提醒我给妈妈打电话".encode(),
        ),
        (
            b" at ",
            b"7:30",
            b" every ",
            b"monday",
            "每天".encode(),
            b" um ",
            b"wecker",
            b" move ",
            b"alarm",
            b"99",
        ),
        512,
    ),
)
