"""The words of one language about alarms and reminders, as the offline assistant needs them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from re import Match
from typing import Any, Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import unmarked

Rewrites = Sequence[tuple[str, str | Callable[[Match[str]], str]]]
"""Patterns, and what is written in place of what they match."""

REPLIES: Final = ("set", "changed", "when", "past", "nothing", "removed", "which")
"""Replies about reminders: one is set, one is changed, a question for its time, the time is past, there is
none, one is removed, a question which one is meant."""

_PATTERNS: Final = (
    "noun", "remind", "command", "every", "daily", "weekdays", "weekends", "today", "overmorrow", "before_day",
    "before_time", "after_time", "before_delay", "after_delay", "lead", "trail", "change", "show",
)  # fmt: skip


@dataclass(frozen=True)
class ReminderWords:
    """Patterns over the text as `Pack.plain` makes it, with times of day as `@7:30`; and what is said.

    `noun`: a reminder; `remind`: the order to remind, with a time or without. To find what somebody wants to
    be reminded of, `command` and all words for times are taken away, with what is before and after them, then
    `lead` at the beginning and `trail` at the end; `rewrites` make of the rest what can be said alone.

    `days` has Monday first; with `every` one is each week's. `change`: to move one to another time; `show`: a
    question for those that are set.

    `said_*` are days as they are said before `Pack.at`: `{day}` is a date, `{days}` names out of `names`,
    which `joint` joins. `alarm` and `reminder` are entries of a list.
    """

    noun: str
    remind: str
    command: str
    every: str
    daily: str
    weekdays: str
    weekends: str
    today: str
    overmorrow: str
    days: tuple[str, ...]
    before_day: str
    before_time: str
    after_time: str
    before_delay: str
    after_delay: str
    lead: str
    trail: str
    change: str
    show: str
    names: tuple[str, ...]
    joint: str
    said_today: str
    said_tomorrow: str
    said_on: str
    said_daily: str
    said_weekdays: str
    said_weekends: str
    said_every: str
    alarm: str
    reminder: str
    replies: Mapping[str, str]
    rewrites: Rewrites = ()

    def unmarked(self) -> "ReminderWords":
        """The same for texts without the marks of the letters."""
        plain: dict[str, Any] = {name: unmarked(getattr(self, name)) for name in _PATTERNS}
        return replace(self, days=tuple(map(unmarked, self.days)), **plain)
