"""Texts are synthesised once for a voice and language, and the first sentence is there first."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.errors import ProviderError, ProviderUnavailable
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.voice.notices.speech import NoticeSpeech
from mimi_mqtt.voice.pool import VoicePool
from mimi_mqtt.voice.speech.encoder import SpeechEncoders
from mimi_mqtt.voice.speech.manner import manner
from mimi_mqtt.wire.ogg import OggOpusReader
from tests.fakes.voice import ToneTts
from tests.ogg import probe, read_by_libopusfile

TEXT = "Dinner is ready. Come to the table at once."


@dataclass
class Services:
    """The part of an agent's services that notices use."""

    tts: ToneTts
    encoders: SpeechEncoders
    agent: AgentSettings = field(default_factory=AgentSettings)

    def manner(self, language: str) -> VoiceOptions:
        return manner(self.agent, language)


class Pool:
    """Leases of one agent's services, or of another agent's with another voice."""

    def __init__(self, tts: ToneTts) -> None:
        encoders = SpeechEncoders(24_000, 5, 2)
        self.services = {
            "default": Services(tts, encoders),
            "other": Services(tts, encoders, AgentSettings(voice="robot")),
        }
        self.leases = 0

    def lease(self, key: str) -> "Lease":
        self.leases += 1
        return Lease(self, key)


@dataclass
class Lease:
    pool: Pool
    key: str

    def current(self) -> Services:
        return self.pool.services[self.key]

    def release(self) -> None:
        self.pool.leases -= 1


def speech_of(tts: ToneTts, **options: Any) -> tuple[NoticeSpeech, Pool]:
    pool = Pool(tts)
    return NoticeSpeech(cast(VoicePool, pool), 24_000, **options), pool


async def test_a_text_becomes_a_stream_that_devices_play_with_a_subtitle_a_sentence() -> None:
    tts = ToneTts(ms_per_char=30)
    speech, _ = speech_of(tts)
    recording = await speech.speak(TEXT, "default", "en")
    assert recording.whole
    assert tts.texts == ["Dinner is ready.", "Come to the table at once."]
    subtitles = recording.subtitles()
    assert [line.text for line in subtitles] == tts.texts
    assert subtitles[0].start_ms == 0
    assert abs(subtitles[1].start_ms - 16 * 30) <= 60
    stream = recording.stream
    assert read_by_libopusfile(stream).channels == 1
    assert probe(stream).channels == 1
    reader = OggOpusReader()
    assert len(reader.feed(stream)) == recording.duration_ms // 60
    reader.finish()


async def test_a_thousand_devices_cost_one_synthesis_for_a_voice_and_language() -> None:
    tts = ToneTts(ms_per_char=10, delay_s=0.05)
    speech, pool = speech_of(tts)
    wanted = [("default", "en")] * 1_000 + [("other", "en")] * 10 + [("default", "de")] * 10
    made = await asyncio.gather(*[speech.speak("Dinner is ready.", agent, tag) for agent, tag in wanted])
    assert len(set(map(id, made))) == 3
    assert len(tts.voices) == 3
    for recording in made:
        recording.release()
    again = await speech.speak("Dinner is ready.", "default", "en")
    assert again is made[0]
    assert len(tts.texts) == 3
    assert pool.leases == 0


async def test_the_cache_is_bounded_in_bytes() -> None:
    tts = ToneTts(ms_per_char=30)
    speech, _ = speech_of(tts, cache_bytes=8_000)
    for number in range(6):
        (await speech.speak(f"This is text number {number}.", "default", "en")).release()
    first = len(tts.texts)
    await speech.speak("This is text number 0.", "default", "en")
    assert len(tts.texts) == first + 1
    assert speech._kept.weight <= 8_000


@pytest.mark.virtual_time
async def test_a_long_text_is_there_with_its_first_sentence() -> None:
    tts = ToneTts(ms_per_char=30, delay_s=1.5)
    speech, _ = speech_of(tts)
    began = asyncio.get_running_loop().time()
    recording = await speech.speak("One is here now. " * 6, "default", "en")
    assert asyncio.get_running_loop().time() - began < 4.5
    assert not recording.over
    lines = recording.subtitles()
    assert len(lines) == 6
    times = [line.start_ms for line in lines]
    assert times == sorted(times)
    await recording.ended()
    exact = [line.start_ms for line in recording.subtitles()]
    assert all(abs(before - after) <= 400 for before, after in zip(times, exact, strict=True))
    recording.release()


@pytest.mark.virtual_time
async def test_synthesis_ends_when_nobody_wants_it_any_more_and_goes_on_while_somebody_does() -> None:
    tts = ToneTts(ms_per_char=30, delay_s=1.5)
    speech, pool = speech_of(tts)
    text = "One is here now. " * 6
    first, second = await asyncio.gather(*[speech.speak(text, "default", "en") for _ in range(2)])
    assert first is second
    first.release()
    await asyncio.sleep(2)
    assert not first.over
    second.release()
    await second.ended()
    assert len(tts.texts) < 6
    assert pool.leases == 0
    whole = await speech.speak(text, "default", "en")
    assert whole is not first
    await whole.ended()
    assert whole.whole
    whole.release()


@pytest.mark.virtual_time
async def test_what_was_just_given_up_is_made_again_for_who_wants_it_now() -> None:
    speech, pool = speech_of(ToneTts(ms_per_char=30, delay_s=1.5))
    text = "One is here now. " * 6
    (given_up := await speech.speak(text, "default", "en")).release()
    again = await speech.speak(text, "default", "en")
    assert again is not given_up
    await again.ended()
    assert again.whole
    again.release()
    assert pool.leases == 0
    assert not speech._running


async def test_a_text_that_can_not_be_spoken_is_told() -> None:
    speech, pool = speech_of(ToneTts(error=ProviderUnavailable("tone", "it is down")))
    for text in ("Dinner is ready.", "Dinner is ready.", "…"):
        with pytest.raises(ProviderError):
            await speech.speak(text, "default", "en")
    assert pool.leases == 0
    assert not speech._running


async def test_what_could_be_spoken_before_a_failure_is_heard_and_not_kept() -> None:
    tts = ToneTts(ms_per_char=30, error=ProviderUnavailable("tone", "it is down"), fails_on="table")
    speech, _ = speech_of(tts)
    recording = await speech.speak(TEXT, "default", "en")
    assert recording.duration_ms > 400
    assert recording.failure is not None
    read_by_libopusfile(recording.stream)
    again = await speech.speak(TEXT, "default", "en")
    assert again is not recording
