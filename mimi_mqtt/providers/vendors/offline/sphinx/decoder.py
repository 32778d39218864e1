"""One pocketsphinx decoder with three searches, and the choice between their results.

The grammar knows the assistant's sentences and nothing else, so it turns anything into one of them; the
general model knows English, and gets a third of a synthetic voice's words wrong. Which of the two is right
is told by their acoustic scores over the same audio, against each other and against a free loop of phones,
and by how far the two texts agree.

The weights of `Choice.score` were fitted by logistic regression to 1,015 grammar hypotheses, right ones and
forced ones: 119 sentences in ten voices of espeak-ng and flite, through Opus at 24 kb/s, clean, with 5 %
loss, and at 20 dB of noise. In cross-validation by sentence 89 % of the right ones are over 0.5 and 85 %
over 1, and 5 % and 4 % of the forced ones; nearly half of all other speech has no hypothesis at all.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Protocol

from mimi_mqtt.providers.vendors.offline.sphinx.grammar import GRAMMAR, NAME
from mimi_mqtt.providers.vendors.offline.sphinx.messages import Heard

SAMPLE_RATE = 16_000
_PHONES = "phones"
_SURE, _SURE_TO_ACT = 0.5, 1.0
_ACTING = frozenset(
    """
    set start cancel stop delete clear turn raise lower increase decrease maximum minimum full mute louder
    quieter brighter darker dim up down
    """.split()  # noqa: SIM905 - easier to read than twenty quoted words
)
_FRAME_BYTES = SAMPLE_RATE // 100 * 2
_LOG_BASE = math.log(1.0001)  # of the library's scores, which it hands out as powers
_LATTICE_SCALE = 1024  # the general model's scores come unscaled out of the lattice
_MOST_ACTIVE_STATES = 5_000  # else noise takes twice the time of speech
_MOST_FRAMES = 250
_MOST_RELATIVE_LENGTH = 2.5
_NOT_WORDS = ("<", "[", "(")


class Segment(Protocol):
    """A word or phone in a hypothesis: first and last 10 ms frame, and its acoustic score."""

    word: str
    start_frame: int
    end_frame: int
    ascore: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The result of one search: text, acoustic log score, and number of frames its words cover."""

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
    """The grammar's hypothesis against the phone loop's and the general model's; `frames` of 10 ms."""

    command: Hypothesis
    phones: Hypothesis
    general: Hypothesis
    frames: int

    @property
    def score(self) -> float:
        """Approximate log odds of the command."""
        spoken = max(1, self.command.frames)
        command, general = self.command.text.replace(" ", ""), self.general.text.replace(" ", "")
        against_phones = (self.command.score - self.phones.score) / spoken
        against_general = (self.command.score - self.general.score) / spoken
        agreement = SequenceMatcher(None, command, general, autojunk=False).ratio()
        relative_length = min(_MOST_RELATIVE_LENGTH, len(general) / max(1, len(command)))
        return (
            10.106
            + 0.066 * against_phones
            + 0.073 * against_general
            + 2.281 * agreement
            + 8.348 * spoken / max(1, self.frames)
            - 3.156 * relative_length
            - 3.053 * min(spoken, _MOST_FRAMES) / 100
            - 4.697 * len(command) / spoken * 10
        )

    @property
    def threshold(self) -> float:
        """The score from which the command is accepted; higher for commands that change something."""
        return _SURE_TO_ACT if _ACTING.intersection(self.command.text.split()) else _SURE

    def heard(self) -> Heard:
        """The command when its score suffices, else the general model's text."""
        if not self.command.text:
            return Heard(self.general.text, False, None)
        score = self.score
        confidence = round(1 / (1 + math.exp(-max(-30.0, min(30.0, score)))), 3)
        if score >= self.threshold or self.command.text == self.general.text:
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
                maxhmmpf=_MOST_ACTIVE_STATES,
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
        """True when `word` is in the dictionary."""
        return self._decoder.lookup_word(word) is not None

    def decode(self, pcm: bytes, *, commands: bool) -> Heard:
        """Understands mono 16 kHz s16le; empty text when there is nothing in it. `commands`: it is a whole
        utterance, which may be one of the assistant's commands."""
        if len(pcm) < SAMPLE_RATE // 10:
            return Heard("", False, None)
        command = Hypothesis("", 0.0, 0)
        if commands:
            command = self._search(NAME, pcm)
        general = self._search(self._general, pcm, _LATTICE_SCALE)
        if not command.text:
            return Heard(general.text, False, None)
        return Choice(command, self._search(_PHONES, pcm), general, len(pcm) // _FRAME_BYTES).heard()

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
