"""A conversation with the real ends: Opus in, decoded, concealed and judged by Silero; Opus out,
decodable."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusDecoder, OpusEncoder
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.providers.catalog.registry import build
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.hearing.pool import HearingPool
from mimi_mqtt.voice.ports import ConversationSetup
from tests.fakes.voice import (
    DOWNLINK,
    UPLINK,
    FakeDevice,
    FakeTools,
    ScriptedLlm,
    ScriptedStt,
    ToneTts,
    Wait,
    services,
)

RATE = 16_000


async def spoken(text: str) -> Pcm:
    """`text` as espeak says it, with silence around it, 16 kHz."""
    tts = build("tts", ProviderSettings(tts=("offline",)), {})
    await tts.start()
    try:
        pieces: list[Pcm] = [np.zeros(RATE // 2, np.int16)]
        async with aclosing(tts.speak(text)) as chunks:
            resampler: Resampler | None = None
            async for chunk in chunks:
                resampler = resampler or Resampler(chunk.sample_rate, RATE)
                pieces.append(resampler.process(chunk.pcm))
        return np.concatenate([*pieces, np.zeros(RATE * 2, np.int16)])
    finally:
        await tts.aclose()


def packets_of(pcm: Pcm) -> list[bytes]:
    encoder = OpusEncoder(RATE, application="voip")
    frame = UPLINK.frame_samples
    return [encoder.encode(pcm[at : at + frame]) for at in range(0, len(pcm) - frame + 1, frame)]


class Scene:
    def __init__(self, hearing: HearingPool, stt: ScriptedStt | None, llm: ScriptedLlm | None) -> None:
        self.stt = stt or ScriptedStt("what time is it")
        self.device = FakeDevice()
        self.services = services(stt=self.stt, llm=llm or ScriptedLlm(["Ten."]), tts=ToneTts())
        self.services.hearing = hearing
        self.conversation = Conversation(
            ConversationSetup(
                device=DeviceFacts("aa-bb-cc-00-11-22"),
                user=UserFacts(),
                session_id="s1",
                uplink=UPLINK,
                downlink=DOWNLINK,
                output=self.device,
                tools=FakeTools(),
                language="en",
            ),
            self.services,
        )

    async def send(self, packets: list[tuple[int, bytes]]) -> None:
        """As fast as the threads take them."""
        now = asyncio.get_running_loop().time()
        for count, (sequence, opus) in enumerate(packets):
            self.conversation.audio(opus, sequence, 0, now + count * 0.06)
            if count % 8 == 7:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def scene(stt: ScriptedStt | None = None, llm: ScriptedLlm | None = None) -> AsyncIterator[Scene]:
    vad = build("vad", ProviderSettings(), {})
    await vad.start()
    hearing = HearingPool(vad, 1)
    made = Scene(hearing, stt, llm)
    try:
        yield made
    finally:
        await made.conversation.aclose()
        made.services.encoders.close()
        await hearing.aclose()
        await vad.aclose()


async def test_a_spoken_question_is_heard_whole_and_answered_with_decodable_speech() -> None:
    pcm = await spoken("What time is it in the kitchen now?")
    async with scene() as s:
        s.conversation.listen("auto")
        await s.send(list(enumerate(packets_of(pcm), 1)))
        await s.device.until("stop")
        assert s.device.said(audio=True) == ["stt", "llm", "start", "sentence", "audio", "stop"]
        speech = int(np.flatnonzero(np.abs(pcm) > 500)[-1] - np.flatnonzero(np.abs(pcm) > 500)[0])
        assert s.stt.heard_samples[0] >= speech
        decoder = OpusDecoder(DOWNLINK.sample_rate)
        played = np.concatenate([decoder.decode(packet) for packet in s.device.packets])
        assert np.abs(played).max() > 4000


async def test_a_question_that_goes_on_after_a_long_pause_is_answered_whole() -> None:
    parts = [packets_of(await spoken(text)) for text in ("Turn on the light", "in the kitchen, please.")]
    answer = asyncio.Event()
    async with scene(
        ScriptedStt("turn on the light", "in the kitchen"),
        ScriptedLlm([Wait(answer), "Which one?"], ["It is on."]),
    ) as s:
        s.conversation.listen("auto")
        await s.send(list(enumerate(parts[0] + parts[1], 1)))
        await s.device.until("stop")
        assert s.device.texts("stt")[-1] == "turn on the light in the kitchen"
        assert s.device.texts("sentence") == ["It is on."]
        assert len(s.stt.heard_samples) == 2


@pytest.mark.parametrize("seed", range(3))
async def test_loss_and_disorder_make_one_utterance_of_one_utterance(seed: int) -> None:
    chance = random.Random(seed)
    packets = list(enumerate(packets_of(await spoken("Please tell me what time it is in the kitchen.")), 1))
    kept = [packet for packet in packets if chance.random() > 0.05]
    kept = [
        packet for _, packet in sorted((at + chance.random() * 1.6, packet) for at, packet in enumerate(kept))
    ]
    async with scene() as s:
        s.conversation.listen("auto")
        await s.send(kept)
        await s.device.until("stop")
        assert s.device.count("stt") == 1


async def test_noise_is_not_an_utterance() -> None:
    noise = np.random.default_rng(3).normal(0, 1500, RATE * 4).astype(np.int16)
    async with scene() as s:
        s.conversation.listen("auto")
        await s.send(list(enumerate(packets_of(noise), 1)))
        assert s.device.events == []
        assert s.stt.heard_samples == []


async def test_the_button_released_behind_a_gap_still_gives_the_last_word() -> None:
    packets = list(enumerate(packets_of(await spoken("Turn on the light.")), 1))
    del packets[-3]
    async with scene() as s:
        s.conversation.listen("manual")
        await s.send(packets)
        s.conversation.stop_listening()
        await s.device.until("stop")
        assert s.stt.heard_samples == [(len(packets) + 1) * UPLINK.frame_samples]
