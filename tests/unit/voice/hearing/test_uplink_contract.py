"""What a conversation may rely on of its uplink stream: over the real pool of threads, and the fake one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.voice.hearing.pool import HearingPool
from mimi_mqtt.voice.hearing.stream import MAX_PENDING_PACKETS, UplinkStream
from mimi_mqtt.voice.ports import HeardFrame
from tests.fakes.voice import SILENCE, SPEECH, UPLINK, FakeHearing

Open = Callable[[Callable[[HeardFrame], None], int], UplinkStream]


class LoudnessVad(VoiceActivityDetector):
    """What is loud is speech."""

    def open(self) -> VadStream:
        return VadStream()

    def probabilities(self, batch: Sequence[tuple[VadStream, Pcm]]) -> list[float]:
        # The beginning of a frame is still the end of the one before.
        return [0.9 if np.abs(pcm[len(pcm) // 2 :]).mean() > 500 else 0.05 for _, pcm in batch]


def opus(*, loud: bool) -> bytes:
    """A frame from the middle of a stream, all of it loud or silent."""
    encoder = OpusEncoder(UPLINK.sample_rate)
    wave = 8_000 * np.sin(np.arange(UPLINK.frame_samples) / 5) * loud
    return [encoder.encode(wave.astype(np.int16)) for _ in range(5)][-1]


@dataclass
class Rig:
    """A pool, and packets it can hear."""

    open: Open
    speech: bytes
    silence: bytes

    def stream(
        self, on_frame: "Callable[[HeardFrame], None] | None" = None, jitter_ms: int = 20_000
    ) -> "tuple[UplinkStream, Heard]":
        """A stream that waits for ever for a missing packet, and what is heard of it."""
        heard = Heard(on_frame)
        return self.open(heard.take, jitter_ms), heard

    def push(self, stream: UplinkStream, sequences: Sequence[int], *, silent: Sequence[int] = ()) -> None:
        """Packets with speech, and without in those of `silent`, come in one moment; they count from 0."""
        now = asyncio.get_running_loop().time()
        for sequence in sequences:
            stream.push(self.silence if sequence in silent else self.speech, sequence + 1, now)


class Heard:
    """The frames heard, in order: "S" for speech, "-" for silence, "x" for a lost one."""

    def __init__(self, then: "Callable[[HeardFrame], None] | None") -> None:
        self.frames = ""
        self._then = then
        self._more = asyncio.Event()

    def take(self, frame: HeardFrame) -> None:
        self.frames += "x" if frame.lost else "S" if frame.speech_probability > 0.5 else "-"
        assert frame.pcm.shape == (UPLINK.frame_samples,)
        self._more.set()
        if self._then is not None:
            self._then(frame)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.frames) < count:
                self._more.clear()
                await self._more.wait()


@pytest.fixture(params=["at once", "late", "threads"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "threads":
        pool = HearingPool(LoudnessVad("loudness", ProviderOptions(), Limits()), threads=2)
        yield Rig(
            lambda on_frame, jitter_ms: pool.open(UPLINK, jitter_ms, on_frame),
            opus(loud=True),
            opus(loud=False),
        )
        await pool.aclose()
        return
    fake = FakeHearing(late_s=0.002 if request.param == "late" else 0.0)
    yield Rig(lambda on_frame, jitter_ms: fake.open(UPLINK, jitter_ms, on_frame), SPEECH, SILENCE)


async def test_packets_are_heard_in_the_order_of_their_sequences(rig: Rig) -> None:
    stream, heard = rig.stream()
    rig.push(stream, [0, 2, 1, 3, 5, 4], silent=[2, 3])
    await heard.until(6)
    assert heard.frames == "SS--SS"


async def test_nothing_is_heard_before_the_caller_of_push_goes_on(rig: Rig) -> None:
    stream, heard = rig.stream()
    rig.push(stream, range(20))
    assert heard.frames == ""
    assert stream.pending
    await heard.until(20)
    assert not stream.pending


async def test_a_packet_that_never_comes_is_a_lost_frame_after_its_time(rig: Rig) -> None:
    stream, heard = rig.stream(jitter_ms=20)
    rig.push(stream, [0, 1, 3, 4])
    await heard.until(5)
    assert heard.frames == "SSxSS"
    assert stream.lost == 1
    rig.push(stream, [2])
    assert stream.late == 1
    await stream.drained()
    assert heard.frames == "SSxSS"


async def test_what_is_held_behind_a_gap_is_heard_at_the_end_of_the_utterance(rig: Rig) -> None:
    stream, heard = rig.stream()
    rig.push(stream, [0, 2, 3])
    await heard.until(1)
    await stream.drained()
    assert heard.frames == "S"
    stream.flush()
    await stream.drained()
    assert heard.frames == "SxSS"


async def test_drained_means_that_all_was_heard(rig: Rig) -> None:
    stream, heard = rig.stream()
    await stream.drained()
    for begin in range(0, 60, 20):
        rig.push(stream, range(begin, begin + 20))
        await stream.drained()
        assert len(heard.frames) == begin + 20


async def test_a_reset_drops_what_is_on_its_way(rig: Rig) -> None:
    stream, heard = rig.stream()
    rig.push(stream, range(30))
    await heard.until(1)
    before = len(heard.frames)
    waiting = asyncio.ensure_future(stream.drained())
    await asyncio.sleep(0)
    stream.reset()
    before = len(heard.frames)
    await waiting
    rig.push(stream, range(30, 40), silent=range(30, 40))
    await heard.until(before + 10)
    await stream.drained()
    assert heard.frames[before:] == "-" * 10


async def test_a_listener_may_reset_the_stream_in_the_middle_of_a_batch(rig: Rig) -> None:
    def reset(_: HeardFrame) -> None:
        if len(heard.frames) == 3:
            stream.reset()

    stream, heard = rig.stream(reset)
    rig.push(stream, range(30))
    await stream.drained()
    await heard.until(3)
    rig.push(stream, range(30, 33), silent=range(30, 33))
    await stream.drained()
    assert heard.frames == "SSS---"


async def test_a_listener_may_close_the_stream_in_the_middle_of_a_batch(rig: Rig) -> None:
    stream, heard = rig.stream(lambda _: stream.close())
    rig.push(stream, range(30))
    await stream.drained()
    other, heard_by_other = rig.stream()
    rig.push(other, range(10))
    await other.drained()
    assert (heard.frames, heard_by_other.frames) == ("S", "S" * 10)


async def test_a_closed_stream_hears_nothing_and_keeps_nobody_waiting(rig: Rig) -> None:
    stream, heard = rig.stream()
    rig.push(stream, range(30))
    waiting = asyncio.ensure_future(stream.drained())
    await asyncio.sleep(0)
    stream.close()
    stream.close()
    before = len(heard.frames)
    await waiting
    rig.push(stream, range(30, 40))
    stream.flush()
    stream.reset()
    await stream.drained()
    other, heard_by_other = rig.stream()
    rig.push(other, range(10))
    await heard_by_other.until(10)
    assert len(heard.frames) == before


async def test_a_fault_of_a_listener_is_no_end_of_hearing(rig: Rig) -> None:
    def fail(_: HeardFrame) -> None:
        raise RuntimeError("a mistake that nobody foresaw")

    stream, heard = rig.stream(fail)
    rig.push(stream, range(20))
    await stream.drained()
    assert heard.frames == "S" * 20


async def test_a_burst_that_is_too_long_loses_its_beginning(rig: Rig) -> None:
    stream, heard = rig.stream()
    excess = 30
    rig.push(stream, range(MAX_PENDING_PACKETS + excess), silent=range(excess))
    await stream.drained()
    assert stream.dropped == excess
    assert heard.frames == "S" * MAX_PENDING_PACKETS


async def test_streams_hear_side_by_side(rig: Rig) -> None:
    both = [rig.stream() for _ in range(3)]
    for number, (stream, _) in enumerate(both):
        rig.push(stream, range(25), silent=[number])
    for stream, _ in both:
        await stream.drained()
    assert [heard.frames for _, heard in both] == ["-" + "S" * 24, "S-" + "S" * 23, "SS-" + "S" * 22]
