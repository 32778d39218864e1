"""The offline assistant's actions in a language other than English: the same as in English, in its words."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages import reminding
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
_LABEL_CHARS: Final = 40
_STEP: Final = 10
_SHORT_WORDS: Final = 3
"""Words of a text that is a command by naming a thing alone."""
_SHORT_CHARS: Final = 2
"""Characters that such a text in a language without spaces has besides."""
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
        if self._means("again"):
            last = self._turn.earlier[-1:]
            return Say(last[0], self._pack.code) if last else self._say("how to repeat")
        words = self._pack.words_to_repeat(self._turn.spoken)
        if words is not None:
            return (
                Say(f"🙂 {words[:_LONGEST_REPEAT]}", self._pack.code) if words else self._say("how to repeat")
            )
        for attempt in (self._reminders, self._timers, self._levels, self._sum, self._clock, self._talk):
            if (action := attempt()) is not None:
                return action
        return None

    def _means(self, *intents: str) -> bool:
        return all(self._pack.means(intent, self._text) for intent in intents)

    def _names_only(self, intent: str) -> bool:
        if self._pack.spaced:
            return len(self._text.split()) <= _SHORT_WORDS or self._pack.begins_with(intent, self._text)
        return len(self._pack.without(intent, self._text)) <= _SHORT_CHARS

    def _say(self, reply: str, **values: object) -> Say:
        texts = self._pack.replies[reply]
        text = texts if isinstance(texts, str) else self._turn.random.choice(texts)
        return Say(text.format(**values), self._pack.code)

    # ── timers ───────────────────────────────────────────────────────────────────────────────────────────

    def _reminders(self) -> Action | None:
        return reminding.answer(self._pack, self._turn, self._text)

    def _timers(self) -> Action | None:
        if self._means("left") and not self._means("battery"):
            return self._list_timers()
        named = self._means("timer")
        if not named and not self._means("remind"):
            return None
        if named and self._means("cancel"):
            arguments: dict[str, object] = {"which": self._label() or "timer"}
            return self._call("cancel_reminder", arguments, self._say("cancelled"), self._say("no timer"))
        seconds = self._pack.seconds(self._text)
        if seconds is not None:
            return self._set_timer(seconds)
        if named and self._means("list"):
            return self._list_timers()
        if named and (self._means("set") or self._names_only("timer")):
            return self._say("how long")
        return None

    def _label(self) -> str:
        return self._pack.named(self._turn.spoken)[:_LABEL_CHARS]

    def _set_timer(self, seconds: int) -> Action:
        if not 1 <= seconds <= _LONGEST_S:
            return self._say("too long")
        done = self._say("timer set", duration=self._pack.duration(seconds))
        arguments: dict[str, object] = {"seconds": seconds, "label": self._label()}
        return self._call("set_timer", arguments, done, self._say("failed"))

    def _call(self, name: str, arguments: dict[str, object], done: Say, failed: Say) -> Action:
        result = self._turn.result(name)
        if result is not None:
            return failed if result.failed else done
        tool = self._turn.tool(name)
        return self._say("no timers") if tool is None else Use(tool, arguments)

    def _list_timers(self) -> Action:
        result = self._turn.result("list_reminders")
        if result is None:
            tool = self._turn.tool("list_reminders")
            return self._say("no timers") if tool is None else Use(tool, {})
        if result.failed:
            return self._say("failed")
        label = self._label().casefold()
        left = [
            seconds
            for entry in reminding.entries_of(result.content)
            if isinstance(seconds := entry.get("seconds_left"), int)
            and str(entry.get("label", "")).casefold().startswith(label)
        ]
        if not left:
            return self._say("no timer")
        if len(left) == 1:
            return self._say("timer left", duration=self._pack.duration(left[0]))
        return self._say("timers", count=len(left), duration=self._pack.duration(min(left)))

    # ── levels ───────────────────────────────────────────────────────────────────────────────────────────

    def _levels(self) -> Action | None:
        if self._means("battery"):
            return self._battery() if self._means("tell") or self._names_only("battery") else None
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
                return self._change(level, direction * (self._step() or _STEP))
        return None

    def _level(self, level: Level) -> Action | None:
        number = self._number()
        up = self._means("up") or self._means("louder") or self._means("brighter")
        down = self._means("down") or self._means("quieter") or self._means("darker")
        if number is not None and (self._means("to") or self._pack.ends_with_number(self._text)):
            if (up or down) and not self._means("to") and (step := self._step()):
                return self._change(level, step if up else -step)
            if not 0 <= number <= 100 or number % 1:
                return self._say("level")
            return self._set(level, int(number))
        if self._means("highest"):
            return self._set(level, 100)
        if self._means("lowest"):
            return self._set(level, level.lowest)
        if up or down:
            return self._change(level, (1 if up else -1) * (self._step() or _STEP))
        return self._tell(level) if self._means("tell") else None

    def _number(self) -> float | None:
        """The only number that was said; one that is also the word for "a" counts in digits alone."""
        number = self._pack.number(self._text)
        return None if number == 1 and not any(map(str.isdecimal, self._turn.spoken)) else number

    def _step(self) -> int:
        number = self._number()
        return round(number) if number is not None and 1 <= number <= 100 else 0

    def _set(self, level: Level, value: int) -> Action:
        done = self._turn.result(level.tool)
        if done is not None:
            return self._say("failed") if done.failed else self._say(f"{level.name} now", value=value)
        tool = self._turn.tool(level.tool)
        if tool is None:
            return self._say(f"no {level.name}")
        return Use(tool, {argument(self._turn, tool, level.name): value})

    def _change(self, level: Level, by: int) -> Action:
        if self._turn.tool(level.tool) is None and not self._turn.results:
            return self._say(f"no {level.name}")
        status = status_of(self._turn)
        if isinstance(status, Use):
            return status
        before = level_of(status, level.section, level.name) if isinstance(status, Result) else None
        if before is None:
            return self._say("level")
        return self._set(level, min(100, max(0, before + by)))

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
        digits = shown(abs(value)).removeprefix("about ")
        told = digits.replace(".", ",") if self._pack.decimal_comma else digits
        if value < 0:
            told = f"{self._pack.minus}{told}"
        exact = shown(abs(value)) == digits
        return self._say("sum", value=told) if exact else self._say("about", value=told)

    def _clock(self) -> Action | None:
        now = self._turn.now
        if self._means("time"):
            time = self._pack.time(now)
            if self._means("elsewhere"):
                return self._say("elsewhere", time=time)
            return Say(f"🙂 {time}", self._pack.code)
        if not self._means("date"):
            return None
        for day, days in (("tomorrow", 1), ("yesterday", -1)):
            if self._means(day):
                return self._say(day, day=self._pack.day(now + timedelta(days=days)))
        return self._say("today", day=self._pack.day(now))

    def _talk(self) -> Action | None:
        if self._means("goodbye"):
            tool = self._turn.tool(_END)
            if tool is not None and self._turn.result(_END) is None:
                return Use(tool, {})
            return self._say("goodbye")
        if self._means("joke"):
            return self._joke()
        talk: Sequence[tuple[str, str]] = (
            ("thanks", "thanks"), ("help", "help"), ("name", "name"), ("how are you", "how are you"),
            ("hello", "greeting"), ("never mind", "never mind"),
        )  # fmt: skip
        for intent, reply in talk:
            if self._means(intent):
                return self._say(reply, name=self._turn.name)
        return None

    def _joke(self) -> Say:
        jokes = self._pack.replies["joke"]
        texts = (jokes,) if isinstance(jokes, str) else jokes
        told = " ".join(self._turn.earlier)
        fresh = [text for text in texts if text[2:] not in told]
        return Say(self._turn.random.choice(fresh or texts), self._pack.code)
