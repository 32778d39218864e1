"""Where in its audio each sentence of a spoken answer begins, when words and sound come side by side. Pure.

A service says its words and its sound in one stream, the words some way ahead or behind, and without times.
While it speaks a sentence is placed by how long its words take to say; once all is there, by its share.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.voice.speech.sentences import Sentence, spoken_weight

USUAL_PACE_MS: Final = 65.0
"""About how long one unit of `spoken_weight` takes to say."""
_LEAST_WEIGHT: Final = 40
"""Of an answer shorter than this nothing is learnt about the speaker."""


@dataclass(slots=True)
class _Part:
    """One stream: between two of them tools were called."""

    begin: int
    weight: int = 0
    frames_per_weight: float | None = None


class SentenceTrack:
    """One answer. `pace_ms` is how long a unit of weight takes with this speaker, as far as is known."""

    def __init__(self, frame_ms: int, pace_ms: float = USUAL_PACE_MS) -> None:
        self._frame_ms = frame_ms
        self.pace_ms = pace_ms
        """As given, or as it turned out to be."""
        self.frames = 0
        """Frames made so far."""
        self._parts = [_Part(0)]
        self._waiting: deque[tuple[Sentence, _Part, int]] = deque()
        self._end: tuple[_Part, int] | None = None

    @property
    def expects(self) -> bool:
        """Whether there is a sentence that has not begun."""
        return bool(self._waiting)

    @property
    def settled(self) -> bool:
        """Whether nothing more can change: all that was said so far is there, with its sound."""
        return self._parts[-1].frames_per_weight is not None

    def add(self, sentence: Sentence) -> None:
        """A further sentence is known."""
        part = self._open_part()
        self._waiting.append((sentence, part, part.weight))
        part.weight += spoken_weight(sentence.speech)

    def made(self) -> None:
        """A further frame of sound is there."""
        self._open_part()
        self.frames += 1

    def end(self) -> None:
        """What is said after the sentences so far is too much: see `over`."""
        if self._end is None:
            part = self._open_part()
            self._end = part, part.weight

    def over(self, frame: int) -> bool:
        """Whether `frame` is a part of what is too much."""
        return self._end is not None and frame >= self._begin(*self._end)

    def settle(self, *, whole: bool) -> None:
        """The stream has ended; `whole`: with all its sound and words, not in the middle."""
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
        """The sentences that have begun when `frame` sounds, each once, with the frame they began at."""
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
        """Those that found no place in the sound."""
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
