"""Endpointing by the odds that the speaker goes on: words, this speaker's pauses, the silence. Pure.

After the silence s the speaker goes on with the probability p S(s) / (p S(s) + 1 - p). S(s) is the share of
this speaker's pauses that are longer than s, which are log-normal; p is how often this speaker goes on at
all, corrected by what the words promise. Once that is no more than the accepted risk the utterance is over.

Without words there are only the pauses, which `adaptive` judges best; with words that say nothing and a
speaker of whom nothing is known, that is after `end_silence_ms` as well.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Final

from mimi_mqtt.voice.utterance.endpointing.adaptive import SHORTEST_PAUSE_MS, Pauses
from mimi_mqtt.voice.utterance.endpointing.clauses import Clause, clause
from mimi_mqtt.voice.utterance.endpointing.strategy import Spoken

RISK: Final = 0.02
"""Chance, at the end of an utterance, that the speaker would have gone on; see `bench turns --risks`."""

_PAUSES, _ENDS = 2.0, 3.0
"""So often a new speaker is taken to pause in so many utterances; as many real ones outvote it."""

_WORDS: Final = {
    Clause.FINAL: 0.02,
    Clause.QUESTION: 0.4,
    Clause.COMPLETE: 0.55,
    Clause.OPEN: _ENDS / _PAUSES,  # so that a new speaker is waited for as long as if there were no words
    Clause.UNFINISHED: 30.0,
}
"""Factor of the odds that a speaker goes on, by the words so far."""

_LEAST_MS: Final = 180.0
"""Shortest silence: less would end utterances at a stop consonant or a lost packet."""
_LONGEST: Final = 1.5  # of the configured silence
_SPREAD: Final = 0.5  # of the logarithm of a pause; of people as of the corpus, about a quarter to a half
_MEMORY: Final = 8.0  # pauses
_RAREST, _OFTENEST = 0.1, 2.0
"""Bounds of the pauses in an utterance that count: who never pauses is soon answered faster, and what many
pauses say is worth less than what the words do."""
_UTTERANCES: Final = 30.0
"""Utterances that are remembered, about: longer ago, somebody else may have spoken."""
_LAG_MS, _MOST_LAG_MS = 240.0, 900.0
_LAG_DECAY: Final = 1 / 8
_NOTHING: Final = Spoken()


class LikelyEnd:
    """Ends an utterance once it is unlikely enough that the speaker goes on."""

    def __init__(self, end_silence_ms: float, language: Callable[[], str], risk: float = RISK) -> None:
        self._language = language
        self._risk_odds = risk / (1 - risk)
        self._longest_ms = _LONGEST * end_silence_ms
        self._alone = Pauses(end_silence_ms)
        self._pauses, self._ends = _PAUSES, _ENDS
        self._lengths = _PAUSES  # pauses of which the mean is
        # So that nothing but silence means `end_silence_ms`.
        self._mean = math.log(end_silence_ms) - _SPREAD * NormalDist().inv_cdf(1 - self._risk_odds)
        self._variance = _SPREAD**2
        self._lag_ms = _LAG_MS
        self._changed_ms = 0.0
        self._last = _NOTHING
        self._silence_ms = 0.0
        self._said = Clause.OPEN

    def paused(self, pause_ms: float) -> None:
        """Learns how often and how long this speaker pauses, and how late the words come."""
        self._alone.add(pause_ms)
        if pause_ms >= SHORTEST_PAUSE_MS:
            self._pauses += 1
            self._lengths += 1
            off = math.log(pause_ms) - self._mean
            weight = 1 / min(self._lengths, _MEMORY)
            self._mean += off * weight
            self._variance += (off**2 * (1 - weight) - self._variance) * weight
        self._learn_lag()

    def ended(self) -> None:
        """Learns that an utterance ended."""
        self._ends += 1
        # One noisy utterance, such as a television's, must not outweigh the many after it.
        self._pauses = min(self._pauses, _OFTENEST * self._ends)
        if self._ends > _UTTERANCES:
            self._pauses *= _UTTERANCES / self._ends
            self._ends = _UTTERANCES
        self._learn_lag()
        self._last = _NOTHING  # the same words may come in another language

    def end_silence_ms(self, spoken: Spoken, silence_ms: float) -> float:
        """The shortest silence that the risk allows; the longest while the last words may still come."""
        if spoken != self._last:
            if spoken.text != self._last.text:
                self._changed_ms = silence_ms if silence_ms >= self._silence_ms else 0.0
            self._last = spoken
            self._said = clause(spoken.text, self._language())
        self._silence_ms = silence_ms
        if not spoken.text:
            return self._alone.end_silence_ms
        if not spoken.whole and silence_ms < self._lag_ms:
            return self._longest_ms
        odds = _WORDS[self._said] * min(max(self._pauses / self._ends, _RAREST), _OFTENEST)
        longer = self._risk_odds / odds
        if longer >= 1:
            return _LEAST_MS
        wait_ms = math.exp(self._mean + math.sqrt(self._variance) * NormalDist().inv_cdf(1 - longer))
        return min(max(wait_ms, _LEAST_MS), self._longest_ms)

    def _learn_lag(self) -> None:
        """Learns how late words come: the longest wait of late, slowly forgotten."""
        if self._changed_ms > self._lag_ms:
            self._lag_ms = min(self._changed_ms, _MOST_LAG_MS)
        elif self._changed_ms:
            self._lag_ms += (self._changed_ms - self._lag_ms) * _LAG_DECAY
        self._changed_ms = self._silence_ms = 0.0
