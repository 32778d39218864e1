"""Input and output of an intent: a turn of the dialogue, and words to say or a tool to call."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from re import Match, Pattern
from typing import TypeAlias

from mimi_mqtt.providers.contract.chat import ToolSpec

_FAILED = "error:"
_LONGEST_ERROR = 160


@dataclass(frozen=True, slots=True)
class Say:
    """The answer: a mood's emoji, then what is spoken, in `language`."""

    text: str
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Use:
    """A tool call that is needed first; its result is in the next round's `Turn.results`."""

    tool: str
    arguments: Mapping[str, object]


Action: TypeAlias = Say | Use


@dataclass(frozen=True, slots=True)
class Result:
    """The answer of a tool that was called in this turn."""

    tool: str
    content: str

    @property
    def failed(self) -> bool:
        """True when the call went wrong: an error, `false`, or JSON that tells of no success."""
        return self._failure is not None

    def apology(self) -> Say:
        """A failed call in plain words."""
        reason = (self._failure or "").strip()[:_LONGEST_ERROR].rstrip(". ")
        return Say(f"😔 That didn't work: {reason}." if reason else "😔 That didn't work.")

    @property
    def _failure(self) -> str | None:
        """The reason for which the call went wrong, empty when none was given; None when it succeeded."""
        content = self.content.strip()
        if content.lower().startswith(_FAILED):
            return content[len(_FAILED) :]
        if content.lower() == "false":  # what py-xiaozhi and many boards answer instead of an error
            return ""
        if not content.startswith("{"):
            return None
        try:
            told: object = json.loads(content)
        except (ValueError, RecursionError):
            return None
        if not isinstance(told, dict) or all(told.get(key) is not False for key in ("success", "result")):
            return None
        return next((told[key] for key in ("message", "error") if isinstance(told.get(key), str)), "")


@dataclass(frozen=True, slots=True)
class Turn:
    """One question, as an intent sees it.

    `spoken` is the user's text; `text` the same in lower case without punctuation; `results` the answers of
    this turn's tools so far; `earlier` the assistant's earlier answers, the latest last.
    """

    spoken: str
    text: str
    language: str
    name: str
    now: datetime
    tools: Mapping[str, ToolSpec]
    results: Sequence[Result]
    earlier: Sequence[str]
    random: random.Random

    def tool(self, ending: str) -> str | None:
        """The tool called `ending`, or whose name ends with it: devices prefix theirs with a path."""
        if ending in self.tools:
            return ending
        return next((name for name in self.tools if name.endswith(f"__{ending}")), None)

    def result(self, ending: str) -> Result | None:
        """The latest answer of the tool whose name ends with `ending`."""
        fitting = [result for result in self.results if result.tool.endswith(ending)]
        return fitting[-1] if fitting else None


@dataclass(frozen=True, slots=True)
class Intent:
    """One row of the table: `act` may decline what matched `pattern` by answering None."""

    name: str
    pattern: Pattern[str]
    act: Callable[[Turn, Match[str]], Action | None]
