"""sherpa-onnx: real loading and speaking of tiny voices, and voices that can't be used."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ConfigError, ProviderNotConfigured
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, VoiceOptions
from tests.integration.providers.stt.hearing import provider as recogniser
from tests.integration.providers.stt.test_real_whisper import bare, heard
from tests.integration.providers.stt.to_16_khz import to_16_khz
from tests.models import sherpa_voices


def provider(name: str, **options: Any) -> TextToSpeech:
    """The provider as the server builds it, without retries."""
    settings = {"tts": name, "retries": 0, "options": {name: options}}
    return registry.build("tts", ProviderSettings.model_validate(settings), {})


async def spoken(tts: TextToSpeech, text: str, voice: VoiceOptions | None = None) -> list[SpeechChunk]:
    return [chunk async for chunk in tts.speak(text, voice)]


@pytest.fixture
async def voice(tmp_path: Path) -> AsyncIterator[TextToSpeech]:
    tts = provider("sherpa_onnx", tts_model=sherpa_voices.vits(tmp_path, speakers=3))
    yield tts
    await tts.aclose()


async def test_each_sentence_is_a_chunk(voice: TextToSpeech) -> None:
    chunks = await spoken(voice, "Hello. It is late.")
    assert [chunk.sample_rate for chunk in chunks] == [sherpa_voices.SAMPLE_RATE] * 2
    assert all(chunk.pcm.size for chunk in chunks)


async def test_the_language_is_the_models(voice: TextToSpeech) -> None:
    await voice.start()
    assert voice.capabilities.languages == frozenset({"en"})


async def test_speed_and_speaker_are_followed(voice: TextToSpeech) -> None:
    (usual,) = await spoken(voice, "hello")
    (fast,) = await spoken(voice, "hello", VoiceOptions(speed=2.0))
    (third,) = await spoken(voice, "hello", VoiceOptions(voice="2"))
    (unknown,) = await spoken(voice, "hello", VoiceOptions(voice="Ava"))
    assert fast.pcm.size * 2 == usual.pcm.size
    assert third.pcm.size == usual.pcm.size * 3
    assert np.array_equal(unknown.pcm, usual.pcm)


async def test_a_usual_speaker_can_be_set(tmp_path: Path) -> None:
    folder = sherpa_voices.vits(tmp_path, speakers=3)
    first = provider("sherpa_onnx", tts_model=folder)
    second = provider("sherpa_onnx", tts_model=folder, tts_speaker=1)
    assert (await spoken(second, "hello"))[0].pcm.size == 2 * (await spoken(first, "hello"))[0].pcm.size
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize("name", ["kokoro", "kitten"])
async def test_styled_voices_by_their_own_names(tmp_path: Path, name: str) -> None:
    tts = provider(name, tts_model=sherpa_voices.styled(tmp_path / name, name), tts_speaker=1)
    (chunk,) = await spoken(tts, "hello")
    assert chunk.pcm.max() == round(0.4 * 32767)
    await tts.aclose()


async def test_languages_can_be_told(tmp_path: Path) -> None:
    folder = sherpa_voices.styled(tmp_path / "kokoro", "kokoro")
    tts = provider("kokoro", tts_model=folder, tts_languages=["en-US", "es"])
    assert tts.capabilities.languages == frozenset({"en", "es"})


async def test_a_long_text_is_said_in_pieces(voice: TextToSpeech) -> None:
    chunks = await spoken(voice, "word " * 1_000)
    assert len(chunks) > 10


async def test_a_caller_that_stops_early_leaves_the_rest_unsaid(voice: TextToSpeech) -> None:
    speech = voice.speak("One. Two. Three.")
    await anext(speech)
    await speech.aclose()
    assert len(await spoken(voice, "Four.")) == 1  # the thread is free


async def test_a_voice_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ProviderNotConfigured, match="tts_model"):
        await provider("sherpa_onnx").start()
    with pytest.raises(ProviderNotConfigured, match="not a folder"):
        await provider("sherpa_onnx", tts_model=tmp_path / "nowhere").start()
    with pytest.raises(ConfigError, match="must be one of vits"):
        provider("sherpa_onnx", tts_kind="vit")


@pytest.mark.parametrize("name", ["sherpa_onnx", "kokoro", "kitten", "supertonic"])
async def test_a_model_that_is_not_installed_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "voice").mkdir()
    with pytest.raises(ProviderNotConfigured, match="tts_model"):
        await provider(name, tts_model=tmp_path / "voice").start()


async def test_a_file_that_is_no_model_is_told_of(tmp_path: Path) -> None:
    folder = sherpa_voices.vits(tmp_path)
    (folder / "voice.onnx").write_bytes(b"<html>")
    with pytest.raises(ProviderNotConfigured, match="can't use the model"):
        await provider("sherpa_onnx", tts_model=folder).start()


async def test_a_voice_of_another_kind_does_not_end_the_server(tmp_path: Path) -> None:
    # The library calls exit() when a model lacks what it looks for.
    folder = sherpa_voices.styled(tmp_path / "kitten", "kitten")
    with pytest.raises(ProviderNotConfigured, match="tts_kind"):
        await provider("sherpa_onnx", tts_model=folder, tts_kind="kokoro").start()


async def test_a_real_voice_of_piper_is_understood(real_model: Callable[[str], Path], tmp_path: Path) -> None:
    stt = recogniser("faster_whisper", stt_model=real_model("whisper-tiny-en"), stt_device="cpu")
    folder = sherpa_voices.piper_voice(real_model("piper-en-joe"), tmp_path / "vits-piper-en_US-joe-medium")
    tts = provider("sherpa_onnx", tts_model=folder)
    chunks = await spoken(tts, "The kitchen light is on, and the door is closed.")
    transcript = await heard(stt, to_16_khz(chunks))
    assert bare(transcript.text) == "the kitchen light is on and the door is closed"
    await stt.aclose()
    await tts.aclose()


async def test_real_kokoro_is_understood_in_english(
    real_model: Callable[[str], Path], tmp_path: Path
) -> None:
    stt = recogniser("faster_whisper", stt_model=real_model("whisper-tiny-en"), stt_device="cpu")
    tts = provider("kokoro", tts_model=sherpa_voices.kokoro(real_model("kokoro-ja"), tmp_path / "kokoro"))
    chunks = await spoken(tts, "The weather tomorrow will be mostly sunny.")
    transcript = await heard(stt, to_16_khz(chunks))
    assert bare(transcript.text) == "the weather tomorrow will be mostly sunny"
    await stt.aclose()
    await tts.aclose()
