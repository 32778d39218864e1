"""One pocketsphinx decoder with three searches, and the choice between what they found.

The grammar knows the assistant's sentences and nothing else, so it turns anything into one of them; the
general model knows English, and gets a third of a synthetic voice's words wrong. Which of the two is right is
told by the acoustic scores, compared over the same audio with a free loop of phones.

The weights were fitted by logistic regression to 315 grammar hypotheses, right ones and forced ones: 98
sentences in 7 voices of espeak-ng and flite, through Opus at 24 kb/s, clean, with 5 % loss, and at 20 dB of
noise. `Choice.score` is the log odds that the command was really said.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Protocol

from mimi_mqtt.providers.stt.sphinx.grammar import GRAMMAR, NAME
from mimi_mqtt.providers.stt.sphinx.messages import Heard

SAMPLE_RATE = 16_000
_LONGEST_COMMAND_BYTES = 9 * SAMPLE_RATE * 2
_PHONES = "phones"
_SURE = 1.4
_LOG_BASE = math.log(1.0001)  # of the library's scores, which it hands out as powers
_LATTICE_SCALE = 1024  # the general model's scores come unscaled out of the lattice
_MOST_FRAMES = 250
_NOT_WORDS = ("<", "[", "(")


class Segment(Protocol):
    """A word or phone in a hypothesis: first and last 10 ms frame, and its acoustic score."""

    word: str
    start_frame: int
    end_frame: int
    ascore: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What one search found: the text, its acoustic log score, and the frames its words cover."""

    text: str
    score: float
    frames: int

    @classmethod
    def of(cls, text: str, segments: Iterable[Segment], scale: int = 1) -> "Hypothesis":
        """Sums up `segments`; `scale` brings their scores to the unit of the others."""
        score = 0.0
        frames = 0
        for segment in segments:
            if segment.ascore > 0:
                score += math.log(segment.ascore) / _LOG_BASE / scale
            if not segment.word.startswith(_NOT_WORDS):
                frames += segment.end_frame - segment.start_frame + 1
        return cls(text, score, frames)


@dataclass(frozen=True, slots=True)
class Choice:
    """The grammar's hypothesis against the phone loop's and the general model's."""

    command: Hypothesis
    phones: Hypothesis
    general: Hypothesis

    @property
    def score(self) -> float:
        """The log odds that the command was said."""
        frames = max(1, self.command.frames)
        against_phones = (self.command.score - self.phones.score) / frames
        against_general = (self.command.score - self.general.score) / frames
        agreement = SequenceMatcher(
            None, self.command.text.replace(" ", ""), self.general.text.replace(" ", ""), autojunk=False
        ).ratio()
        return (
            3.187
            + 0.0827 * against_phones
            + 0.132 * against_general
            + 4.3274 * agreement
            - 0.0195 * min(frames, _MOST_FRAMES)
        )

    def heard(self) -> Heard:
        """The command when it is sure enough, else what the general model understood."""
        if not self.command.text:
            return Heard(self.general.text, False, None)
        score = self.score
        confidence = round(1 / (1 + math.exp(-max(-30.0, min(30.0, score)))), 3)
        if score >= _SURE or self.command.text == self.general.text:
            return Heard(self.command.text, True, confidence)
        return Heard(self.general.text, False, None)


class Decoder:
    """pocketsphinx with its English model; takes about 0.6 s to make. Raises ImportError without it."""

    def __init__(self) -> None:
        from pocketsphinx import Config, get_model_path
        from pocketsphinx import Decoder as Sphinx

        self._decoder = Sphinx(
            Config(
                hmm=get_model_path("en-us/en-us"),
                dict=get_model_path("en-us/cmudict-en-us.dict"),
                lm=get_model_path("en-us/en-us.lm.bin"),
                loglevel="FATAL",
            )
        )
        self._general: str = self._decoder.current_search()
        # A search takes the configuration of the moment it is added: the lattice of a grammar costs more
        # than the search, and finds sentences that the grammar has not.
        self._decoder.config["bestpath"] = False
        self._decoder.add_jsgf_string(NAME, GRAMMAR)
        self._decoder.add_allphone_file(_PHONES, get_model_path("en-us/en-us-phone.lm.bin"))
        self._decoder.config["bestpath"] = True

    def knows(self, word: str) -> bool:
        """Whether `word` is in the dictionary."""
        return self._decoder.lookup_word(word) is not None

    def decode(self, pcm: bytes) -> Heard:
        """Understands a whole utterance of mono 16 kHz s16le; empty text when there is nothing in it."""
        if len(pcm) < SAMPLE_RATE // 10:
            return Heard("", False, None)
        command = Hypothesis("", 0.0, 0)
        if len(pcm) <= _LONGEST_COMMAND_BYTES:
            command = self._search(NAME, pcm)
        general = self._search(self._general, pcm, _LATTICE_SCALE)
        if not command.text:
            return Heard(general.text, False, None)
        return Choice(command, self._search(_PHONES, pcm), general).heard()

    def _search(self, search: str, pcm: bytes, scale: int = 1) -> Hypothesis:
        # With the whole utterance at once the features are normalised by its own mean: at 20 dB of noise
        # that is the difference between a quarter and nine tenths of the commands.
        self._decoder.activate_search(search)
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        if found is None:
            return Hypothesis("", 0.0, 0)
        segments: Sequence[Segment] = list(self._decoder.seg() or ())
        return Hypothesis.of(found.hypstr.strip(), segments, scale)
