"""Timers, through the tools `set_timer`, `list_timers` and `cancel_timer`."""

import re
from re import Match

from mimi_mqtt.providers.vendors.offline.assistant.numbers import read_duration, read_number
from mimi_mqtt.providers.vendors.offline.assistant.turn import Action, Say, Turn, Use

_LONGEST_S = 24 * 3_600
_LABEL_CHARS = 40
_CALLED = re.compile(r"\b(?:called|named|labelled|labeled) (?P<label>[\w' -]+)$")
_BEFORE = re.compile(r"\b(?P<label>[\w'-]+) (?:timer|alarm)\b")
_NO_LABEL = frozenset(
    """
    a an the my new another one single this that second seconds minute minutes hour hours all any set start
    make cancel stop delete remove clear and please to half long short
    """.split()  # noqa: SIM905 - a list of fifty quoted words is not easier to read
)
_NO_TIMERS = Say("😔 I have no timers here.")


def set_timer(turn: Turn, match: Match[str]) -> Action:
    """`set a timer for five minutes`, `start a ten minute pasta timer`."""
    if done := turn.result("set_timer"):
        return done.apology() if done.failed else Say(f"👍 {done.content}")
    tool = turn.tool("set_timer")
    if tool is None:
        return _NO_TIMERS
    text = match.string
    called = _CALLED.search(text)
    seconds = read_duration((text[: called.start()] if called else text).split())
    if seconds is None:
        return Say("🤔 For how long? Say, for example: set a timer for five minutes.")
    if not 1 <= seconds <= _LONGEST_S:
        return Say("🤔 A timer runs from one second to twenty-four hours.")
    return Use(tool, {"seconds": seconds, "label": _label(text)})


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
