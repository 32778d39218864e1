"""Timers in English, through the tools `set_timer`, `list_reminders` and `cancel_reminder`."""

import re
from re import Match

from mimi_mqtt.providers.vendors.offline.assistant.languages.reminding import entries_of
from mimi_mqtt.providers.vendors.offline.assistant.numbers import read_duration, read_number
from mimi_mqtt.providers.vendors.offline.assistant.turn import Action, Say, Turn, Use

_LONGEST_S = 24 * 3_600
_LABEL_CHARS = 40
_CALLED = re.compile(r"\b(?:called|named|labelled|labeled) (?P<label>[\w' -]+)$")
_BEFORE = re.compile(r"\b(?P<label>[\w'-]+) (?:timer|alarm)\b")
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
    """`set a timer for five minutes`, `start a ten minute pasta timer`."""
    if done := turn.result("set_timer"):
        return done.apology() if done.failed else Say(f"👍 {done.content}")
    tool = turn.tool("set_timer")
    if tool is None:
        return _NO_TIMERS
    text = match.string
    called = _CALLED.search(text)
    told = text[: called.start()] if called else text
    seconds = read_duration(told.split())
    if seconds is None:
        # "The fire alarm was loud" asks for nothing.
        asked = _COMMAND.search(text) or len(text.split()) <= _SHORT_WORDS
        return Say("🤔 For how long? Say, for example: set a timer for five minutes.") if asked else None
    if not 1 <= seconds <= _LONGEST_S:
        return Say("🤔 A timer runs from one second to twenty-four hours.")
    return Use(tool, {"seconds": seconds, "label": _label(text)})


def list_timers(turn: Turn, _: Match[str]) -> Action:
    """`how much time is left`."""
    done = turn.result("list_reminders")
    if done is None:
        tool = turn.tool("list_reminders")
        return _NO_TIMERS if tool is None else Use(tool, {})
    if done.failed:
        return done.apology()
    told = [f"{entry['name']}: {entry['left']} left" for entry in entries_of(done.content) if "left" in entry]
    return Say(f"🙂 {'. '.join(told)}" if told else "🙂 No timers are running.")


def cancel_timer(turn: Turn, match: Match[str]) -> Action:
    """`cancel the pasta timer`."""
    if done := turn.result("cancel_reminder"):
        return done.apology() if done.failed else Say(f"👍 {done.content}")
    tool = turn.tool("cancel_reminder")
    return _NO_TIMERS if tool is None else Use(tool, {"which": _label(match.string) or "timer"})


def _label(text: str) -> str:
    match = _CALLED.search(text) or _BEFORE.search(text)
    label = match["label"].strip() if match else ""
    if not label or label in _NO_LABEL or read_number(label.split(), 0) is not None:
        return ""
    return label[:_LABEL_CHARS]
