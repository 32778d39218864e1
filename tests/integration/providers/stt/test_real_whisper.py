"""The real Whisper models of the small sets."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.cli.device.speech import synthesise
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.recording import Recording, Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.providers.runtime.local_model import cores, loaded_models
from mimi_mqtt.providers.vendors.whisper.decoding import Guess, Utterance
from tests.integration.providers.stt.hearing import provider

RATE = 16_000


def bare(text: str) -> str:
    return " ".join("".join(c for c in text.lower() if c.isalnum() or c == " ").split())


async def heard(stt: SpeechToText, pcm: Pcm, language: str | None = None) -> Transcript:
    recording = Recording(RATE, 60.0)
    recording.push(pcm)
    recording.end()
    async with aclosing(stt.listen(recording, language)) as transcripts:
        return [transcript async for transcript in transcripts][-1]


@pytest.fixture
def tiny(real_model: Callable[[str], Path]) -> SpeechToText:
    return provider("faster_whisper", stt_model=real_model("whisper-tiny-en"), stt_device="cpu")


@pytest.mark.parametrize(
    "said", ["what time is it", "turn off the lights in the kitchen", "set a timer for an hour and a half"]
)
async def test_ordinary_english_is_heard(tiny: SpeechToText, said: str) -> None:
    pcm = await synthesise(said, RATE, "en", "hibari")
    assert bare((await heard(tiny, pcm)).text) == said
    await tiny.aclose()


async def test_many_who_speak_at_once_are_heard_as_each_alone(tiny: SpeechToText) -> None:
    sentences = (
        "turn on the light", "what time is it", "play some music in the kitchen", "stop the timer",
        "how is the weather today", "set an alarm for seven", "tell me a joke", "good morning",
    )  # fmt: skip
    speech = [await synthesise(said, RATE, "en", "hibari") for said in sentences]
    alone = [(await heard(tiny, pcm)).text for pcm in speech]
    (model,) = [model for model in loaded_models() if model.provider == tiny.name]
    loaded = await model.get()
    together: list[int] = []
    guess = loaded.model.guess

    def counted(utterances: Sequence[Utterance]) -> Sequence[Guess]:
        together.append(len(utterances))
        guesses: Sequence[Guess] = guess(utterances)
        return guesses

    loaded.model.guess = counted
    transcripts = await asyncio.gather(*(heard(tiny, pcm) for pcm in speech))
    assert [transcript.text for transcript in transcripts] == alone
    assert sum(together) == len(sentences)
    assert len(together) < len(sentences) or cores() >= len(sentences)
    await tiny.aclose()


async def test_what_is_no_speech_is_heard_as_nothing(tiny: SpeechToText) -> None:
    chance = np.random.default_rng(5)
    seconds = np.arange(3 * RATE) / RATE
    sounds = {
        "silence": np.zeros(3 * RATE),
        "white noise": chance.normal(0, 2_000, 3 * RATE),
        "a chord": 3_000 * np.sin(2 * np.pi * np.outer((220, 277, 330), seconds)).sum(axis=0),
        "a hum": 5_000 * np.sin(2 * np.pi * 50 * seconds),
    }
    for name, sound in sounds.items():
        transcript = await heard(tiny, sound.astype(np.int16))
        assert transcript.text == "", name
    await tiny.aclose()


async def test_a_long_speech_is_heard_to_its_end(tiny: SpeechToText) -> None:
    said = (
        "Yesterday evening I was looking for my keys in the kitchen, but they were not there. "
        "Then my sister called and told me about her new job in the library, which she likes very much. "
        "After that we had dinner in the garden, and the neighbours brought a chocolate cake. "
        "Later it began to rain, so everybody went inside and played cards until midnight. "
        "This morning the doctor wrote that the results are fine and that I can go back to work on Monday. "
        "In the afternoon I will take the train to the coast and walk along the beach with the dog. "
        "At last I found the keys, and you will never guess where they were: in the refrigerator."
    )
    pcm = await synthesise(said, RATE, "en", "hibari")
    assert pcm.size > 30 * RATE
    text = bare((await heard(tiny, pcm)).text)
    words = ("kitchen", "library", "garden", "midnight", "doctor", "beach", "refrigerator")
    assert [word for word in words if word not in text] == []
    await tiny.aclose()


async def test_the_language_of_an_utterance_is_told(real_model: Callable[[str], Path]) -> None:
    base = provider("faster_whisper", stt_model=real_model("whisper-base"), stt_device="cpu")
    transcript = await heard(base, await synthesise("what time is it now my friend", RATE, "en", "hibari"))
    assert transcript.language == "en"
    await base.aclose()


async def test_an_unloaded_model_hears_the_next_utterance(tiny: SpeechToText) -> None:
    pcm = await synthesise("what time is it", RATE, "en", "hibari")
    await heard(tiny, pcm)
    (model,) = [model for model in loaded_models() if model.provider == tiny.name]
    model.unload()
    assert bare((await heard(tiny, pcm)).text) == "what time is it"
    await tiny.aclose()


async def test_fast_japanese_is_heard_to_its_end(real_model: Callable[[str], Path]) -> None:
    base = provider("faster_whisper", stt_model=real_model("whisper-base"), stt_device="cpu")
    voice = {"tts": "kokoro", "options": {"kokoro": {"tts_model": real_model("kokoro-ja")}}}
    kokoro = registry.build("tts", ProviderSettings.model_validate(voice), {})
    said = "明日の朝七時に目覚ましをかけて、天気予報も教えてください。"
    parts = [chunk async for chunk in kokoro.speak(said, VoiceOptions(language="ja", speed=1.3))]
    resampler = Resampler(parts[0].sample_rate, RATE)
    pcm = resampler.process(np.concatenate([part.pcm for part in parts]), last=True)
    assert (await heard(base, pcm, "ja")).text.rstrip("。").endswith("教えてください")
    await kokoro.aclose()
    await base.aclose()
