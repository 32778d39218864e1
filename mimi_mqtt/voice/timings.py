"""Timings of one turn: when each stage was reached after the user's speech, and time for tools. Pure."""

from typing import Final, Literal

Stage = Literal[
    "endpoint", "transcript", "first_token", "first_sentence", "speech", "first_audio", "stop"
]  # fmt: skip

TOOLS: Final = "tools"
"""Name under which the time spent with tools is reported: a length, not a moment."""


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

    def mark(self, stage: Stage, now: float) -> None:
        """`stage` is reached; only the first time counts."""
        self._at.setdefault(stage, now)

    def tools_ran(self, began: float, ended: float) -> None:
        """A round of tool calls is over."""
        self._tools_s = (self._tools_s or 0.0) + ended - began

    def take(self, other: "TurnTimings") -> None:
        """Takes over the stages that `other`, on the same clock, has reached."""
        for stage, at in other._at.items():
            self.mark(stage, at)

    def as_ms(self) -> dict[str, float]:
        """Stage -> ms after the end of the user's speech, for the stages that were reached; `tools` -> ms
        spent with tools, if any were called."""
        marks = {stage: at - self.speech_end for stage, at in self._at.items()}
        tools = {} if self._tools_s is None else {TOOLS: self._tools_s}
        return {name: round(seconds * 1000, 1) for name, seconds in (marks | tools).items()}
