"""Alarms and reminders by voice, in every language: set, listed, changed and cancelled.

What is understood is said in the confirmation; where the time is missing, it is asked for.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack, TimeOfDay
from mimi_mqtt.providers.vendors.offline.assistant.languages.reminder_words import ReminderWords
from mimi_mqtt.providers.vendors.offline.assistant.turn import Action, Say, Turn, Use

_TEXT_CHARS: Final = 200
_MOST_LISTED: Final = 5
"""Entries of a list that are said."""
_CODES: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_WEEK: Final = frozenset(range(7))
_WORKDAYS: Final = frozenset(range(5))
_WEEKEND: Final = _WEEK - _WORKDAYS


def answer(pack: Pack, turn: Turn, text: str) -> Action | None:
    """The action for a turn about alarms or reminders, whose `text` is as `Pack.plain` makes it; None when it is
    about something else."""
    return _Reminding(pack, turn, text).action()


class _Reminding:
    def __init__(self, pack: Pack, turn: Turn, text: str) -> None:
        self._pack = pack
        self._words = pack.reminders
        self._turn = turn
        self._text = text
        self._now = turn.now.replace(tzinfo=None, second=0, microsecond=0)
        noun = pack.finds(self._words.noun, text)
        self._remind = noun or pack.means("remind", text) or pack.finds(self._words.remind, text)
        self._wake = pack.means("wake", text)
        self._alarm = pack.means("alarm", text) and not noun
        self._noun = noun

    def action(self) -> Action | None:
        named = self._noun or self._alarm
        if named and self._pack.means("cancel", self._text):
            return self._cancel()
        at = self._pack.time_of_day(self._text)
        if named and at is not None and self._pack.finds(self._words.change, self._text):
            return self._change(at)
        if named and at is None and self._pack.finds(self._words.show, self._text):
            return self._show()
        asked = named or self._pack.means("remind", self._text)
        if at is not None and (asked or self._pack.finds(self._words.remind, self._text)):
            return self._set_at(at)
        subject = self._subject()
        if self._alarm or self._wake or not self._remind or not subject:
            return None
        seconds = self._pack.seconds(self._text)
        if seconds is not None:
            due = (self._turn.now + timedelta(seconds=max(1, seconds))).replace(tzinfo=None, microsecond=0)
            return self._set(due, subject, "", self._when(due, frozenset()))
        asks = self._noun or self._pack.finds(self._words.command, self._text)
        return self._say("when") if asks else None

    # ── setting ──────────────────────────────────────────────────────────────────────────────────────────

    def _set_at(self, at: TimeOfDay) -> Action:
        days = self._repeated()
        due = self._due(at, days)
        if due is None:
            return self._say("past")
        is_alarm = self._wake or (self._alarm and not self._pack.means("remind", self._text))
        return self._set(due, "" if is_alarm else self._subject(), _rule(days), self._when(due, days))

    def _set(self, due: datetime, subject: str, rule: str, when: str) -> Action:
        done = self._turn.result("set_reminder")
        if done is not None:
            if done.failed:
                return self._failed(done.apology())
            if subject:
                return self._say("set", when=when, text=subject)
            return Say(str(self._pack.replies["alarm set"]).format(at=when), self._pack.code)
        tool = self._turn.tool("set_reminder")
        if tool is None:
            return self._pack_says("no timers")
        time = due.isoformat(timespec="seconds" if due.second else "minutes")
        return Use(tool, {"time": time, "text": subject, "repeat": rule})

    def _due(self, at: TimeOfDay, days: frozenset[int]) -> datetime | None:
        """The time that was said, or the first of its repetitions; None when it is past."""
        hour = at.hour
        offset = self._day()
        if at.either and (days or offset):
            hour += 12 if hour < 7 else 0  # nobody means the night without saying so
        due = self._now.replace(hour=hour, minute=at.minute)
        if days:
            while due <= self._now or due.weekday() not in days:
                due += timedelta(days=1)
        elif offset is None:
            while due <= self._now:
                due += timedelta(hours=12 if at.either else 24)
        else:
            due += timedelta(days=offset)
            if due <= self._now and at.either:
                due += timedelta(hours=12)
            if due <= self._now and self._weekdays():
                due += timedelta(days=7)
        return due if due > self._now else None

    def _day(self) -> int | None:
        """The day that was said, in days from today."""
        words, text = self._words, self._text
        if self._pack.finds(words.overmorrow, text):
            return 2
        # In German, Vietnamese and Spanish the word for tomorrow can be a part of that for the morning.
        if self._pack.means("tomorrow", text) and not self._only_morning():
            return 1
        if days := self._weekdays():
            return (min(days, key=lambda day: (day - self._now.weekday()) % 7) - self._now.weekday()) % 7
        return 0 if self._pack.finds(words.today, text) else None

    def _only_morning(self) -> bool:
        rest = self._pack.without("morning", self._pack.clocked(self._text))
        return not self._pack.means("tomorrow", rest)

    def _weekdays(self) -> frozenset[int]:
        return frozenset(
            day for day, name in enumerate(self._words.days) if self._pack.finds(name, self._text)
        )

    def _repeated(self) -> frozenset[int]:
        """The days of the week of a repetition; empty when there is none."""
        words, text = self._words, self._text
        if self._pack.finds(words.weekdays, text):
            return _WORKDAYS
        if self._pack.finds(words.weekends, text):
            return _WEEKEND
        days = self._weekdays()
        if days and self._pack.finds(words.every, text):
            return days
        return _WEEK if self._pack.finds(words.daily, text) else frozenset()

    def _subject(self) -> str:
        """Returns the text of the reminder, in the user's own spelling where that can be found."""
        pack, words = self._pack, self._words
        gap = " ?" if pack.spaced else r"\s*"
        days = "|".join(words.days)
        text = pack.clocked(self._text)
        units = "|".join(pack.units)
        for pattern in (
            words.command,
            rf"(?:{words.before_time})?{gap}@\d+(?::-?\d*)?{gap}(?:{words.after_time})?",
            rf"(?:{words.before_delay})?{gap}(?:\d+(?:\.\d+)?\s*(?:{units})\s*)+(?:{words.after_delay})?",
            words.weekdays, words.weekends, words.daily,
            rf"(?:{words.before_day})?{gap}(?:{days})",
            words.overmorrow, words.today, pack.intents["tomorrow"], pack.intents["morning"],
            pack.intents["evening"],
        ):  # fmt: skip
            text = pack.removed(pattern, text)
        for _ in range(4):
            text = pack.removed(rf"^(?:{words.lead})|(?:{words.trail})$", text).strip(" 、，。,.:：?？!！")
        text = pack.rewritten(words.rewrites, text)
        return pack.respelled(text, self._turn.spoken)[:_TEXT_CHARS].strip()

    def _when(self, due: datetime, days: frozenset[int]) -> str:
        """A day, or days, and a time as they are said."""
        words, space = self._words, " " if self._pack.spaced else ""
        return f"{_day_words(words, self._pack, due, days, self._now)}{space}{self._pack.at(due)}"

    # ── the others ───────────────────────────────────────────────────────────────────────────────────────

    def _which(self, at: TimeOfDay | None) -> str:
        """A name by which the service finds what is meant."""
        if at is not None:
            return f"{at.hour:02}:{at.minute:02}"
        return "alarm" if self._alarm else "reminder"

    def _cancel(self) -> Action:
        done = self._turn.result("cancel_reminder")
        if done is not None:
            if done.failed:
                return self._failed(done.apology(), "which")
            return Say(f"👍 {done.content}") if self._pack.code == "en" else self._say("removed")
        tool = self._turn.tool("cancel_reminder")
        if tool is None:
            return self._pack_says("no timers")
        return Use(tool, {"which": self._which(self._pack.time_of_day(self._text))})

    def _change(self, at: TimeOfDay) -> Action:
        """Another time for the alarm, or for that of the first of two times."""
        times = self._pack.times_of_day(self._text)
        which = self._which(times[0] if len(times) > 1 else None)
        at = times[-1] if times else at
        # Which half of the day is known from the words, and else that of an alarm clock.
        due = self._now.replace(hour=at.hour, minute=at.minute)
        if at.either and not self._alarm and at.hour < 7:
            due += timedelta(hours=12)
        due += timedelta(days=due <= self._now)
        done = self._turn.result("change_reminder")
        if done is not None:
            if done.failed:
                return self._failed(done.apology(), "which")
            return self._say("changed", when=self._pack.at(due))
        tool = self._turn.tool("change_reminder")
        return (
            self._pack_says("no timers")
            if tool is None
            else Use(tool, {"which": which, "time": f"{due:%H:%M}"})
        )

    def _show(self) -> Action | None:
        done = self._turn.result("list_reminders")
        if done is None:
            tool = self._turn.tool("list_reminders")
            return self._pack_says("no timers") if tool is None else Use(tool, {})
        if done.failed:
            return self._failed(done.apology())
        kind = "alarm" if self._alarm else "reminder"
        entries = [*entries_of(done.content)]
        said = [self._entry(entry) for entry in entries if entry.get("kind") == kind][:_MOST_LISTED]
        if not said and self._alarm:  # who calls a timer an alarm is told of it
            said = [self._timer(entry) for entry in entries if entry.get("kind") == "timer"][:_MOST_LISTED]
        if not said:
            return self._say("nothing")
        joined = "; ".join(said) if self._pack.spaced else "、".join(said)
        return Say(f"🙂 {joined}.", self._pack.code)

    def _entry(self, entry: Mapping[str, Any]) -> str:
        try:
            due = datetime.fromisoformat(str(entry.get("time")))
        except ValueError:
            return str(entry.get("text", ""))
        form = self._words.alarm if entry.get("kind") == "alarm" else self._words.reminder
        when = self._when(due, _days_of(str(entry.get("repeat", ""))))
        return form.format(when=when, text=entry.get("text", ""))

    def _timer(self, entry: Mapping[str, Any]) -> str:
        left = entry.get("seconds_left")
        duration = self._pack.duration(left) if isinstance(left, int) else ""
        label = str(entry.get("label", ""))
        return f"{label}: {duration}" if label else duration

    def _say(self, reply: str, **values: str) -> Say:
        return Say(self._words.replies[reply].format(**values), self._pack.code)

    def _pack_says(self, reply: str) -> Say:
        return Say(str(self._pack.replies[reply]), self._pack.code)

    def _failed(self, apology: Say, reply: str = "") -> Say:
        """An apology with its reason where that is in the user's language."""
        if self._pack.code == "en":
            return apology
        return self._say(reply) if reply else self._pack_says("failed")


