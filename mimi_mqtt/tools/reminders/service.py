"""Sets, lists, changes and cancels timers, alarms and reminders, for language models and the command line."""

import asyncio
import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from mimi_mqtt.errors import ReminderError, ReminderStale
from mimi_mqtt.events import Publish, ReminderChanged, unheard
from mimi_mqtt.providers.durations import spoken_duration
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.reminders import Kind, ReminderRecord
from mimi_mqtt.tools.reminders.ports import ReminderRows
from mimi_mqtt.tools.reminders.recurrence import YEARS, Rule, parse_rule, to_utc, upcoming
from mimi_mqtt.tools.reminders.schedule import EXPIRES_S, scheduled, zone_of
from mimi_mqtt.tools.reminders.texts import named

MAX_TIMER_S: Final = 24 * 3_600
"""Longest timer, in seconds."""
MAX_PER_DEVICE: Final = 50
"""Timers, alarms and reminders of one device at once, those included that are still to be told."""
MAX_IN_ALL: Final = 50_000
"""Timers, alarms and reminders of all devices at once."""
MAX_TEXT_CHARS: Final = 200
"""Longest text of a reminder, and longest name of a timer."""
MAX_SHOWN: Final = 8
"""Most occurrences of a repetition that are told at once."""
NO_REPETITION: Final = ("none", "never", "once")
"""Words with which a change ends a repetition."""

_ID_DIGITS: Final = (4, 4, 5, 6, 8)
"""Length of an id, by attempt: as short as the number of others allows, as people say it."""
_STALE: Final = "it was changed or was due at this moment; list them and try again"
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


@dataclass(frozen=True, slots=True)
class Plan:
    """The occurrences that a reminder would have: its time zone, its rule as it is kept ("" for none), and
    the next times in UTC."""

    zone: str
    rule: str
    due: Sequence[datetime]


def local_zone(configured: str | None) -> str:
    """The name of the time zone of people and devices: the configured one, else this machine's."""
    if configured:
        return configured
    from tzlocal import get_localzone_name

    try:
        name = get_localzone_name()
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # a machine without a zone that has a name
        return "Etc/UTC"
    return name


def utc_now() -> datetime:
    """The present moment by the system's clock."""
    return datetime.now(UTC)


def _nothing_changed() -> None: ...


def _nothing_to_note(reminder_id: str) -> None:
    del reminder_id


