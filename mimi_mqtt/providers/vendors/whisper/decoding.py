"""One utterance through a Whisper model: a short context first, the whole of 30 s only when that went wrong.

Whisper was made for pieces of 30 s, and is usually given silence up to that, which is most of its work: two
seconds of speech cost as much as thirty. It also understands a shorter context, three times as fast, with the
same errors on clear speech, as measured (docs/voice.md); now and then it then begins the sentence again. That
is noticed by the repetition, and such an utterance is decoded again as the model expects it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, TypeAlias

import numpy as np

from mimi_mqtt.providers.vendors.whisper.segments import Segment, segments_of

Samples: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"

RATE: Final = 16_000
FRAMES_PER_S: Final = 100
WHOLE_FRAMES: Final = 3_000
"""Frames of the context that the model was made for."""
SHORTEST_S: Final = 10.0
"""Least context; below, repetitions become frequent."""
MARGIN_S: Final = 2.0
"""Silence after the speech in a short context."""
LONGEST_S: Final = 28.0
"""Longest utterance that is decoded at once."""
TOKENS_PER_S: Final = 8
"""More than anybody says in a second; what is longer is a repetition."""
SPARE_TOKENS: Final = 12
MAX_TOKENS: Final = 224
"""Half of what the model's decoder holds, as its own software has it."""
MAX_LENGTH: Final = 448
"""Tokens that the model's decoder holds, prompt included."""
SURE_OF_LANGUAGE: Final = 0.6
"""Probability of a detected language below which the expected one is taken: of a second of speech it is often
wrong."""
DOUBTFUL: Final = -0.5
"""Mean log probability of the words below which the whole context is tried as well."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The transcript of one utterance by a model; `probability` is how sure it is of `language`."""

    segments: Sequence[Segment]
    language: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class _Guess:
    segment: Segment
    complete: bool
    """True when the model itself ended the text."""

    @property
    def good(self) -> bool:
        return self.complete and not repeats(self.segment.text)


class Decoder:
    """Decodes with `model`, faster-whisper's; safe to use from several threads at once.

    `beam_size` is the number of hypotheses, `prompt` has words to expect.
    """

    def __init__(self, model: Any, beam_size: int, prompt: str) -> None:
        self._model = model
        self._beam_size = beam_size
        self._prompt = prompt
        self._storage = import_module("ctranslate2").StorageView
        self._tokenizer = import_module("faster_whisper.tokenizer").Tokenizer

    @property
    def languages(self) -> Sequence[str]:
        """The tags of the languages that the model knows."""
        known: Sequence[str] = self._model.supported_languages
        return known

    def hear(self, samples: Samples, language: str | None, expected: str | None = None) -> Heard:
        """The text in `samples` (float32 mono at 16 kHz, -1 to 1), in `language`, or in the one it finds.

        `expected` is the language that is usually spoken here: it is taken when another one is not sure.
        """
        wished = language if language in self.languages else None
        usual = expected if expected in self.languages else None
        seconds = samples.size / RATE
        if seconds > LONGEST_S:
            return self._long(samples, wished)
        frames = min(WHOLE_FRAMES, int(max(SHORTEST_S, seconds + MARGIN_S) * FRAMES_PER_S) // 2 * 2)
        encoded = self._encode(samples, frames)
        told, probability = self._language(encoded, wished, usual)
        guess = self._words(encoded, told, seconds)
        if frames < WHOLE_FRAMES and (not guess.good or guess.segment.avg_logprob < DOUBTFUL):
            encoded = self._encode(samples, WHOLE_FRAMES)
            if wished is None:
                told, probability = self._language(encoded, None, usual)
            whole = self._words(encoded, told, seconds)
            if not guess.good or whole.segment.avg_logprob > guess.segment.avg_logprob:
                guess = whole
        segments = (guess.segment,) if guess.segment.text.strip() else ()
        return Heard(segments, told, probability)

    def _encode(self, samples: Samples, frames: int) -> Any:
        hop = RATE // FRAMES_PER_S
        padded = np.zeros(frames * hop, np.float32)
        padded[: samples.size] = samples[: padded.size]
        features = self._model.feature_extractor(padded)[:, :frames]
        return self._model.model.encode(
            self._storage.from_array(np.ascontiguousarray(features[None])), to_cpu=False
        )

    def _language(self, encoded: Any, wished: str | None, usual: str | None) -> tuple[str, float]:
        """The language to decode in, and its probability: 1 for the one wished, or the only one."""
        if wished is not None:
            return wished, 1.0
        if not self._model.model.is_multilingual:
            return "en", 1.0
        token, probability = self._model.model.detect_language(encoded)[0][0]
        found = str(token).strip("<|>")
        if usual is not None and (probability < SURE_OF_LANGUAGE or found not in self.languages):
            return usual, float(probability)
        return found, float(probability)

    def _words(self, encoded: Any, language: str, seconds: float) -> _Guess:
        tokenizer = self._tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=language
        )
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        if self._prompt:
            expected = tokenizer.encode(" " + self._prompt.strip())[-MAX_TOKENS + 1 :]
            prompt = [tokenizer.sot_prev, *expected, *prompt]
        most = min(MAX_TOKENS, SPARE_TOKENS + int(TOKENS_PER_S * seconds), MAX_LENGTH - len(prompt))
        (result,) = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=self._beam_size,
            # CTranslate2 ends a text at half of this, and at this less the prompt.
            max_length=min(MAX_LENGTH, max(2 * most, len(prompt) + most)),
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = result.sequences_ids[0]
        text = tokenizer.decode(tokens)
        segment = Segment(
            text=text,
            # The library divides by the length without the end of the text.
            avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech_prob=result.no_speech_prob,
            compression_ratio=compression(text),
        )
        return _Guess(segment, len(tokens) < most)

    def _long(self, samples: Samples, language: str | None) -> Heard:
        """A speech of more than one piece; the library cuts it, at the ends of sentences by their times."""
        segments, about = self._model.transcribe(
            samples,
            language=language,
            beam_size=self._beam_size,
            initial_prompt=self._prompt or None,
            temperature=0.0,
            condition_on_previous_text=False,
        )
        return Heard(segments_of(list(segments)), about.language, float(about.language_probability))


def compression(text: str) -> float:
    """The ratio by which `text` can be packed; high for what repeats itself."""
    written = text.encode()
    return len(written) / len(zlib.compress(written)) if written else 0.0


def repeats(text: str) -> bool:
    """True when `text` ends as it began, as a sentence that is begun again does ("Tell me more. Tell me")."""
    letters = "".join(character for character in text.lower() if character.isalnum() or character == " ")
    said = " ".join(letters.split())
    return any(
        said[period:] == said[: len(said) - period]
        for period in range(3, len(said) - 2)
        if len(said) - period >= min(period, 8)
    )
