"""Decoding one utterance: the short context, and when the whole one is tried."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.providers.vendors.whisper import decoding
from mimi_mqtt.providers.vendors.whisper.decoding import Decoder, Heard, Utterance, compression, repeats

WORDS = {1: " Hello", 2: " there.", 3: " Hel", 4: " What?"}


@dataclass
class Model:
    """faster-whisper's model, as far as the decoder uses it: answers by the number of frames it is given."""

    answers: dict[int, Sequence[int]]
    scores: dict[int, float] = field(default_factory=dict)
    is_multilingual: bool = False
    supported_languages: Sequence[str] = ("en",)
    detected: Sequence[tuple[str, float]] = (("<|de|>", 0.9),)
    asked: list[int] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    together: list[int] = field(default_factory=list)
    """Utterances of each call."""
    others: dict[int, list[Sequence[int]]] = field(default_factory=dict)
    """Answers of several utterances at once, by the number of frames."""
    hf_tokenizer: object = None

    @property
    def model(self) -> "Model":
        return self

    def feature_extractor(self, samples: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        return np.zeros((80, samples.size // 160), np.float32)

    def encode(self, features: "np.ndarray[Any, Any]", to_cpu: bool) -> int:
        self.together.append(int(features.shape[0]))
        return int(features.shape[2])

    def detect_language(self, encoded: int) -> list[Sequence[tuple[str, float]]]:
        return [self.detected] * self.together[-1]

    def generate(
        self, encoded: int, prompts: list[list[int]], *, max_length: int, **_: object
    ) -> list[SimpleNamespace]:
        self.asked.append(encoded)
        room = min(max_length // 2, max_length - len(prompts[0]))  # as CTranslate2 bounds it
        self.limits.append(room)
        answers = self.others.get(encoded) or [self.answers[encoded]] * len(prompts)
        return [
            SimpleNamespace(
                sequences_ids=[[*answer][:room]], scores=[self.scores.get(encoded, -0.1)], no_speech_prob=0.01
            )
            for answer in answers
        ]

    def transcribe(self, samples: object, **options: object) -> tuple[list[object], object]:
        self.asked.append(-1)
        about = SimpleNamespace(language="en", language_probability=1.0)
        return [SimpleNamespace(text=" A long speech.", avg_logprob=-0.1)], about


class Tokens:
    """The library's tokenizer."""

    sot_sequence = (10,)
    sot_prev = 11
    no_timestamps = 12

    def __init__(self, tokens: object, multilingual: bool, task: str, language: str) -> None:
        self.language = language

    def encode(self, text: str) -> list[int]:
        return [99] * len(text.split())

    def decode(self, tokens: list[int]) -> str:
        return "".join(WORDS[token] for token in tokens)


def decoder(model: Model, monkeypatch: pytest.MonkeyPatch, prompt: str = "") -> Decoder:
    storage = SimpleNamespace(StorageView=SimpleNamespace(from_array=lambda array: array))
    modules = {"ctranslate2": storage, "faster_whisper.tokenizer": SimpleNamespace(Tokenizer=Tokens)}
    monkeypatch.setattr(decoding, "import_module", modules.__getitem__)
    return Decoder(model, 5, prompt)


def hear(
    made: Decoder,
    samples: "np.ndarray[Any, np.dtype[np.float32]]",
    language: str | None = None,
    expected: str | None = None,
) -> Heard:
    utterance = Utterance(samples, language, expected)
    if not utterance.context:
        return made.hear_long(utterance)
    (guess,) = made.guess([utterance])
    if guess.doubtful:
        (guess,) = made.guess_again([(utterance, guess)])
    return guess.heard


def silence(seconds: float) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.zeros(int(seconds * 16_000), np.float32)


def test_a_clear_sentence_needs_the_short_context_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model({1000: (1, 2)})
    heard = hear(decoder(model, monkeypatch), silence(2), None)
    assert [segment.text for segment in heard.segments] == [" Hello there."]
    assert model.asked == [1000]


def test_utterances_are_decoded_together_and_only_the_doubtful_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORDS, 3, " Hello there")
    model = Model({3000: (4,)}, others={1000: [(1, 2), (1, 2, 3), (4,)]})
    utterances = [Utterance(silence(seconds), "en") for seconds in (2, 3, 1)]
    made = decoder(model, monkeypatch)
    guesses = [*made.guess(utterances)]
    assert [guess.doubtful for guess in guesses] == [False, True, False]
    (again,) = made.guess_again([(utterances[1], guesses[1])])
    assert [guess.segment.text for guess in (guesses[0], again, guesses[2])] == [
        " Hello there.",
        " What?",
        " What?",
    ]
    assert (model.asked, model.together) == ([1000, 3000], [3, 1])


def test_a_short_utterance_has_its_own_room_beside_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model({}, others={1000: [(1,) * 60, (2,) * 15]})
    long, short = decoder(model, monkeypatch).guess(
        [Utterance(silence(7), "en"), Utterance(silence(0.2), "en")]
    )
    assert long.complete
    assert not short.complete
    assert short.segment.text == " there." * (decoding.SPARE_TOKENS + 1)


def test_each_of_several_is_heard_in_its_language(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model({1000: (1,)}, is_multilingual=True, supported_languages=("en", "de", "vi"))
    utterances = [Utterance(silence(1), "vi"), Utterance(silence(2)), Utterance(silence(1), None, "vi")]
    heard = decoder(model, monkeypatch).guess(utterances)
    assert [(one.language, one.probability) for one in heard] == [("vi", 1.0), ("de", 0.9), ("de", 0.9)]


def test_the_context_holds_the_speech_and_some_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model({1700: (1, 2)})
    hear(decoder(model, monkeypatch), silence(15), "en")
    assert model.asked == [1700]


@pytest.mark.parametrize("answer", [(1, 2, 1, 2), (1, 2, 1), (1, 2, 3)])
def test_a_sentence_that_begins_again_is_decoded_in_the_whole_context(
    monkeypatch: pytest.MonkeyPatch, answer: Sequence[int]
) -> None:
    monkeypatch.setitem(WORDS, 1, " Hello my dear")
    monkeypatch.setitem(WORDS, 3, " Hello my de")
    model = Model({1000: answer, 3000: (4,)}, scores={3000: -0.9})
    heard = hear(decoder(model, monkeypatch), silence(2), None)
    assert [segment.text for segment in heard.segments] == [" What?"]
    assert model.asked == [1000, 3000]


def test_a_text_without_an_end_is_decoded_in_the_whole_context(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model({1000: (4,) * 500, 3000: (1, 2)})
    heard = hear(decoder(model, monkeypatch), silence(2), None)
    assert [segment.text for segment in heard.segments] == [" Hello there."]
    assert model.limits[0] < 40


@pytest.mark.parametrize("prompt", ["", "some words to expect", "word " * 300])
def test_speech_is_heard_to_its_end_however_many_tokens_it_has(
    monkeypatch: pytest.MonkeyPatch, prompt: str
) -> None:
    words = {token: f" {chr(ord('a') + token - 100) * 3}" for token in range(100, 124)}
    for token, word in words.items():
        monkeypatch.setitem(WORDS, token, word)
    model = Model({1000: tuple(words)})  # 24 tokens in two seconds
    (segment,) = hear(decoder(model, monkeypatch, prompt), silence(2), "en").segments
    assert segment.text == "".join(words.values())
    assert model.asked == [1000]


@pytest.mark.parametrize(("whole", "text"), [(-0.3, " Hello there."), (-1.5, " What?")])
def test_of_two_doubtful_texts_the_likelier_counts(
    monkeypatch: pytest.MonkeyPatch, whole: float, text: str
) -> None:
    model = Model({1000: (4,), 3000: (1, 2)}, scores={1000: -1.1, 3000: whole})
    heard = hear(decoder(model, monkeypatch), silence(1), None)
    assert [segment.text for segment in heard.segments] == [text]


def test_no_words_are_no_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hear(decoder(Model({1000: ()}), monkeypatch), silence(1)).segments == ()


def test_the_language_is_found_unless_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model({1000: (1,)}, is_multilingual=True, supported_languages=("en", "de"))
    found = hear(decoder(model, monkeypatch), silence(1), None)
    assert (found.language, found.probability) == ("de", 0.9)
    told = hear(decoder(model, monkeypatch), silence(1), "en")
    assert (told.language, told.probability) == ("en", 1.0)


@pytest.mark.parametrize(
    ("probability", "expected", "language"),
    [(0.9, "en", "de"), (0.4, "en", "en"), (0.4, None, "de"), (0.4, "xx", "de")],
)
def test_a_language_that_is_not_sure_gives_way_to_the_one_expected(
    monkeypatch: pytest.MonkeyPatch, probability: float, expected: str | None, language: str
) -> None:
    model = Model(
        {1000: (1,)},
        is_multilingual=True,
        supported_languages=("en", "de"),
        detected=(("<|de|>", probability),),
    )
    heard = hear(decoder(model, monkeypatch), silence(1), None, expected)
    assert (heard.language, heard.probability) == (language, probability)


def test_expected_words_leave_room_for_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model({1000: (1, 2)})
    hear(decoder(model, monkeypatch, prompt="word " * 1000), silence(2), None)
    assert model.limits == [decoding.SPARE_TOKENS + 2 * decoding.TOKENS_PER_S]


def test_a_speech_of_several_pieces_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model({})
    heard = hear(decoder(model, monkeypatch), silence(40), "en")
    assert [segment.text for segment in heard.segments] == [" A long speech."]


@pytest.mark.parametrize(
    "text",
    [
        "What time is it? What time is it?",
        "Yes. Yes. Yes.",
        "Tell me a joke about penguins Tell me a joke about pengu",
        "今何時ですか。今何時ですか。",
    ],
)
def test_what_begins_again_is_a_repetition(text: str) -> None:
    assert repeats(text)


@pytest.mark.parametrize(
    "text", ["", "Yes.", "What time is it?", "Turn the light on and the heating off.", "好的"]
)
def test_an_ordinary_sentence_is_not(text: str) -> None:
    assert not repeats(text)


def test_compression_is_high_for_repetitions_only() -> None:
    assert compression("no more of it " * 30) > 2.4
    assert 0 < compression("Turn off the lights in the kitchen.") < 2.4
    assert compression("") == 0
