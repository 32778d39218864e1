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
class Utterance:
    """Samples (float32 mono at 16 kHz, -1 to 1) to be heard in `language`, or in the one that is found.

    `expected` is the language that is usually spoken here: it is taken when another one is not sure.
    """

    samples: Samples
    language: str | None = None
    expected: str | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples.size / RATE

    @property
    def context(self) -> int:
        """Frames of the context that holds it; 0 for a speech that is heard in pieces."""
        if self.seconds > LONGEST_S:
            return 0
        return min(WHOLE_FRAMES, int(max(SHORTEST_S, self.seconds + MARGIN_S) * FRAMES_PER_S) // 2 * 2)


@dataclass(frozen=True, slots=True)
class Heard:
    """The transcript of one utterance by a model; `probability` is how sure it is of `language`."""

    segments: Sequence[Segment]
    language: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class Guess:
    """The words of one utterance in one context, and the language that they were taken to be in."""

    segment: Segment
    complete: bool
    """True when the model itself ended the text."""
    language: str
    probability: float
    whole: bool
    """True when the context was the whole one, for which the model was made."""

    @property
    def good(self) -> bool:
        """True for a text that is no endless repetition."""
        return self.complete and not repeats(self.segment.text)

    @property
    def doubtful(self) -> bool:
        """True when the whole context should be tried as well."""
        return not self.whole and (not self.good or self.segment.avg_logprob < DOUBTFUL)

    @property
    def heard(self) -> Heard:
        """The transcript that it is."""
        said = (self.segment,) if self.segment.text.strip() else ()
        return Heard(said, self.language, self.probability)


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

    def guess(self, utterances: Sequence[Utterance]) -> Sequence[Guess]:
        """The words of utterances of the same `context`, decoded together, sooner than one by one."""
        return self._guesses(utterances, utterances[0].context)

    def guess_again(self, doubtful: Sequence[tuple[Utterance, Guess]]) -> Sequence[Guess]:
        """The better of each guess and another one in the whole context."""
        others = self._guesses([utterance for utterance, _ in doubtful], WHOLE_FRAMES)
        return [
            other if not guess.good or other.segment.avg_logprob > guess.segment.avg_logprob else guess
            for (_, guess), other in zip(doubtful, others, strict=True)
        ]

    def _guesses(self, utterances: Sequence[Utterance], frames: int) -> list[Guess]:
        """The words of each utterance in a context of `frames`."""
        encoded = self._encode([utterance.samples for utterance in utterances], frames)
        languages = self._languages(encoded, utterances)
        tokenizers = [
            self._tokenizer(
                self._model.hf_tokenizer,
                self._model.model.is_multilingual,
                task="transcribe",
                language=language,
            )
            for language, _ in languages
        ]
        prompts = [self._words_before(tokenizer) for tokenizer in tokenizers]
        most = [
            min(MAX_TOKENS, SPARE_TOKENS + int(TOKENS_PER_S * utterance.seconds), MAX_LENGTH - len(prompt))
            for utterance, prompt in zip(utterances, prompts, strict=True)
        ]
        results = self._model.model.generate(
            encoded,
            prompts,
            beam_size=self._beam_size,
            # CTranslate2 ends a text at half of this, and at this less the prompt.
            max_length=min(MAX_LENGTH, max(2 * max(most), len(prompts[0]) + max(most))),
            return_scores=True,
            return_no_speech_prob=True,
        )
        return [
            _guess(result, tokenizer, room, *language, whole=frames == WHOLE_FRAMES)
            for result, tokenizer, room, language in zip(results, tokenizers, most, languages, strict=True)
        ]

    def _encode(self, speech: Sequence[Samples], frames: int) -> Any:
        hop = RATE // FRAMES_PER_S
        features = []
        for samples in speech:
            padded = np.zeros(frames * hop, np.float32)
            padded[: samples.size] = samples[: padded.size]
            features.append(self._model.feature_extractor(padded)[:, :frames])
        return self._model.model.encode(self._storage.from_array(np.stack(features)), to_cpu=False)

    def _languages(self, encoded: Any, utterances: Sequence[Utterance]) -> Sequence[tuple[str, float]]:
        """The language to decode each in, and its probability: 1 for the one wished, or the only one."""
        if not self._model.model.is_multilingual:
            return [("en", 1.0)] * len(utterances)
        wished = [
            utterance.language if utterance.language in self.languages else None for utterance in utterances
        ]
        if None not in wished:
            return [(language, 1.0) for language in wished if language]
        detected = self._model.model.detect_language(encoded)
        return [
            (language, 1.0) if language else self._found(probable[0], utterance.expected)
            for language, probable, utterance in zip(wished, detected, utterances, strict=True)
        ]

    def _found(self, likeliest: tuple[str, float], expected: str | None) -> tuple[str, float]:
        found, probability = likeliest[0].strip("<|>"), likeliest[1]
        unsure = probability < SURE_OF_LANGUAGE or found not in self.languages
        usual = expected if expected in self.languages else None
        return (usual if usual is not None and unsure else found), float(probability)

    def _words_before(self, tokenizer: Any) -> list[int]:
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        if self._prompt:
            expected = tokenizer.encode(" " + self._prompt.strip())[-MAX_TOKENS + 1 :]
            prompt = [tokenizer.sot_prev, *expected, *prompt]
        return prompt

    def hear_long(self, utterance: Utterance) -> Heard:
        """A speech of more than one piece; the library cuts it, at the ends of sentences by their times."""
        segments, about = self._model.transcribe(
            utterance.samples,
            language=utterance.language if utterance.language in self.languages else None,
            beam_size=self._beam_size,
            initial_prompt=self._prompt or None,
            temperature=0.0,
            condition_on_previous_text=False,
        )
        return Heard(segments_of(list(segments)), about.language, float(about.language_probability))


def _guess(
    result: Any, tokenizer: Any, room: int, language: str, probability: float, *, whole: bool
) -> Guess:
    tokens = result.sequences_ids[0]
    # The longest of those decoded together had more room.
    text = tokenizer.decode(tokens[:room])
    segment = Segment(
        text=text,
        # The library divides by the length without the end of the text.
        avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
        no_speech_prob=result.no_speech_prob,
        compression_ratio=compression(text),
    )
    return Guess(segment, len(tokens) < room, language, probability, whole)


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