class Reminders:
    """The timers, alarms and reminders of all devices, in `rows`.

    Times are in the zone called `zone` unless told otherwise. `changed` is called when something may be due
    sooner than before, `timer_set` and `timer_gone` with the id of a timer that is new or cancelled. With
    an `author` the audit has an entry of the change. `publish` takes the events of changes. Every method
    raises ReminderError, which says what is allowed, and StoreError.
    """

    def __init__(
        self,
        rows: ReminderRows,
        zone: str,
        *,
        now: Callable[[], datetime] = utc_now,
        chance: random.Random | None = None,
        publish: Publish = unheard,
    ) -> None:
        self._rows = rows
        self._publish = publish
        self.zone = zone
        self.now = now
        self._chance = chance or random.Random(os.urandom(16))
        self.changed: Callable[[], None] = _nothing_changed
        self.timer_set: Callable[[str], None] = _nothing_to_note
        self.timer_gone: Callable[[str], None] = _nothing_to_note

    # ── setting ──────────────────────────────────────────────────────────────────────────────────────────

    async def set_timer(
        self,
        device_id: str,
        seconds: int,
        label: str = "",
        *,
        expires_s: int | None = None,
        author: Author | None = None,
    ) -> ReminderRecord:
        """Starts a timer; one label is given once a device."""
        if not 1 <= seconds <= MAX_TIMER_S:
            raise ReminderError("a timer runs from one second to twenty-four hours")
        label = _text(label)
        if label:
            for other in await self._rows.list(device_id):
                running = other.kind == "timer" and other.due_at is not None
                if running and other.text.casefold() == label.casefold():
                    raise ReminderError(
                        f"there is a timer called {label} already; cancel it or choose another"
                    )
        now = self.now()
        record = ReminderRecord(
            id="", device_id=device_id, kind="timer", text=label, due_at=now + timedelta(seconds=seconds),
            created_at=now, expires_s=EXPIRES_S["timer"] if expires_s is None else expires_s,
            duration_s=seconds,
        )  # fmt: skip
        added = await self._add(record, author)
        self.timer_set(added.id)
        self._tell(added, "set")
        return added

    async def set_reminder(
        self,
        device_id: str,
        at: str,
        text: str = "",
        repeat: str = "",
        *,
        zone: str | None = None,
        owner: str | None = None,
        expires_s: int | None = None,
        author: Author | None = None,
    ) -> ReminderRecord:
        """Sets a reminder, or an alarm where there is no text.

        `at` is local time such as 2026-11-28T09:00, or 09:00 for the next time that it is nine; `repeat` a
        rule or one of `recurrence.WORDS`.
        """
        text = _text(text)
        kind: Kind = "reminder" if text else "alarm"
        now = self.now()
        record = ReminderRecord(
            id="", device_id=device_id, kind=kind, text=text, due_at=None, created_at=now, owner=owner,
            zone=self.zone if zone is None else zone,
            expires_s=EXPIRES_S[kind] if expires_s is None else expires_s,
        )  # fmt: skip
        wall = _wall(at, record.zone, now)
        rule = parse_rule(repeat) if repeat.strip() and repeat.strip().lower() not in NO_REPETITION else None
        added = await self._add(await _scheduled(record, wall, rule, now), author)
        self._tell(added, "set")
        return added

    async def _add(self, record: ReminderRecord, author: Author | None) -> ReminderRecord:
        for digits in _ID_DIGITS:
            named = replace(record, id=str(self._chance.randrange(10 ** (digits - 1), 10**digits)))
            problem = await self._rows.add(
                named, most_of_device=MAX_PER_DEVICE, most=MAX_IN_ALL, author=author
            )
            if problem is None:
                return named
            if problem == "device":
                raise ReminderError(
                    f"there are {MAX_PER_DEVICE} timers and reminders already; cancel one first"
                )
            if problem == "all":
                raise ReminderError(f"the server keeps {MAX_IN_ALL} reminders already, which is its most")
        raise ReminderError("no number is free for another reminder; try again")

    # ── reading, changing, cancelling ────────────────────────────────────────────────────────────────────

    async def get(self, reminder_id: str) -> ReminderRecord | None:
        """The one with that id, also when it has ended."""
        return await self._rows.get(reminder_id)

    async def list(self, device_id: str | None = None, *, ended: bool = False) -> Sequence[ReminderRecord]:
        """Those of a device, or of all, soonest first; `ended`: those of the last days as well."""
        return await self._rows.list(device_id, ended=ended)

    async def find(self, device_id: str | None, which: str) -> ReminderRecord:
        """The one that `which` names: its id, its text, a part of its text that no other has, its time of day
        such as 07:30, or the kind that there is only one of; empty: the only one there is.

        Those that were due and are still to be told are not running any more and not found.
        """
        running = [record for record in await self._rows.list(device_id) if record.due_at is not None]
        if not running:
            raise ReminderError("no timers, alarms or reminders are running")
        wanted = " ".join(which.split()).casefold()
        fitting: Sequence[ReminderRecord] = running
        if wanted:
            tests: Sequence[Callable[[ReminderRecord], bool]] = (
                lambda record: record.id == wanted,
                lambda record: record.text.casefold() == wanted,
                lambda record: title(record).casefold() == wanted,
                lambda record: record.kind == wanted,
                lambda record: record.wall is not None and _same_clock(record.wall, wanted),
                lambda record: wanted in record.text.casefold(),
            )
            fitting = next((found for test in tests if (found := [*filter(test, running)])), ())
        if len(fitting) != 1:
            names = "; ".join(f"{record.id}: {title(record)}" for record in (fitting or running)[:8])
            raise ReminderError(f"say which one; there are: {names}")
        return fitting[0]

    async def change(
        self,
        record: ReminderRecord,
        *,
        at: str = "",
        text: str | None = None,
        repeat: str = "",
        zone: str | None = None,
        author: Author | None = None,
    ) -> ReminderRecord:
        """Changes what is given. `at` may be a time of day alone: the day, or the repetition, stays as it is;
        a `repeat` of NO_REPETITION ends the repetition."""
        if record.wall is None and (at or repeat or zone is not None):
            raise ReminderError("a timer has no time of day: cancel it and set another one")
        if record.ended_at is not None:
            raise ReminderError("it has ended: set another one")
        if not at and not repeat and text is None and zone is None:
            raise ReminderError("say what to change: the time, the text or the repetition")
        now = self.now()
        changed = record if text is None else _with_text(record, _text(text))
        if record.wall is not None and (at or repeat or zone is not None):
            changed = replace(changed, zone=record.zone if zone is None else zone)
            rule = parse_rule(record.rule) if record.rule else None
            if repeat:
                rule = None if repeat.strip().lower() in NO_REPETITION else parse_rule(repeat)
            wall = record.wall
            if _CLOCK.fullmatch(at.strip()):
                wall = datetime.combine(wall.date(), _clock(at.strip()))
                if rule is None and wall <= now.astimezone(zone_of(changed.zone)).replace(tzinfo=None):
                    wall = _wall(at, changed.zone, now)
            elif at:
                wall = _wall(at, changed.zone, now)
            if rule is not None and at:
                # What the time says, the rule must not say otherwise.
                lists = tuple(each for each in rule.lists if each[0] not in ("BYHOUR", "BYMINUTE"))
                rule = replace(rule, lists=lists)
            changed = await _scheduled(changed, wall, rule, now)
        if author is None:
            written = next(iter(await self._rows.replace([changed])), None)
        else:
            written = await self._rows.change(record, changed, author)
        if written is None:
            raise ReminderStale(_STALE)
        self._tell(written, "changed")
        return written

    async def cancel(
        self, record: ReminderRecord, *, unchanged: bool = False, author: Author | None = None
    ) -> None:
        """Deletes one, with what is still to be told of it; `unchanged`: only as long as it is as `record`
        says."""
        if unchanged and not await self._rows.delete(record.id, author, version=record.version):
            raise ReminderStale(_STALE)
        if not unchanged and not await self._rows.delete(record.id, author):
            raise ReminderStale("it is gone already")
        self.timer_gone(record.id)
        self._tell(record, "cancelled")

    def _tell(self, record: ReminderRecord, change: str) -> None:
        self.changed()
        self._publish(ReminderChanged(device_id=record.device_id, reminder_id=record.id, change=change))

    # ── occurrences ──────────────────────────────────────────────────────────────────────────────────────

    async def planned(self, at: str, repeat: str = "", *, zone: str | None = None) -> Plan:
        """The occurrences that a reminder would have; nothing is set. The arguments are those of
        `set_reminder`."""
        now, name = self.now(), self.zone if zone is None else zone
        wall = _wall(at, name, now)
        rule = parse_rule(repeat) if repeat.strip() and repeat.strip().lower() not in NO_REPETITION else None
        record = ReminderRecord(
            id="", device_id="", kind="alarm", text="", due_at=None, created_at=now, zone=name, expires_s=0
        )
        await _scheduled(record, wall, rule, now)
        return Plan(name, "" if rule is None else str(rule), await self._due(wall, rule, name, now))

    async def occurrences(self, record: ReminderRecord) -> Sequence[datetime]:
        """The next times that a record is due, in UTC, at most `MAX_SHOWN`."""
        if record.due_at is None:
            return ()
        if record.wall is None or not record.rule:
            return (record.due_at,)
        return await self._due(record.wall, parse_rule(record.rule), record.zone, self.now())

    async def _due(self, wall: datetime, rule: Rule | None, zone: str, now: datetime) -> Sequence[datetime]:
        if rule is None:
            return (to_utc(wall, zone_of(zone)),)
        found = await asyncio.to_thread(upcoming, rule, wall, zone_of(zone), now, MAX_SHOWN)
        return [each.due for each in found]


