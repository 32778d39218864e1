"""Simulated speech to text for the bench of turn-taking: what is known of an utterance's words, and when.

Three kinds, as providers come: one that streams interim text, one that takes audio in one piece and is asked
at pauses (for a preemptive reply), and none at all. None of them sees what has not been said yet. A fourth is
asked likewise, and answers what a real recogniser wrote of the same audio (`_transcripts`).
"""

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np

from mimi_mqtt.cli.bench._corpus import FRAME_MS, Utterance
from mimi_mqtt.voice.answer.pipeline.preemptive import MAX_PREEMPTIVE_REPLIES
from mimi_mqtt.voice.utterance.endpointing import Spoken

_UPDATE_S: Final = 0.1
_SPREAD: Final = 0.25
_VENDOR_SILENCE_S: Final = 0.3
_PUNCTUATING: Final = 3
"""Every third speaker's recogniser puts a full stop after whatever it takes for the last word."""


class Recogniser(Protocol):
    """Hears one utterance; times are seconds of audio since its beginning."""

    def paused(self, now: float) -> None:
        """A first, short silence was found."""

    def went_on(self) -> None:
        """Forgets the end: the speaker went on."""

    def spoken(self, now: float) -> Spoken:
        """The words known at `now`."""


class Deaf:
    """Knows nothing before the end."""

    def paused(self, now: float) -> None:
        """Changes nothing."""

    def went_on(self) -> None:
        """Changes nothing."""

    def spoken(self, now: float) -> Spoken:
        """No words."""
        return Spoken()


class Streaming:
    """Knows each word about `lag_s` after it was said, sooner or later, and says so ten times a second."""

    def __init__(self, utterance: Utterance, lag_s: float, random: np.random.Generator) -> None:
        lags = lag_s * random.lognormal(0, _SPREAD, len(utterance.words))
        self._known = [
            (max(at + lag, 0.0), text) for (at, text), lag in zip(utterance.words, lags, strict=True)
        ]
        self._said = [at for at, _ in utterance.words]
        self._judges_s = _VENDOR_SILENCE_S + lag_s / 2
        self._mark = "." if utterance.speaker % _PUNCTUATING == _PUNCTUATING - 1 else ""

    def paused(self, now: float) -> None:
        """Changes nothing: it streams anyway."""

    def went_on(self) -> None:
        """Changes nothing: it streams anyway."""

    def spoken(self, now: float) -> Spoken:
        """The words known at its latest update; over for the vendor after a silence of its own."""
        update = now // _UPDATE_S * _UPDATE_S
        text = ""
        for at, said in self._known:
            if at > update:
                break
            text = said
        silent_s = now - max((at for at in self._said if at <= now), default=now)
        return Spoken(text + self._mark if text else "", text != "" and silent_s >= self._judges_s)


class Asked:
    """Hears in one piece what was said up to a pause, and answers about `answer_s` later."""

    def __init__(self, utterance: Utterance, answer_s: float, random: np.random.Generator) -> None:
        self._words = utterance.words
        self._answers_s = answer_s * random.lognormal(0, _SPREAD, MAX_PREEMPTIVE_REPLIES)
        self._mark = "." if utterance.speaker % _PUNCTUATING == _PUNCTUATING - 1 else ""
        self._asked = 0
        self._at: float | None = None
        self._text = ""

    def paused(self, now: float) -> None:
        """Is asked."""
        if self._asked < MAX_PREEMPTIVE_REPLIES:
            self._at = now + self._answers_s[self._asked]
            self._asked += 1
            self._text = self._written(now)

    def went_on(self) -> None:
        """Its answer is worth nothing now."""
        self._at = None

    def spoken(self, now: float) -> Spoken:
        """Its answer, once it is there."""
        return Spoken(self._text, whole=True) if self._at is not None and now >= self._at else Spoken()

    def _written(self, now: float) -> str:
        """The transcript of the utterance up to `now`."""
        text = [text for at, text in self._words if at <= now]
        return text[-1] + self._mark if text else ""


class Heard(Asked):
    """Writes what a real recogniser wrote, by the frame at which it was asked."""

    def __init__(
        self, utterance: Utterance, answer_s: float, random: np.random.Generator, written: Mapping[int, str]
    ) -> None:
        super().__init__(utterance, answer_s, random)
        self._by_frame = written

    def _written(self, now: float) -> str:
        return self._by_frame.get(round(now * 1000 / FRAME_MS), "")
