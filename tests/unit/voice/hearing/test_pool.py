import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector
from mimi_mqtt.providers.runtime.fair_queue import bind_holder, current_holder
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.voice.device_shares import UPLINK_BURST_S
from mimi_mqtt.voice.hearing.decoder import MAX_CONCEALED_RUN
from mimi_mqtt.voice.hearing.pool import HearingPool
from mimi_mqtt.voice.hearing.stream import MAX_PENDING_PACKETS, UplinkStream
from mimi_mqtt.voice.ports import AudioFormat, HeardFrame

UPLINK = AudioFormat(16_000, 60)


class Stream(VadStream):
    """Counts the chunks it was shown."""

    def __init__(self) -> None:
        self.chunks = 0


class CountingVad(VoiceActivityDetector):
    """Answers with the loudness of the chunk; can be held, and can be made to fail."""

    def __init__(self) -> None:
        super().__init__("counting", ProviderOptions(), Limits())
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failure: Exception | None = None
        self.batches: list[int] = []

    def open(self) -> Stream:
        return Stream()

    def probabilities(self, batch: Sequence[tuple[VadStream, Pcm]]) -> list[float]:
        self.entered.set()
        assert self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        assert len({id(stream) for stream, _ in batch}) == len(batch)
        self.batches.append(len(batch))
        for stream, _ in batch:
            assert isinstance(stream, Stream)
            stream.chunks += 1
        return [float(np.abs(pcm).max()) / 32768 for _, pcm in batch]


class Listener:
    """Collects frames; `get` waits until there are enough."""

    def __init__(self) -> None:
        self.frames: list[HeardFrame] = []
        self._more = asyncio.Event()

    def __call__(self, frame: HeardFrame) -> None:
        self.frames.append(frame)
        self._more.set()

    async def get(self, count: int) -> list[HeardFrame]:
        async with asyncio.timeout(20):
            while len(self.frames) < count:
                self._more.clear()
                await self._more.wait()
        return self.frames


@pytest.fixture
def vad() -> CountingVad:
    return CountingVad()


@pytest.fixture
async def hearing(vad: CountingVad) -> AsyncIterator[HearingPool]:
    hearing = HearingPool(vad, threads=2)
    yield hearing
    vad.gate.set()
    await hearing.aclose()


def packets(count: int, rate: int = 16_000, frame_ms: int = 60, loudness: int = 9000) -> list[bytes]:
    encoder = OpusEncoder(rate, application="voip")
    samples = rate * frame_ms // 1000
    wave = loudness * np.sin(2 * np.pi * 440 * np.arange(samples * count) / rate)
    return [encoder.encode(part) for part in np.split(wave.astype(np.int16), count)]


def push_all(ear: UplinkStream, opus: list[bytes], *, skip: Sequence[int] = (), first: int = 1) -> None:
    now = asyncio.get_running_loop().time()
    for sequence, packet in enumerate(opus, first):
        if sequence not in skip:
            ear.push(packet, sequence, now)


async def test_packets_become_frames_in_order_with_their_probability(hearing: HearingPool) -> None:
    listener = Listener()
    ear = hearing.open(UPLINK, 120, listener)
    push_all(ear, packets(10) + packets(10, loudness=0), first=1)
    frames = await listener.get(20)
    assert all(len(frame.pcm) == 960 and frame.pcm.dtype == np.int16 for frame in frames)
    assert all(frame.speech_probability > 0.1 for frame in frames[2:10])
    assert all(frame.speech_probability < 0.05 for frame in frames[14:])
    assert not any(frame.lost for frame in frames)


@pytest.mark.parametrize(("rate", "frame_ms"), [(16_000, 20), (24_000, 60), (24_000, 20), (16_000, 40)])
async def test_every_uplink_format_is_heard_at_16_khz(hearing: HearingPool, rate: int, frame_ms: int) -> None:
    listener = Listener()
    ear = hearing.open(AudioFormat(rate, frame_ms), 120, listener)
    push_all(ear, packets(12, rate, frame_ms))
    frames = await listener.get(12)
    heard = np.concatenate([frame.pcm for frame in frames])[1600:]
    assert len(frames[0].pcm) == 16 * frame_ms
    peak = np.argmax(np.abs(np.fft.rfft(heard * np.hanning(len(heard))))) * 16_000 / len(heard)
    assert peak == pytest.approx(440, abs=8)


