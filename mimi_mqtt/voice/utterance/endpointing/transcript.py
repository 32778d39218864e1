"""Endpointing by the words: an unfinished clause waits longer, a complete question less. Pure."""

from collections.abc import Callable
from typing import Final

from mimi_mqtt.voice.utterance.endpointing.adaptive import Pauses
from mimi_mqtt.voice.utterance.endpointing.clauses import Clause, clause
from mimi_mqtt.voice.utterance.endpointing.strategy import Spoken

# Parts of the speaker's own silence; an unfinished clause gets the longest silence there is.
_PATIENCE: Final = {Clause.FINAL: 0.3, Clause.QUESTION: 0.5, Clause.COMPLETE: 0.9, Clause.OPEN: 1.0}
_LEAST_MS: Final = 240.0
"""Shortest silence: less would end utterances at a stop consonant or a lost packet."""


class TranscriptSilence:
    """Judges by the words understood so far; by the speaker's pauses alone while there are none."""

    def __init__(self, pauses: Pauses, language: Callable[[], str]) -> None:
        self._pauses = pauses
        self._language = language

    def paused(self, pause_ms: float) -> None:
        """Learns from the pause."""
        self._pauses.add(pause_ms)

    def ended(self) -> None:
        """Changes nothing."""

    def end_silence_ms(self, spoken: Spoken, silence_ms: float) -> float:
        """The speaker's silence, times the patience that the words call for."""
        said = clause(spoken.text, self._language())
        if said is Clause.UNFINISHED:
            return self._pauses.longest_ms
        return max(self._pauses.end_silence_ms * _PATIENCE[said], _LEAST_MS)
