"""Piper in this process: the real package and onnxruntime, with a tiny model."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, VoiceOptions
from tests.unit.providers.fakes import collect
from tests.unit.providers.vendors.piper.piper_model import SAMPLE_RATE, write_voice

Open = Callable[..., Awaitable[TextToSpeech]]


@pytest.fixture
async def load() -> AsyncIterator[Open]:
    opened: list[TextToSpeech] = []

    async def make(model: Path | None, **options: Any) -> TextToSpeech:
        settings = ProviderSettings(
            tts=("piper",), retries=0, options={"piper": {"tts_model": model, **options}}
        )
        opened.append(registry.build("tts", settings, {}))
        await opened[-1].start()
        return opened[-1]

    yield make
    for tts in opened:
        await tts.aclose()


def length(chunks: list[SpeechChunk]) -> int:
    return sum(chunk.pcm.size for chunk in chunks)


async def test_each_sentence_is_passed_on_by_itself(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path))
    chunks = await collect(tts.speak("Hello there. How are you? Good."))
    assert len(chunks) == 3
    for chunk in chunks:
        assert chunk.sample_rate == SAMPLE_RATE
        assert chunk.pcm.dtype == np.int16
        assert np.abs(chunk.pcm).max() > 30_000


async def test_the_model_says_which_language_it_speaks(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path, language="vi"))
    assert tts.capabilities.languages == frozenset({"vi"})


async def test_speed_shortens_the_speech(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path))
    normal = length(await collect(tts.speak("Hello.")))
    assert length(await collect(tts.speak("Hello.", VoiceOptions(speed=2.0)))) == normal // 2
    assert length(await collect(tts.speak("Hello.", VoiceOptions(speed=0.5)))) == normal * 2


async def test_the_voice_names_a_speaker(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path, speakers=3), tts_speaker="speaker1")
    second = length(await collect(tts.speak("Hello.")))
    first = length(await collect(tts.speak("Hello.", VoiceOptions(voice="speaker0"))))
    unknown = length(await collect(tts.speak("Hello.", VoiceOptions(voice="coral"))))
    assert (second, unknown) == (first * 2, first * 2)


async def test_volume_scales_the_samples(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path), tts_volume=0.5)
    (chunk,) = await collect(tts.speak("Hello."))
    assert 15_000 < np.abs(chunk.pcm).max() < 17_000


async def test_brackets_are_not_taken_for_phonemes(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path))
    plain = length(await collect(tts.speak("see link now.")))
    assert length(await collect(tts.speak("see [[link]] now."))) >= plain


async def test_times_and_sums_are_spoken_as_words(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path))
    words = length(await collect(tts.speak("It costs 5 dollars 20 at 7 30.")))
    assert length(await collect(tts.speak("It costs $5.20 at 7:30."))) == words


async def test_speech_can_be_left_early_and_asked_for_again(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path))
    async with aclosing(tts.speak("One. Two. Three. Four.")) as chunks:
        await anext(chunks)
    assert len(await collect(tts.speak("One. Two."))) == 2


async def test_many_speak_at_once(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path))
    spoken = await asyncio.gather(*(collect(tts.speak(f"One. {'Two. ' * times}")) for times in range(4)))
    assert [len(chunks) for chunks in spoken] == [1, 2, 3, 4]


async def test_after_closing_it_loads_again(load: Open, tmp_path: Path) -> None:
    tts = await load(write_voice(tmp_path))
    await tts.aclose()
    await tts.aclose()
    assert "speech" in await tts.check()


async def test_without_a_model_the_cure_is_named(load: Open) -> None:
    with pytest.raises(ProviderNotConfigured, match=r"set providers\.options\.\S*tts_model"):
        await load(None)


@pytest.mark.parametrize("missing", ["voice.onnx", "voice.onnx.json"])
async def test_a_missing_file_is_named(load: Open, tmp_path: Path, missing: str) -> None:
    model = write_voice(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ProviderNotConfigured, match=missing):
        await load(model)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("voice.onnx", b""),
        ("voice.onnx", b"no model"),
        ("voice.onnx.json", b""),
        ("voice.onnx.json", b"[]"),
        ("voice.onnx.json", b"{}"),
        ("voice.onnx.json", b"\xff\xfe"),
    ],
)
async def test_a_broken_file_is_told(load: Open, tmp_path: Path, file: str, content: bytes) -> None:
    model = write_voice(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ProviderNotConfigured, match="is no Piper voice"):
        await load(model)