async def test_a_lost_packet_is_concealed_after_the_jitter_wait(hearing: HearingPool) -> None:
    listener = Listener()
    ear = hearing.open(UPLINK, 10, listener)
    push_all(ear, packets(10), skip=[6])
    frames = await listener.get(10)
    assert [frame.lost for frame in frames] == [False] * 5 + [True] + [False] * 4
    assert np.abs(frames[5].pcm).max() > 1000
    assert ear.lost == 1


async def test_a_long_loss_is_concealed_for_a_while_and_then_silent(hearing: HearingPool) -> None:
    listener = Listener()
    ear = hearing.open(UPLINK, 10, listener)
    push_all(ear, packets(30), skip=range(6, 16))
    frames = await listener.get(30)
    assert [frame.lost for frame in frames] == [False] * 5 + [True] * 10 + [False] * 15
    assert all(not frame.pcm.any() for frame in frames[5 + MAX_CONCEALED_RUN : 15])


async def test_flush_releases_what_is_held_and_drained_waits_for_it(hearing: HearingPool) -> None:
    listener = Listener()
    ear = hearing.open(UPLINK, 60_000, listener)
    push_all(ear, packets(8), skip=[4])
    ear.flush()
    await ear.drained()
    assert [frame.lost for frame in listener.frames] == [False] * 3 + [True] + [False] * 4
    await ear.drained()


async def test_one_broken_packet_ends_only_itself(hearing: HearingPool) -> None:
    listener = Listener()
    ear = hearing.open(UPLINK, 120, listener)
    opus = packets(6)
    opus[3] = b"\xff\xff\xff"
    push_all(ear, opus)
    frames = await listener.get(6)
    assert [frame.lost for frame in frames] == [False, False, False, True, False, False]
    assert len(frames[3].pcm) == 960


async def test_a_failing_listener_does_not_deafen_the_others(hearing: HearingPool) -> None:
    def fail(frame: HeardFrame) -> None:
        raise ValueError("a bug in a session")

    listener = Listener()
    first, second = hearing.open(UPLINK, 120, fail), hearing.open(UPLINK, 120, listener)
    push_all(first, packets(3))
    push_all(second, packets(3))
    assert len(await listener.get(3)) == 3
    await first.drained()


async def test_a_failing_detector_counts_as_silence_and_the_words_still_come(
    hearing: HearingPool, vad: CountingVad
) -> None:
    listener = Listener()
    ear = hearing.open(UPLINK, 120, listener)
    vad.failure = RuntimeError("the model broke")
    push_all(ear, packets(3))
    frames = await listener.get(3)
    assert [frame.speech_probability for frame in frames] == [0.0] * 3
    vad.failure = None
    push_all(ear, packets(3), first=4)
    assert (await listener.get(6))[-1].speech_probability > 0.1


async def test_many_sessions_share_batches(hearing: HearingPool, vad: CountingVad) -> None:
    listeners = [Listener() for _ in range(40)]
    ears = [hearing.open(UPLINK, 120, listener) for listener in listeners]
    opus = packets(4)
    for ear in ears:
        push_all(ear, opus)
    for listener in listeners:
        assert len(await listener.get(4)) == 4
    assert sum(vad.batches) == 160
    assert len(vad.batches) < 40


async def test_a_closed_ear_hears_nothing_more(hearing: HearingPool, vad: CountingVad) -> None:
    closed, open_ = Listener(), Listener()
    first, second = hearing.open(UPLINK, 120, closed), hearing.open(UPLINK, 120, open_)
    vad.gate.clear()
    push_all(first, packets(5))
    push_all(second, packets(5))
    await asyncio.to_thread(vad.entered.wait, 20)
    first.close()
    first.close()
    push_all(first, packets(5), first=6)
    first.flush()
    first.reset()
    vad.gate.set()
    await second.drained()
    await first.drained()
    assert closed.frames == []
    assert len(open_.frames) == 5


