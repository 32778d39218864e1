"""Volume, brightness and battery, through the tools that the device offers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from re import Match

from mimi_mqtt.providers.vendors.offline.assistant.numbers import first_number, read_number
from mimi_mqtt.providers.vendors.offline.assistant.turn import Action, Result, Say, Turn, Use

_STATUS = "get_device_status"
_STEP, _BIG_STEP = 10, 20
_BIG = frozenset(("much", "lot", "far", "way"))
_AFTER_NUMBER = frozenset(("percent", "%", "please", "now"))
_DEEPEST_STATUS = 6


@dataclass(frozen=True, slots=True)
class Level:
    """Something from 0 to 100: its name, the part of the device's status it is in, its tool, how low
    `minimum` is, and the mood shown."""

    name: str
    section: str
    tool: str
    lowest: int
    emoji: str


_NO_BATTERY = Say("😔 This device doesn't tell me its battery.")

VOLUME = Level("volume", "audio_speaker", "set_volume", 0, "😀")
BRIGHTNESS = Level("brightness", "screen", "set_brightness", 5, "😎")


def set_level(level: Level, turn: Turn, match: Match[str]) -> Action | None:
    """`set the volume to forty`."""
    words = match["value"].split()
    found = read_number(words, 0)
    if found is None or not _AFTER_NUMBER.issuperset(words[found[1] :]):
        return None
    number = found[0]
    if number.denominator != 1 or not 0 <= number <= 100:
        return Say(f"🤔 The {level.name} goes from zero to one hundred.")
    return _set(level, turn, int(number))


def set_highest(level: Level, turn: Turn, _: Match[str]) -> Action:
    """`full volume`."""
    return _set(level, turn, 100)


def set_lowest(level: Level, turn: Turn, _: Match[str]) -> Action:
    """`minimum brightness`."""
    return _set(level, turn, level.lowest)


def mute(turn: Turn, _: Match[str]) -> Action:
    """`mute`."""
    return _set(VOLUME, turn, 0)


def unmute(turn: Turn, _: Match[str]) -> Action:
    """`unmute`."""
    return _set(VOLUME, turn, 50)


def raise_level(level: Level, turn: Turn, match: Match[str]) -> Action:
    """`louder`, `turn the brightness up by twenty`."""
    return _change(level, turn, match, +1)


def lower_level(level: Level, turn: Turn, match: Match[str]) -> Action:
    """`quieter`."""
    return _change(level, turn, match, -1)


def tell_level(level: Level, turn: Turn, _: Match[str]) -> Action:
    """`what is the volume`."""
    if turn.tool(level.tool) is None and not turn.results:
        return _impossible(level)
    status = status_of(turn)
    if not isinstance(status, Result):
        return status or Say(f"😔 This device doesn't tell me its {level.name}.")
    value = level_of(status, level.section, level.name)
    if value is None:
        return Say(f"😔 This device doesn't tell me its {level.name}.")
    return Say(f"🙂 The {level.name} is {value}.")


def tell_battery(turn: Turn, _: Match[str]) -> Action:
    """`how much battery is left`."""
    status = status_of(turn)
    if not isinstance(status, Result):
        return status or _NO_BATTERY
    value = level_of(status, "battery", "level")
    return _NO_BATTERY if value is None else Say(f"🙂 The battery is at {value} percent.")


def _set(level: Level, turn: Turn, value: int) -> Action:
    done = turn.result(level.tool)
    if done is not None:
        if done.failed:
            return done.apology()
        return Say(f"{level.emoji} The {level.name} is now {value}.")
    tool = turn.tool(level.tool)
    if tool is None:
        return _impossible(level)
    return Use(tool, {argument(turn, tool, level.name): value})


def argument(turn: Turn, tool: str, expected: str) -> str:
    """The name of the tool's number: the expected one, else the only one it has."""
    properties = turn.tools[tool].parameters.get("properties")
    if isinstance(properties, Mapping) and expected not in properties and len(properties) == 1:
        return str(next(iter(properties)))
    return expected


def _impossible(level: Level) -> Say:
    return Say(f"😔 This device has no {level.name} control that I can reach.")


def _change(level: Level, turn: Turn, match: Match[str], direction: int) -> Action:
    if turn.tool(level.tool) is None and not turn.results:
        return _impossible(level)
    status = status_of(turn)
    if not isinstance(status, Result):
        return status or _unknown_level(level)
    before = level_of(status, level.section, level.name)
    if before is None:
        return _unknown_level(level)
    value = min(100, max(0, before + direction * _step(match)))
    if value == before and turn.result(level.tool) is None:
        return Say(f"🙂 The {level.name} is already at {value}.")
    return _set(level, turn, value)


def _step(match: Match[str]) -> int:
    words = match.string.split()
    number = first_number(words[words.index("by") + 1 :]) if "by" in words else None
    if number is not None and 0 < number <= 100:
        return round(number)
    return _BIG_STEP if _BIG.intersection(words) else _STEP


def _unknown_level(level: Level) -> Say:
    return Say(
        f"😔 I can't find out the {level.name} of this device. Tell me a number from zero to one hundred."
    )


def status_of(turn: Turn) -> Result | Action | None:
    """The device's status, the call that gets it, an apology, or None when the device has no such tool."""
    status = turn.result(_STATUS)
    if status is not None:
        return status.apology() if status.failed else status
    tool = turn.tool(_STATUS)
    return None if tool is None else Use(tool, {})


def level_of(status: Result, section: str, key: str) -> int | None:
    """`key` in `section`, wherever the section is in the status; None when it is not there or no number."""
    try:
        found: object = json.loads(status.content)
        if isinstance(found, str):  # a result that was encoded twice
            found = json.loads(found)
    except (ValueError, RecursionError):
        return None
    for mapping in _mappings(found, _DEEPEST_STATUS):
        part = mapping.get(section)
        value = part.get(key) if isinstance(part, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100:
            return round(value)
    return None


def _mappings(value: object, depth: int) -> Iterator[Mapping[object, object]]:
    if depth and isinstance(value, Mapping):
        yield value
        for inner in value.values():
            yield from _mappings(inner, depth - 1)
    elif depth and isinstance(value, list):
        for inner in value:
            yield from _mappings(inner, depth - 1)
