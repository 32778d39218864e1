"""Text-to-speech samples to Opus frames."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusDecoder, OpusEncoder, is_plausible
from mimi_mqtt.errors import AudioError
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.voice.ports import AudioFormat
from mimi_mqtt.voice.speech.encoder import MAX_KEPT_S, ReplyEncoder, SpeechEncoders

DOWNLINK = AudioFormat(24_000, 60)


@pytest.fixture
def pool() -> Iterator[SpeechEncoders]:
    with closing(SpeechEncoders(24_000, 5, 2)) as pool:
        yield pool


def tone(ms: int, rate: int) -> Pcm:
    wave: Pcm = (8000 * np.sin(np.arange(rate * ms // 1000) * (2 * np.pi * 440 / rate))).astype(np.int16)
    return wave


async def chunks(pcm: Pcm, rate: int, size: int) -> AsyncIterator[SpeechChunk]:
    for at in range(0, len(pcm), size):
        yield SpeechChunk(pcm[at : at + size], rate)


async def frames_of(encoder: ReplyEncoder, pcm: Pcm, rate: int = 22_050, size: int = 5000) -> list[bytes]:
    return [frame async for frame in encoder.sentence(chunks(pcm, rate, size))]


def loud_ms(frames: list[bytes], rate: int = 24_000) -> float:
    """How long the decoded frames are as loud as the tone."""
    decoder = OpusDecoder(rate)
    pcm = np.concatenate([decoder.decode(frame) for frame in frames]).astype(np.float64)
    window = rate // 400
    energy = np.sqrt((pcm[: len(pcm) // window * window].reshape(-1, window) ** 2).mean(axis=1))
    return float((energy > 2000).sum() * 2.5)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize(
    "downlink", [AudioFormat(24_000, 60), AudioFormat(16_000, 60), AudioFormat(16_000, 20)]
)
async def test_any_rate_becomes_whole_frames_of_the_downlink(
    pool: SpeechEncoders, rate: int, downlink: AudioFormat
) -> None:
    with closing(pool.open(downlink)) as encoder:
        frames = await frames_of(encoder, tone(650, rate), rate)
    assert len(frames) == -(-650 // downlink.frame_ms)
    assert all(is_plausible(frame, downlink.sample_rate, downlink.frame_ms) for frame in frames)


@pytest.mark.parametrize("ms", [600, 599, 615, 655])
async def test_nothing_of_the_speech_is_lost_in_the_encoder(pool: SpeechEncoders, ms: int) -> None:
    with closing(pool.open(DOWNLINK)) as encoder:
        frames = await frames_of(encoder, tone(ms, 24_000), 24_000)
        frames += await encoder.end()
    assert abs(loud_ms(frames) - ms) <= 5


async def test_the_stream_is_prolonged_only_where_its_end_would_be_cut(pool: SpeechEncoders) -> None:
    with closing(pool.open(DOWNLINK)) as encoder:
        assert await encoder.end() == []
        await frames_of(encoder, tone(630, 24_000), 24_000)
        assert await encoder.end() == []
        await frames_of(encoder, tone(600, 24_000), 24_000)
        assert len(await encoder.end()) == 1


async def test_chunk_size_makes_no_difference(pool: SpeechEncoders) -> None:
    made = []
    for size in (333, 5_000, 1_000_000):
        with closing(pool.open(DOWNLINK)) as encoder:
            made.append(await frames_of(encoder, tone(1500, 24_000), 24_000, size))
    assert made[0] == made[1] == made[2]


async def test_a_reply_begins_without_the_past_of_another(pool: SpeechEncoders) -> None:
    made = []
    for _ in range(2):
        with closing(pool.open(DOWNLINK)) as encoder:
            made.append(await frames_of(encoder, tone(700, 24_000), 24_000))
    assert made[0] == made[1]


async def test_the_first_frame_does_not_wait_for_the_rest(pool: SpeechEncoders) -> None:
    more = asyncio.Event()

    async def slow() -> AsyncIterator[SpeechChunk]:
        yield SpeechChunk(tone(200, 24_000), 24_000)
        await more.wait()
        yield SpeechChunk(tone(200, 24_000), 24_000)

    with closing(pool.open(DOWNLINK)) as encoder:
        frames = encoder.sentence(slow())
        assert await anext(frames)
        more.set()
        assert len([frame async for frame in frames]) == 6


async def test_an_encoder_is_lent_again_but_not_while_a_thread_uses_it(pool: SpeechEncoders) -> None:
    busy, release = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        release.wait()

    first = pool.open(DOWNLINK)
    loop = asyncio.get_running_loop()
    blocked = [loop.run_in_executor(pool.threads, block) for _ in range(2)]
    work = asyncio.ensure_future(frames_of(first, tone(100, 24_000)))
    await loop.run_in_executor(None, busy.wait)
    work.cancel()
    await asyncio.wait({work})
    first.close()
    second, third = pool.open(DOWNLINK), pool.open(DOWNLINK)
    release.set()
    await asyncio.gather(*blocked)
    one, two = await asyncio.gather(
        frames_of(second, tone(700, 24_000), 24_000), frames_of(third, tone(700, 24_000), 24_000)
    )
    assert one == two


async def test_wrong_samples_are_an_audio_error(pool: SpeechEncoders) -> None:
    async def stereo() -> AsyncIterator[SpeechChunk]:
        yield SpeechChunk(np.zeros((100, 2), np.int16), 24_000)

    with closing(pool.open(DOWNLINK)) as encoder, pytest.raises(AudioError):
        _ = [frame async for frame in encoder.sentence(stereo())]


async def kept(pcm: Pcm, rate: int = 22_050, phrase: str = "greeting") -> AsyncIterator[SpeechChunk]:
    """A phrase out of the speech cache."""
    for at in range(0, len(pcm), 5000):
        yield SpeechChunk(pcm[at : at + 5000], rate, phrase)


async def greet(pool: SpeechEncoders, pcm: Pcm, phrase: str = "greeting") -> list[bytes]:
    with closing(pool.open(DOWNLINK)) as encoder:
        frames = [frame async for frame in encoder.sentence(kept(pcm, phrase=phrase))]
        return [*frames, *await encoder.end()]


async def test_a_greeting_of_many_at_once_is_encoded_once(
    pool: SpeechEncoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = OpusEncoder.encode

    def counted(opus: OpusEncoder, pcm: Pcm) -> bytes:
        encoded.append(len(pcm))
        return encode(opus, pcm)

    monkeypatch.setattr(OpusEncoder, "encode", counted)
    replies = await asyncio.gather(*(greet(pool, tone(1_000, 22_050)) for _ in range(50)))
    replies.append(await greet(pool, tone(1_000, 22_050)))
    assert all(reply == replies[0] for reply in replies)
    assert len(encoded) == len(replies[0]) == 17
    await greet(pool, tone(1_000, 22_050), phrase="another")
    assert len(encoded) == 2 * 17


@pytest.mark.parametrize("ms", [40, 655, 1_000, 2_000])
async def test_a_kept_phrase_is_heard_whole(pool: SpeechEncoders, ms: int) -> None:
    assert loud_ms(await greet(pool, tone(ms, 22_050))) == pytest.approx(ms, abs=7.5)


async def test_a_kept_phrase_between_other_sentences_cuts_none_of_them(pool: SpeechEncoders) -> None:
    with closing(pool.open(DOWNLINK)) as encoder:
        frames = await frames_of(encoder, tone(600, 22_050))
        frames += [frame async for frame in encoder.sentence(kept(tone(600, 22_050)))]
        frames += await frames_of(encoder, tone(600, 22_050))
        frames += await encoder.end()
    assert loud_ms(frames) == pytest.approx(1_800, abs=25)


async def test_a_greeting_of_two_sentences_is_encoded_once_too(
    pool: SpeechEncoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def two_sentences() -> list[bytes]:
        with closing(pool.open(DOWNLINK)) as encoder:
            frames = [frame async for frame in encoder.sentence(kept(tone(600, 22_050)))]
            frames += [frame async for frame in encoder.sentence(kept(tone(500, 22_050), phrase="rest"))]
            return [*frames, *await encoder.end()]

    once = await two_sentences()
    assert loud_ms(once) == pytest.approx(1_100, abs=12.5)
    monkeypatch.setattr(OpusEncoder, "encode", None)
    assert await two_sentences() == once


async def test_a_long_kept_phrase_begins_before_all_of_it_is_encoded(pool: SpeechEncoders) -> None:
    long = tone(int(MAX_KEPT_S * 1000) + 1_000, 22_050)
    with closing(pool.open(DOWNLINK)) as encoder:
        frames = [frame async for frame in encoder.sentence(kept(long))]
    assert loud_ms(frames) == pytest.approx(len(long) / 22.05, abs=25)
    assert not pool._kept.weight


async def test_samples_of_the_wrong_kind_in_a_kept_phrase_are_told_each_time(pool: SpeechEncoders) -> None:
    broken: Pcm = np.zeros((2, 100), np.float32)
    for _ in range(2):
        with pytest.raises(AudioError):
            await greet(pool, broken)
