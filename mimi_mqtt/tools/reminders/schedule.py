"""Decisions about timers, alarms and reminders: when they are due, and what to do at a moment. Pure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mimi_mqtt.errors import ReminderError
from mimi_mqtt.store.reminders import Kind, ReminderRecord
from mimi_mqtt.tools.reminders.recurrence import Rule, first, parse_rule, progress, to_utc

MAX_AHEAD: Final = timedelta(days=3_660)
"""Furthest time ahead for which something can be set."""
EXPIRES_S: Final[dict[Kind, int]] = {"timer": 24 * 3_600, "alarm": 12 * 3_600, "reminder": 7 * 24 * 3_600}
"""Seconds after its time for which it is worth telling, unless it was set with its own."""
LATE_AFTER_S: Final = 5.0
"""From so many seconds after its time on, it is told together with that time."""


def zone_of(name: str) -> tzinfo:
    """The time zone called `name`. Raises ReminderError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ReminderError(
            f"there is no time zone {name[:64]!r}; it is named such as Europe/Berlin"
        ) from None


def scheduled(record: ReminderRecord, wall: datetime, rule: Rule | None, now: datetime) -> ReminderRecord:
    """`record` for the wall time `wall` in its zone, or the first occurrence of `rule` from then on.

    Raises ReminderError when that is not ahead.
    """
    zone = zone_of(record.zone)
    if rule is None:
        due = to_utc(wall, zone)
        if due <= now:
            here = now.astimezone(zone)
            raise ReminderError(
                f"{wall:%Y-%m-%d %H:%M} is past: it is {here:%Y-%m-%d %H:%M} now in {record.zone}"
            )
    else:
        found = first(rule, wall, zone, now)
        wall, due, rule = found.wall, found.due, found.rule
    if due > now + MAX_AHEAD:
        raise ReminderError(f"{wall:%Y-%m-%d} is too far ahead: at most {MAX_AHEAD.days} days")
    return replace(record, wall=wall, due_at=due, rule="" if rule is None else str(rule))


def marked(record: ReminderRecord, now: datetime) -> ReminderRecord:
    """`record`, due by `now`, with what was due as pending, and its next occurrence as what is due next.

    Of several occurrences that were missed, the latest is pending; one that was pending before no longer is.
    An occurrence that is older than the record's expiry is not told any more: then nothing is pending.
    """
    if record.due_at is None or record.due_at > now:
        return record
    due, record = _advanced(record, record.due_at, now)
    until = due + timedelta(seconds=record.expires_s)
    if until <= now:
        return settled(record, None, now)
    return replace(record, pending_at=due, pending_until=until)


def _advanced(record: ReminderRecord, due: datetime, now: datetime) -> tuple[datetime, ReminderRecord]:
    """When the record was due last, and the record for its next occurrence."""
    if not record.rule or record.wall is None:
        return due, replace(record, due_at=None)
    try:
        zone = zone_of(record.zone)
    except ReminderError:  # a zone that this machine's data no longer has
        zone = UTC
    around = progress(parse_rule(record.rule), record.wall, zone, now)
    latest = due if around.latest is None else around.latest.due
    if around.next is None:
        return latest, replace(record, due_at=None)
    following = around.next
    return latest, replace(record, wall=following.wall, due_at=following.due, rule=str(following.rule))


def settled(record: ReminderRecord, told_at: datetime | None, now: datetime) -> ReminderRecord:
    """`record` with nothing pending: it was told at `told_at`, or dropped (None)."""
    return replace(
        record,
        pending_at=None,
        pending_until=None,
        told_at=record.told_at if told_at is None else told_at,
        ended_at=now if record.due_at is None else None,
    )


def is_late(due: datetime, now: datetime) -> bool:
    """True when what was due at `due` is told with its time."""
    return (now - due).total_seconds() >= LATE_AFTER_S
