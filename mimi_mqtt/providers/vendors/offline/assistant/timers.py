"""Timers, through the tools `set_timer`, `list_timers` and `cancel_timer`."""

import re
from datetime import datetime
from re import Match

from mimi_mqtt.providers.vendors.offline.assistant.clock import next_time, seconds_until, spoken_time
from mimi_mqtt.providers.vendors.offline.assistant.numbers import read_duration, read_number
from mimi_mqtt.providers.vendors.offline.assistant.turn import Action, Say, Turn, Use

_LONGEST_S = 24 * 3_600
_LABEL_CHARS = 40
_CALLED = re.compile(r"\b(?:called|named|labelled|labeled) (?P<label>[\w' -]+)$")
_BEFORE = re.compile(r"\b(?P<label>[\w'-]+) (?:timer|alarm)\b")
_ALARM = re.compile(r"\balarm\b|\b(?:wake|remind|call) me\b")
_COMMAND = re.compile(
    r"^(?:\w+ ){0,3}(?:set|start|make|create|put|give|add|need|want)\b|^(?:an? )?(?:new )?(?:timer|alarm)\b"
)
_SHORT_WORDS = 3
_NO_LABEL = frozenset(
    """
    a an the my new another one single this that second seconds minute minutes hour hours all any set start
    make cancel stop delete remove clear and please to half sec secs min mins am pm long short
    """.split()  # noqa: SIM905 - a list of fifty quoted words is not easier to read
)
_NO_TIMERS = Say("😔 I have no timers here.")


def set_timer(turn: Turn, match: Match[str]) -> Action | None:
    """`set a timer for five minutes`, `start a ten minute pasta timer`, `wake me up at seven`."""
    if done := turn.result("set_timer"):
        if not done.failed and read_duration(match.string.split()) is None:
            due = _due(match.string, turn)
            return Say(f"👍 The alarm is set for {spoken_time(due)}." if due else f"👍 {done.content}")
        return done.apology() if done.failed else Say(f"👍 {done.content}")
    tool = turn.tool("set_timer")
    if tool is None:
        return _NO_TIMERS
    text = match.string
    called = _CALLED.search(text)
    told = text[: called.start()] if called else text
    seconds = read_duration(told.split())
    if seconds is None and (due := _due(told, turn)) is not None:
        return Use(tool, {"seconds": seconds_until(due, turn.now), "label": f"{_written(due)} alarm"})
    if seconds is None:
        # "The fire alarm was loud" asks for nothing.
        asked = _COMMAND.search(text) or len(text.split()) <= _SHORT_WORDS
        return Say("🤔 For how long? Say, for example: set a timer for five minutes.") if asked else None
    if not 1 <= seconds <= _LONGEST_S:
        return Say("🤔 A timer runs from one second to twenty-four hours.")
    return Use(tool, {"seconds": seconds, "label": _label(text)})


def _due(text: str, turn: Turn) -> datetime | None:
    """When an alarm rings; None for a timer, and for no time of day."""
    due = next_time(text, turn.now) if _ALARM.search(text) else None
    return due if due is not None and seconds_until(due, turn.now) <= _LONGEST_S else None


def _written(time: datetime) -> str:
    """`7:30 pm`."""
    return f"{time.hour % 12 or 12}:{time.minute:02} {'am' if time.hour < 12 else 'pm'}"


def list_timers(turn: Turn, _: Match[str]) -> Action:
    """`how much time is left`."""
    if done := turn.result("list_timers"):
        return done.apology() if done.failed else Say(f"🙂 {'. '.join(done.content.splitlines())}")
    tool = turn.tool("list_timers")
    return _NO_TIMERS if tool is None else Use(tool, {})


def cancel_timer(turn: Turn, match: Match[str]) -> Action:
    """`cancel the pasta timer`."""
    if done := turn.result("cancel_timer"):
        return done.apology() if done.failed else Say(f"👍 {done.content}")
    tool = turn.tool("cancel_timer")
    return _NO_TIMERS if tool is None else Use(tool, {"label": _label(match.string)})


def _label(text: str) -> str:
    match = _CALLED.search(text) or _BEFORE.search(text)
    label = match["label"].strip() if match else ""
    if not label or label in _NO_LABEL or read_number(label.split(), 0) is not None:
        return ""
    return label[:_LABEL_CHARS]