async def test_reset_drops_what_was_said_before(hearing: HearingPool, vad: CountingVad) -> None:
    listener = Listener()
    ear = hearing.open(UPLINK, 120, listener)
    vad.gate.clear()
    push_all(ear, packets(12))
    await asyncio.to_thread(vad.entered.wait, 20)
    ear.reset()
    push_all(ear, packets(3, loudness=0), first=13)
    vad.gate.set()
    await ear.drained()
    assert len(listener.frames) == 3
    assert all(frame.speech_probability < 0.05 for frame in listener.frames)


async def test_a_listener_may_close_its_own_ear(hearing: HearingPool) -> None:
    heard: list[HeardFrame] = []

    def once(frame: HeardFrame) -> None:
        heard.append(frame)
        ear.close()

    ear = hearing.open(UPLINK, 120, once)
    push_all(ear, packets(5))
    await ear.drained()
    assert len(heard) <= 1


async def test_an_overrun_ear_drops_its_oldest_packets(hearing: HearingPool, vad: CountingVad) -> None:
    listener = Listener()
    ear = hearing.open(UPLINK, 120, listener)
    vad.gate.clear()
    opus = packets(MAX_PENDING_PACKETS + 40)
    push_all(ear, opus[:8])
    await asyncio.to_thread(vad.entered.wait, 20)
    push_all(ear, opus[8:], first=9)
    vad.gate.set()
    await ear.drained()
    assert ear.dropped == 40 - 8
    assert len(listener.frames) == MAX_PENDING_PACKETS + 8


async def test_drained_ends_with_the_ear(hearing: HearingPool, vad: CountingVad) -> None:
    ear = hearing.open(UPLINK, 120, Listener())
    vad.gate.clear()
    push_all(ear, packets(5))
    waiting = asyncio.ensure_future(ear.drained())
    await asyncio.to_thread(vad.entered.wait, 20)
    ear.close()
    assert not waiting.done()
    async with asyncio.timeout(20):
        await waiting
    assert not ear.pending


async def test_the_end_of_hearing_ends_the_waiting(vad: CountingVad) -> None:
    hearing = HearingPool(vad, threads=1)
    ear = hearing.open(UPLINK, 120, Listener())
    vad.gate.clear()
    push_all(ear, packets(20))
    waiting = asyncio.ensure_future(ear.drained())
    await asyncio.to_thread(vad.entered.wait, 20)
    closing = asyncio.ensure_future(hearing.aclose())
    async with asyncio.timeout(20):
        await waiting
        vad.gate.set()
        await closing


async def test_closing_while_threads_work_is_orderly(vad: CountingVad) -> None:
    hearing, listener = HearingPool(vad, threads=1), Listener()
    ears = [hearing.open(UPLINK, 10, listener) for _ in range(100)]
    for ear in ears:
        push_all(ear, packets(2), skip=[1])
        push_all(ear, packets(2), first=4)
    await listener.get(1)
    await hearing.aclose()
    await hearing.aclose()
    heard = len(listener.frames)
    push_all(ears[0], packets(3), first=6)
    await ears[0].drained()
    assert len(listener.frames) == heard <= 4 * len(ears)


