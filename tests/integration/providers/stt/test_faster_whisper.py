"""faster-whisper: real loading and decoding of a tiny model, and models that can't be used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.contract.stt import SttCapabilities
from mimi_mqtt.providers.vendors.whisper.decoding import Guess, Utterance
from mimi_mqtt.providers.vendors.whisper.segments import Segment
from mimi_mqtt.providers.vendors.whisper.stt import FasterWhisper
from tests.integration.providers.stt.hearing import final, provider
from tests.models import whisper


@pytest.mark.parametrize("language", ["en", "en-GB", "de", None])
async def test_it_hears_in_the_languages_of_its_model(tmp_path: Path, language: str | None) -> None:
    stt = provider("faster_whisper", stt_model=whisper.english(tmp_path), stt_device="cpu")
    transcript = await final(stt, language=language)
    assert (transcript.text, transcript.language) == ("hello world", "en")
    assert transcript.confidence == pytest.approx(1.0, abs=0.1)


async def test_a_model_of_english_alone_says_so(tmp_path: Path) -> None:
    stt = provider("faster_whisper", stt_model=whisper.english(tmp_path), stt_device="cpu")
    assert stt.capabilities.detects is None
    await stt.start()
    assert stt.capabilities == SttCapabilities(streaming=False, languages=frozenset({"en"}))
    await stt.aclose()


@dataclass
class ManyLanguages:
    """A decoder of a model for several languages."""

    probability: float
    languages: tuple[str, ...] = ("en", "de")
    hint: str | None = None
    expected: str | None = None
    segments: tuple[Segment, ...] = (Segment(text=" Guten Tag", avg_logprob=0.0),)

    def guess(self, utterances: Sequence[Utterance]) -> Sequence[Guess]:
        (utterance,) = utterances
        self.hint, self.expected = utterance.language, utterance.expected
        return [Guess(self.segments[0], True, self.hint or "de", self.probability, whole=True)]


@pytest.mark.parametrize(
    ("probability", "certain", "hint", "told"),
    [(0.9, False, None, "de"), (0.3, False, None, None), (1.0, True, "en", "en")],
)
async def test_a_language_is_told_when_the_model_is_sure_of_it(
    monkeypatch: pytest.MonkeyPatch, probability: float, certain: bool, hint: str | None, told: str | None
) -> None:
    model = ManyLanguages(probability)
    monkeypatch.setattr(FasterWhisper, "_load", lambda _: model)
    transcript = await final(provider("faster_whisper"), language="en", certain=certain)
    assert (model.hint, transcript.language) == (hint, told)
    assert model.expected == (None if certain else "en")


async def test_a_model_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ProviderNotConfigured, match="stt_model"):
        await provider("faster_whisper").start()
    with pytest.raises(ProviderNotConfigured, match=r"no model\.bin"):
        await provider("faster_whisper", stt_model=tmp_path).start()


async def test_nothing_is_fetched_for_a_model_without_its_tokenizer(tmp_path: Path) -> None:
    (whisper.english(tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(ProviderNotConfigured, match=r"tokenizer\.json"):
        await provider("faster_whisper", stt_model=tmp_path).start()


@pytest.mark.parametrize("file", ["model.bin", "tokenizer.json"])
async def test_a_broken_file_is_told_of(tmp_path: Path, file: str) -> None:
    (whisper.english(tmp_path) / file).write_bytes(b"<html>")
    with pytest.raises(ProviderNotConfigured, match="can't use"):
        await provider("faster_whisper", stt_model=tmp_path, stt_device="cpu").start()


async def test_a_device_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    stt = provider(
        "faster_whisper", stt_model=whisper.english(tmp_path), stt_device="cpu", stt_compute_type="float7"
    )
    with pytest.raises(ProviderNotConfigured, match="float7"):
        await stt.start()


async def test_words_that_nobody_has_said_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Segment(text=" Hello", avg_logprob=-0.1, no_speech_prob=0.02, compression_ratio=0.8)
    invented = Segment(
        text=" Thanks for watching!", avg_logprob=-0.7, no_speech_prob=0.8, compression_ratio=0.9
    )
    model = ManyLanguages(1.0, segments=(said,))
    monkeypatch.setattr(FasterWhisper, "_load", lambda _: model)
    transcript = await final(provider("faster_whisper"), language="en", certain=False)
    assert transcript.text == "Hello"
    assert transcript.confidence == pytest.approx(math.exp(-0.1))
    model.segments = (invented,)
    transcript = await final(provider("faster_whisper"), language="en", certain=False)
    assert (transcript.text, transcript.language, transcript.confidence) == ("", None, None)
