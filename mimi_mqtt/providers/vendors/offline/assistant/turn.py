"""What an intent is given, a turn of the dialogue, and what it answers: words, or a tool to use."""

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
    """A tool is needed first; its result comes back in the next round's `Turn.results`."""

    tool: str
    arguments: Mapping[str, object]


Action: TypeAlias = Say | Use


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool of this turn answered."""

    tool: str
    content: str

    @property
    def failed(self) -> bool:
        """Whether the call went wrong."""
        return self.content.lower().startswith(_FAILED)

    def apology(self) -> Say:
        """A failed call in plain words."""
        reason = self.content[len(_FAILED) :].strip()[:_LONGEST_ERROR].rstrip(". ")
        return Say(f"😔 That didn't work: {reason}." if reason else "😔 That didn't work.")


@dataclass(frozen=True, slots=True)
class Turn:
    """One question, as an intent sees it.

    `spoken` is what the user said; `text` the same in lower case without punctuation; `results` what the
    tools of this turn answered so far; `earlier` the assistant's earlier answers, the latest last.
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