def entries_of(listed: str) -> Iterator[Mapping[str, Any]]:
    """The entries of what `list_reminders` answered: a JSON object a line."""
    for line in listed.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry


def _rule(days: frozenset[int]) -> str:
    if not days:
        return ""
    if days == _WEEK:
        return "FREQ=DAILY"
    return f"FREQ=WEEKLY;BYDAY={','.join(_CODES[day] for day in sorted(days))}"


def _days_of(rule: str) -> frozenset[int]:
    """The days of a rule that `_rule` makes; none for another one, of which the next time is said."""
    if rule == "FREQ=DAILY":
        return _WEEK
    codes: Sequence[str] = rule.removeprefix("FREQ=WEEKLY;BYDAY=").split(",")
    return frozenset(map(_CODES.index, codes)) if all(code in _CODES for code in codes) else frozenset()


def _day_words(words: ReminderWords, pack: Pack, due: datetime, days: frozenset[int], now: datetime) -> str:
    if days == _WEEK:
        return words.said_daily
    if days == _WORKDAYS:
        return words.said_weekdays
    if days == _WEEKEND:
        return words.said_weekends
    if days:
        names = words.joint.join(words.names[day] for day in sorted(days))
        return words.said_every.format(days=names)
    away = (due.date() - now.date()).days
    if away in (0, 1):
        return words.said_tomorrow if away else words.said_today
    return words.said_on.format(day=pack.day(due))