async def echoed(hearing: HearingPool, *, timestamps: bool, estimated: bool = False) -> float:
    """How loud the last second of six is in which a device hears only what it plays. `estimated`: the device
    wants its echo cancelled, without timestamps."""
    noise = np.random.default_rng(1).normal(0, 4000, 100 * 960)
    played = (noise * (0.1 + np.abs(np.sin(np.arange(len(noise)) / 2_000)))).astype(np.int16)
    heard = np.concatenate([np.zeros(800, np.int16), played[:-800] // 2])
    downlink, uplink = OpusEncoder(16_000, 64_000, 5), OpusEncoder(16_000, 64_000, 5)
    listener = Listener()
    ear = hearing.open(UPLINK, 0, listener, unlabelled_echo=estimated)
    ear.packet(uplink.encode(np.zeros(960, np.int16)), 1, 60 if timestamps else 0, 0.0, listening=True)
    for number in range(100):
        frame = slice(number * 960, (number + 1) * 960)
        ear.played(downlink.encode(played[frame]), (number + 1) * 60, number * 0.06)
        if number >= 3:
            late = slice((number - 3) * 960, (number - 2) * 960)
            timestamp = (number - 2) * 60 if timestamps else 0
            ear.packet(uplink.encode(heard[late]), number - 1, timestamp, number * 0.06, listening=True)
        await listener.get(max(1, number - 1))
    ear.close()
    return float(np.mean([np.abs(frame.pcm).mean() for frame in listener.frames[-16:]]))


async def test_a_device_that_names_what_it_plays_is_heard_without_its_echo(hearing: HearingPool) -> None:
    assert hearing.cancels_echo
    assert await echoed(hearing, timestamps=True) < await echoed(hearing, timestamps=False) / 5


async def test_what_a_device_plays_is_estimated_for_one_that_can_not_name_it(hearing: HearingPool) -> None:
    estimated = await echoed(hearing, timestamps=False, estimated=True)
    assert estimated < await echoed(hearing, timestamps=False) / 5


async def test_what_was_learnt_of_a_room_is_there_for_the_next_session(
    hearing: HearingPool, vad: CountingVad
) -> None:
    listener = Listener()
    ear = hearing.open(UPLINK, 0, listener, "kitchen")
    opus = packets(2)
    ear.push(opus[0], 1, 0.0, 60)
    await listener.get(1)
    ear.close()
    room = hearing.echo_paths.take("kitchen")
    hearing.echo_paths.keep("kitchen", room)
    vad.gate.clear()
    vad.entered.clear()
    second = hearing.open(UPLINK, 0, listener, "kitchen")
    second.push(opus[1], 1, 0.0, 60)
    await asyncio.to_thread(vad.entered.wait, 20)
    second.close()
    in_use = hearing.echo_paths.take("kitchen")
    assert in_use is not room  # a thread still works with it
    vad.gate.set()
    third = hearing.open(UPLINK, 0, listener)
    third.push(opus[0], 1, 0.0)
    await listener.get(2)
    assert hearing.echo_paths.take("kitchen") is room


async def test_a_device_that_sends_too_fast_occupies_no_thread_and_another_is_heard(
    hearing: HearingPool, vad: CountingVad
) -> None:
    flooded, quiet = Listener(), Listener()
    flood = hearing.open(UPLINK, 120, flooded, "flood")
    other = hearing.open(UPLINK, 120, quiet, "quiet")
    packet = packets(1)[0]
    now = asyncio.get_running_loop().time()
    most = int(UPLINK_BURST_S / 0.06) + 1
    for sequence in range(1, 1001):  # a minute of audio at once
        flood.packet(packet, sequence, 0, now, listening=True)
    other.packet(packet, 1, 0, now, listening=True)
    await quiet.get(1)
    flood.flush()
    await flood.drained()
    assert len(flooded.frames) <= most
    assert not any(frame.lost for frame in flooded.frames)
    flood.packet(packet, 2000, 0, now + 1.0, listening=True)
    flood.flush()
    await flood.drained()
    assert not flooded.frames[-1].lost  # the gap is none, and costs no work
    assert len(flooded.frames) <= most + 1


async def test_what_a_frame_starts_knows_its_device(hearing: HearingPool) -> None:
    known: list[str] = []
    heard = asyncio.Event()

    def on_frame(frame: HeardFrame) -> None:
        known.append(current_holder())
        heard.set()

    bind_holder("mine")
    ear = hearing.open(UPLINK, 120, on_frame)
    bind_holder("another")
    push_all(ear, packets(1))
    await heard.wait()
    assert known == ["mine"]
