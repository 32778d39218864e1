"""Hibari: the real package with the voice that is in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from mimi_mqtt.errors import ProviderBadAnswer, ProviderNotConfigured
from mimi_mqtt.providers.contract.tts import SpeechChunk, VoiceOptions
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.hibari.tts import Hibari, HibariOptions


def made(model: Path | None = None) -> Hibari:
    return Hibari("hibari", HibariOptions(tts_model=model), Limits(timeout_s=60, retries=0))


@pytest.fixture
async def hibari() -> AsyncIterator[Hibari]:
    provider = made()
    await provider.start()
    yield provider
    await provider.aclose()


async def spoken(provider: Hibari, text: str, voice: VoiceOptions | None = None) -> list[SpeechChunk]:
    return [chunk async for chunk in provider.speak(text, voice)]


def seconds(chunks: list[SpeechChunk]) -> float:
    return sum(chunk.pcm.size / chunk.sample_rate for chunk in chunks)


async def test_each_sentence_is_a_chunk_at_24_khz(hibari: Hibari) -> None:
    chunks = await spoken(hibari, "It is half past seven. The lights are on.")
    assert len(chunks) == 2
    assert {chunk.sample_rate for chunk in chunks} == {24_000}
    assert all(np.abs(chunk.pcm).max() > 1_000 for chunk in chunks)


async def test_speed_shortens_the_speech(hibari: Hibari) -> None:
    text = "The kettle is in the kitchen."
    slow = seconds(await spoken(hibari, text, VoiceOptions(speed=0.5)))
    fast = seconds(await spoken(hibari, text, VoiceOptions(speed=2.0)))
    assert slow > 2.5 * fast


async def test_numbers_take_longer_than_nothing(hibari: Hibari) -> None:
    assert seconds(await spoken(hibari, "1,234,567")) > seconds(await spoken(hibari, "one"))


async def test_a_text_that_it_has_no_sounds_for_is_an_error_for_the_next_in_the_chain(hibari: Hibari) -> None:
    with pytest.raises(ProviderBadAnswer):
        await spoken(hibari, "你好")


async def test_long_texts_without_a_full_stop_are_spoken(hibari: Hibari) -> None:
    assert seconds(await spoken(hibari, "and then, after a while, " * 100)) > 30


async def test_a_missing_file_and_a_broken_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProviderNotConfigured, match="there is no file"):
        await made(tmp_path / "bf_emma.onnx").start()
    (tmp_path / "bf_emma.onnx").write_bytes(b"no model")
    with pytest.raises(ProviderNotConfigured, match="is no voice of Hibari"):
        await made(tmp_path / "bf_emma.onnx").start()
