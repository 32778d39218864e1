"""The voices of the small sets, as a recogniser hears them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, VoiceOptions
from tests.integration.providers.stt.hearing import provider
from tests.integration.providers.stt.test_real_whisper import bare, heard
from tests.integration.providers.stt.to_16_khz import to_16_khz


@pytest.fixture
def kokoro(real_model: Callable[[str], Path]) -> TextToSpeech:
    settings = ProviderSettings(tts=("kokoro:kokoro-ja",), models_dir=real_model("kokoro-ja").parent)
    return registry.build("tts", settings, {})


async def said(tts: TextToSpeech, text: str, voice: VoiceOptions) -> list[SpeechChunk]:
    return [chunk async for chunk in tts.speak(text, voice)]


@pytest.mark.parametrize(
    ("text", "understood"),
    [("今何時ですか。", "今何時ですか"), ("今は午後七時三十分です。", "今は午後7時30分です")],
)
async def test_japanese_is_understood(
    kokoro: TextToSpeech, real_model: Callable[[str], Path], text: str, understood: str
) -> None:
    stt = provider("faster_whisper", stt_model=real_model("whisper-base"), stt_device="cpu")
    chunks = await said(kokoro, text, VoiceOptions("ja"))
    transcript = await heard(stt, to_16_khz(chunks))
    assert (bare(transcript.text), transcript.language) == (understood, "ja")
    await stt.aclose()
    await kokoro.aclose()


async def test_its_voices_and_speeds_differ(kokoro: TextToSpeech) -> None:
    text = "おはようございます。"
    woman = to_16_khz(await said(kokoro, text, VoiceOptions("ja", "jf_alpha")))
    man = to_16_khz(await said(kokoro, text, VoiceOptions("ja", "jm_kumo")))
    fast = to_16_khz(await said(kokoro, text, VoiceOptions("ja", "jf_alpha", speed=2.0)))
    assert woman.size != man.size
    assert fast.size < 0.75 * woman.size
    await kokoro.aclose()


async def test_each_sentence_comes_when_it_is_made(kokoro: TextToSpeech) -> None:
    chunks = await said(kokoro, "はい。わかりました。", VoiceOptions("ja"))
    assert len(chunks) == 2
    await kokoro.aclose()


async def test_what_it_can_not_read_is_an_error_for_the_next_in_the_chain(kokoro: TextToSpeech) -> None:
    with pytest.raises(ProviderBadAnswer):
        await said(kokoro, "Привет", VoiceOptions("ja"))
    await kokoro.aclose()
