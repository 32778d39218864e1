"""Timings of one turn: when each stage was reached after the user's speech, and time for tools. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from mimi_mqtt.store.turn_record import ToolSpan

Stage = Literal[
    "endpoint", "transcript", "first_token", "first_sentence", "speech", "first_audio", "stop"
]  # fmt: skip

TOOLS: Final = "tools"
"""Name under which the time spent with tools is reported: a length, not a moment."""

MAX_TOOL_SPANS: Final = 32
"""Tool calls of a turn whose times are kept; of further ones only the names are."""


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    began: float
    ended: float
    failed: bool


class TurnTimings:
    """Marks of one turn. `now`, `began` and `ended` are the loop's clock, in s.

    `endpoint` is the decision that the utterance is over, `transcript` its final text, `first_token` and
    `first_sentence` the model's, `speech` is `tts start`, `first_audio` the first frame ready to leave,
    `stop` the end of the turn.
    """

    def __init__(self, now: float) -> None:
        self.speech_end = now
        """The end of the user's speech; the beginning of a turn without any."""
        self._at: dict[Stage, float] = {}
        self._tools_s: float | None = None
        self._calls: list[_Call] = []
        self.reached: Callable[[Stage, float], None] | None = None
        """Called with each stage when it is marked, and its ms after the end of the user's speech."""

    def mark(self, stage: Stage, now: float) -> None:
        """`stage` is reached; only the first time counts."""
        if stage not in self._at:
            self._at[stage] = now
            if self.reached is not None:
                self.reached(stage, round((now - self.speech_end) * 1000, 1))

    def tools_ran(self, began: float, ended: float) -> None:
        """A round of tool calls is over."""
        self._tools_s = (self._tools_s or 0.0) + ended - began

    def tool_ran(self, name: str, began: float, ended: float, *, failed: bool) -> None:
        """One call of a tool is over."""
        if len(self._calls) < MAX_TOOL_SPANS:
            self._calls.append(_Call(name, began, ended, failed))

    def take(self, other: "TurnTimings") -> None:
        """Takes over what `other`, on the same clock, has reached: stages, and calls of tools."""
        for stage, at in other._at.items():
            self.mark(stage, at)
        for call in other._calls:
            self.tool_ran(call.name, call.began, call.ended, failed=call.failed)

    def as_ms(self) -> dict[str, float]:
        """Stage -> ms after the end of the user's speech, for the stages that were reached; `tools` -> ms
        spent with tools, if any were called."""
        marks = {stage: at - self.speech_end for stage, at in self._at.items()}
        tools = {} if self._tools_s is None else {TOOLS: self._tools_s}
        return {name: round(seconds * 1000, 1) for name, seconds in (marks | tools).items()}

    def tool_spans(self) -> tuple[ToolSpan, ...]:
        """The calls of tools, by the same clock as the stages."""
        return tuple(
            ToolSpan(
                call.name,
                round((call.began - self.speech_end) * 1000, 1),
                round(max(call.ended - call.began, 0.0) * 1000, 1),
                call.failed,
            )
            for call in self._calls
        )
