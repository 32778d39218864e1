"""Alignment of the words and the sound of a spoken answer: where in the audio each sentence begins. Pure.

A service says its words and its sound in one stream, the words some way ahead or behind, and without times.
While it speaks a sentence is placed by how long its words take to say; once all is there, by its share.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.providers.contract.tts import MS_PER_CHARACTER
from mimi_mqtt.voice.speech.sentences import Sentence, spoken_weight

USUAL_PACE_MS: Final = float(MS_PER_CHARACTER)
"""About how long one unit of `spoken_weight` takes to say, in ms."""
_LEAST_WEIGHT: Final = 40
"""The pace is not learnt from shorter answers."""


@dataclass(slots=True)
class _Part:
    """One stream of an answer; tools are called between two streams."""

    begin: int
    weight: int = 0
    frames_per_weight: float | None = None


class SentenceTrack:
    """Sentences and frames of one answer. `pace_ms`: ms this speaker takes for a unit of weight, if known."""

    def __init__(self, frame_ms: int, pace_ms: float = USUAL_PACE_MS) -> None:
        self._frame_ms = frame_ms
        self.pace_ms = pace_ms
        """Ms for a unit of weight: as given, or as measured."""
        self.frames = 0
        """Frames made so far."""
        self._parts = [_Part(0)]
        self._waiting: deque[tuple[Sentence, _Part, int]] = deque()
        self._end: tuple[_Part, int] | None = None

    @property
    def expects(self) -> bool:
        """True when some sentence has not begun."""
        return bool(self._waiting)

    @property
    def settled(self) -> bool:
        """True when the stream has ended, so that the beginnings of its sentences are certain."""
        return self._parts[-1].frames_per_weight is not None

    def add(self, sentence: Sentence) -> None:
        """Adds a sentence."""
        part = self._open_part()
        self._waiting.append((sentence, part, part.weight))
        part.weight += spoken_weight(sentence.speech)

    def made(self) -> None:
        """Counts a frame of sound."""
        self._open_part()
        self.frames += 1

    def end(self) -> None:
        """Ends the answer after the sentences so far; see `over`."""
        if self._end is None:
            part = self._open_part()
            self._end = part, part.weight

    def over(self, frame: int) -> bool:
        """True when `frame` comes after the end set by `end`."""
        return self._end is not None and frame >= self._begin(*self._end)

    def settle(self, *, whole: bool) -> None:
        """Ends the stream; `whole`: all its sound and words are there."""
        part = self._parts[-1]
        if part.frames_per_weight is not None:
            return
        frames = self.frames - part.begin
        part.frames_per_weight = self.pace_ms / self._frame_ms
        if whole and part.weight and frames:
            part.frames_per_weight = frames / part.weight
            if part.weight >= _LEAST_WEIGHT:
                self.pace_ms = part.frames_per_weight * self._frame_ms

    def take(self, frame: int) -> list[tuple[Sentence, int]]:
        """Sentences that have begun when `frame` sounds, each once, with the frame they began at."""
        taken: list[tuple[Sentence, int]] = []
        while self._waiting:
            sentence, part, weight = self._waiting[0]
            begin = self._begin(part, weight)
            if begin > frame:
                break
            taken.append((sentence, begin))
            self._waiting.popleft()
        return taken

    def take_rest(self) -> list[Sentence]:
        """Sentences left over at the end of the sound."""
        rest = [sentence for sentence, _, _ in self._waiting]
        self._waiting.clear()
        return rest

    def _begin(self, part: _Part, weight: int) -> int:
        rate = part.frames_per_weight
        return part.begin + round(weight * (self.pace_ms / self._frame_ms if rate is None else rate))

    def _open_part(self) -> _Part:
        if self.settled:
            self._parts.append(_Part(self.frames))
        return self._parts[-1]
