"""What the offline assistant does in a language other than English: the same as in English, in its words."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack
from mimi_mqtt.providers.vendors.offline.assistant.numbers import shown
from mimi_mqtt.providers.vendors.offline.assistant.settings import (
    BRIGHTNESS,
    VOLUME,
    Level,
    argument,
    level_of,
    status_of,
)
from mimi_mqtt.providers.vendors.offline.assistant.sums import TooLarge, calculate
from mimi_mqtt.providers.vendors.offline.assistant.turn import Action, Result, Say, Turn, Use

_LONGEST_S: Final = 24 * 3_600
_LONGEST_REPEAT: Final = 300
_STEP: Final = 10
_END: Final = "end_conversation"


def answer(pack: Pack, turn: Turn) -> Action | None:
    """The action for `turn` in the language of `pack`; None when it understands nothing of it."""
    return _Answer(pack, turn).action()


class _Answer:
    def __init__(self, pack: Pack, turn: Turn) -> None:
        self._pack = pack
        self._turn = turn
        self._text = pack.plain(turn.spoken)

    def action(self) -> Action | None:
        if words := self._pack.words_to_repeat(self._turn.spoken):
            return Say(f"🙂 {words[:_LONGEST_REPEAT]}", self._pack.code)
        for attempt in (self._timers, self._levels, self._sum, self._clock, self._talk):
            if (action := attempt()) is not None:
                return action
        return None

    def _means(self, *intents: str) -> bool:
        return all(self._pack.means(intent, self._text) for intent in intents)

    def _say(self, reply: str, **values: object) -> Say:
        texts = self._pack.replies[reply]
        text = texts if isinstance(texts, str) else self._turn.random.choice(texts)
        return Say(text.format(**values), self._pack.code)

    # ── timers ───────────────────────────────────────────────────────────────────────────────────────────

    def _timers(self) -> Action | None:
        if self._means("timer", "cancel"):
            return self._call("cancel_timer", {"label": ""}, self._say("cancelled"), self._say("no timer"))
        if self._means("timer", "list") and self._pack.seconds(self._text) is None:
            return self._list_timers()
        seconds = self._pack.seconds(self._text)
        if self._means("timer") or (seconds is not None and self._means("remind")):
            return self._set_timer(seconds)
        return None

    def _set_timer(self, seconds: int | None) -> Action:
        if seconds is None:
            return self._say("how long")
        if not 1 <= seconds <= _LONGEST_S:
            return self._say("too long")
        done = self._say("timer set", duration=self._pack.duration(seconds))
        return self._call("set_timer", {"seconds": seconds, "label": ""}, done, self._say("failed"))

    def _call(self, name: str, arguments: dict[str, object], done: Say, failed: Say) -> Action:
        result = self._turn.result(name)
        if result is not None:
            return failed if result.failed else done
        tool = self._turn.tool(name)
        return self._say("no timers") if tool is None else Use(tool, arguments)

    def _list_timers(self) -> Action:
        result = self._turn.result("list_timers")
        if result is None:
            tool = self._turn.tool("list_timers")
            return self._say("no timers") if tool is None else Use(tool, {})
        left = [seconds for line in result.content.splitlines() if (seconds := _left(line)) is not None]
        if result.failed or not left:
            return self._say("failed" if result.failed else "no timer")
        if len(left) == 1:
            return self._say("timer left", duration=self._pack.duration(left[0]))
        return self._say("timers", count=len(left), duration=self._pack.duration(min(left)))

    # ── levels ───────────────────────────────────────────────────────────────────────────────────────────

    def _levels(self) -> Action | None:
        if self._means("battery"):
            return self._battery()
        if self._means("unmute"):
            return self._set(VOLUME, 50)
        if self._means("mute"):
            return self._set(VOLUME, 0)
        if self._means("brightness"):
            return self._level(BRIGHTNESS)
        if self._means("volume"):
            return self._level(VOLUME)
        for intent, level, direction in (
            ("louder", VOLUME, 1), ("quieter", VOLUME, -1), ("brighter", BRIGHTNESS, 1),
            ("darker", BRIGHTNESS, -1),
        ):  # fmt: skip
            if self._means(intent):
                return self._change(level, direction)
        return None

    def _level(self, level: Level) -> Action | None:
        number = self._pack.number(self._text)
        up = self._means("up") or self._means("louder") or self._means("brighter")
        down = self._means("down") or self._means("quieter") or self._means("darker")
        if number is not None:
            if not 0 <= number <= 100 or number % 1:
                return self._say("level")
            return self._set(level, int(number))
        if self._means("highest"):
            return self._set(level, 100)
        if self._means("lowest"):
            return self._set(level, level.lowest)
        if up or down:
            return self._change(level, 1 if up else -1)
        return self._tell(level) if self._means("tell") else None

    def _set(self, level: Level, value: int) -> Action:
        done = self._turn.result(level.tool)
        if done is not None:
            return self._say("failed") if done.failed else self._say(f"{level.name} now", value=value)
        tool = self._turn.tool(level.tool)
        if tool is None:
            return self._say(f"no {level.name}")
        return Use(tool, {argument(self._turn, tool, level.name): value})

    def _change(self, level: Level, direction: int) -> Action:
        if self._turn.tool(level.tool) is None and not self._turn.results:
            return self._say(f"no {level.name}")
        status = status_of(self._turn)
        if isinstance(status, Use):
            return status
        before = level_of(status, level.section, level.name) if isinstance(status, Result) else None
        if before is None:
            return self._say("level")
        return self._set(level, min(100, max(0, before + direction * _STEP)))

    def _tell(self, level: Level) -> Action:
        status = status_of(self._turn)
        if isinstance(status, Use):
            return status
        value = level_of(status, level.section, level.name) if isinstance(status, Result) else None
        return self._say(f"no {level.name}") if value is None else self._say(f"{level.name} now", value=value)

    def _battery(self) -> Action:
        status = status_of(self._turn)
        if isinstance(status, Use):
            return status
        value = level_of(status, "battery", "level") if isinstance(status, Result) else None
        return self._say("no battery") if value is None else self._say("battery", value=value)

    # ── the rest ─────────────────────────────────────────────────────────────────────────────────────────

    def _sum(self) -> Action | None:
        written = self._pack.sum(self._text)
        if not written:
            return None
        try:
            value = calculate(written)
        except ZeroDivisionError:
            return self._say("zero")
        except TooLarge:
            return self._say("large")
        if value is None:
            return None
        told = shown(value)
        return self._say("sum", value=told.replace(".", ",") if self._pack.decimal_comma else told)

    def _clock(self) -> Action | None:
        if self._means("time"):
            return Say(f"🙂 {self._pack.time(self._turn.now)}", self._pack.code)
        if self._means("date"):
            return Say(f"🙂 {self._pack.date(self._turn.now)}", self._pack.code)
        return None

    def _talk(self) -> Action | None:
        if self._means("goodbye"):
            tool = self._turn.tool(_END)
            if tool is not None and self._turn.result(_END) is None:
                return Use(tool, {})
            return self._say("goodbye")
        talk: Sequence[tuple[str, str]] = (
            ("thanks", "thanks"), ("help", "help"), ("name", "name"), ("how are you", "how are you"),
            ("joke", "joke"), ("hello", "greeting"), ("never mind", "never mind"),
        )  # fmt: skip
        for intent, reply in talk:
            if self._means(intent):
                return self._say(reply, name=self._turn.name)
        return None


def _left(line: str) -> int | None:
    """The seconds that a line of `list_timers` tells, such as `pasta timer: 2 minutes 5 seconds left`."""
    told = line.rpartition(":")[2].split()
    sizes = {"hour": 3_600, "minute": 60, "second": 1}
    pairs = [
        (number, sizes[unit.removesuffix("s")])
        for number, unit in pairwise(told)
        if number.isdecimal() and unit.removesuffix("s") in sizes
    ]
    return sum(int(number) * size for number, size in pairs) if pairs else None