async def _scheduled(
    record: ReminderRecord, wall: datetime, rule: Rule | None, now: datetime
) -> ReminderRecord:
    """As `schedule.scheduled`; in a thread, as it takes a fifth of a second to see that a rule is never
    due."""
    if rule is None:
        return scheduled(record, wall, rule, now)
    return await asyncio.to_thread(scheduled, record, wall, rule, now)


def title(record: ReminderRecord) -> str:
    """A record in a few English words: `pasta timer`, `timer for 5 minutes`, `7:30 alarm`."""
    if record.kind == "timer":
        return named(record.text) if record.text else f"timer for {spoken_duration(record.duration_s)}"
    when = f"{record.wall:%H:%M}" if record.wall is not None else ""
    if record.kind == "alarm":
        return f"{when} alarm" + (f" {record.text}" if record.text else "")
    return f"{when} reminder {record.text}"


def _with_text(record: ReminderRecord, text: str) -> ReminderRecord:
    if record.kind == "reminder" and not text:
        raise ReminderError("a reminder needs a text")
    return replace(record, text=text)


def _text(text: str) -> str:
    plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if len(plain) > MAX_TEXT_CHARS:
        raise ReminderError(f"the text has at most {MAX_TEXT_CHARS} characters")
    return plain


def _clock(text: str) -> time:
    match = _CLOCK.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return time(int(match[1]), int(match[2]), int(match[3] or 0))
    except ValueError:
        raise ReminderError(f"{text[:20]!r} is no time of day such as 07:30") from None


def _same_clock(wall: datetime, text: str) -> bool:
    return _CLOCK.fullmatch(text) is not None and wall.time() == _clock(text)


def _wall(text: str, zone_name: str, now: datetime) -> datetime:
    """The wall time in `text`; a time of day alone is the next one."""
    text = text.strip()
    zone = zone_of(zone_name)
    here = now.astimezone(zone)
    if _CLOCK.fullmatch(text):
        clock = _clock(text)
        today = datetime.combine(here.date(), clock)
        passed = today.replace(tzinfo=zone).astimezone(UTC) <= now
        return today + timedelta(days=1) if passed else today
    try:
        if len(text) <= 10:
            date.fromisoformat(text)
            raise ReminderError(f"{text} needs a time of day: write {text}T09:00")
        found = datetime.fromisoformat(text)
        if found.year not in YEARS:
            raise ValueError
    except ValueError:
        example = f"{here:%Y-%m-%dT%H:%M}"
        raise ReminderError(
            f"{text[:40]!r} is no local time: write it like now, {example}, or 07:30"
        ) from None
    if found.tzinfo is not None:
        found = found.astimezone(zone)
    return found.replace(tzinfo=None, microsecond=0, fold=0)
