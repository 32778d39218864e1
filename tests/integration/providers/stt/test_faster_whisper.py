"""faster-whisper: real loading and decoding of a tiny model, and models that can't be used."""

from pathlib import Path

import pytest

from mimi_mqtt.errors import ProviderNotConfigured
from tests.integration.providers.stt.hearing import final, provider
from tests.models import whisper


@pytest.mark.parametrize("language", ["en", "en-GB", "de", None])
async def test_it_hears_in_the_languages_of_its_model(tmp_path: Path, language: str | None) -> None:
    stt = provider("faster_whisper", stt_model=whisper.english(tmp_path), stt_device="cpu")
    transcript = await final(stt, language=language)
    assert (transcript.text, transcript.language) == ("hello world", "en")
    assert transcript.confidence == pytest.approx(1.0, abs=0.1)


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
