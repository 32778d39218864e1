"""The play-out timer: frames leave on their clock, through a bounded queue."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from mimi_mqtt.errors import PlayoutError
from mimi_mqtt.session.playout import QUEUE_MS, Playout, PlayoutStream

pytestmark = pytest.mark.virtual_time

FRAME_S = 0.06
AHEAD = 3


@dataclass
class Device:
    """Where a stream's frames go."""

    frames: list[tuple[float, bytes, int]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    played: list[float] = field(default_factory=list)
    fault: Exception | None = None

    def send_frame(self, opus: bytes, timestamp: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.frames.append((now(), opus, timestamp))
        self.story.append(opus.decode())

    def send_sentence(self, text: str) -> None:
        self.story.append(text)

    def speech_over(self) -> None:
        self.played.append(now())


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def playout() -> AsyncIterator[Playout]:
    playout = Playout()
    yield playout
    playout.close()


def open_stream(playout: Playout, ahead: int = AHEAD) -> tuple[Device, PlayoutStream]:
    device = Device()
    return device, playout.open(device, 60, ahead)


def leaving(start: float, count: int) -> list[float]:
    """When the frames of a stream leave: 2/3 of a frame apart until `AHEAD` are ahead, then on the clock."""
    return [start + max(n * FRAME_S * 2 / 3, (n - AHEAD) * FRAME_S) for n in range(count)]


async def play(stream: PlayoutStream, count: int) -> None:
    for index in range(count):
        await stream.put_frame(str(index).encode())


async def test_first_frame_leaves_at_the_given_moment(playout: Playout) -> None:
    device, stream = open_stream(playout)
    start = now()
    stream.begin(start + 0.1)
    await play(stream, 1)
    await asyncio.sleep(1)
    assert device.frames[0][0] == pytest.approx(start + 0.1)


async def test_frames_leave_on_an_absolute_clock(playout: Playout) -> None:
    device, stream = open_stream(playout)
    start = now() + 0.1
    stream.begin(start)
    await play(stream, 50)
    await asyncio.sleep(5)
    assert [sent for sent, _, _ in device.frames] == pytest.approx(leaving(start, 50))
    assert device.story == [str(n) for n in range(50)]


async def test_finish_returns_when_the_last_frame_was_played_and_the_margin_is_over(playout: Playout) -> None:
    device, stream = open_stream(playout)
    start = now() + 0.1
    stream.begin(start)
    await play(stream, 10)
    await stream.finish(0.12)
    assert now() == pytest.approx(start + 10 * FRAME_S + 0.12)
    assert device.played == [now()]


async def test_finish_of_a_speech_without_frames_shows_its_sentences(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    stream.put_sentence("Nobody could say this.")
    await stream.finish(0)
    assert device.story == ["Nobody could say this."]


async def test_sentence_comes_just_before_its_first_frame(playout: Playout) -> None:
    device, stream = open_stream(playout, ahead=1)
    stream.begin(now())
    stream.put_sentence("One.")
    await play(stream, 3)
    stream.put_sentence("Two.")
    await asyncio.sleep(1)
    assert device.story == ["One.", "0", "1", "2"]  # the second has not begun
    await play(stream, 1)
    await asyncio.sleep(1)
    assert device.story == ["One.", "0", "1", "2", "Two.", "0"]


async def test_full_queue_makes_the_producer_wait_for_the_device(playout: Playout) -> None:
    device, stream = open_stream(playout)
    frames = QUEUE_MS // 60 + 100
    stream.begin(now())
    start = now()
    await play(stream, frames)
    # All but those in the queue, and those ahead of their time, have been played.
    assert now() - start == pytest.approx((100 - AHEAD - 1) * FRAME_S)
    assert len(device.frames) == 100


async def test_underrun_shifts_the_clock_without_a_burst(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    await play(stream, 5)
    await asyncio.sleep(10)
    resumed = now()
    await play(stream, 20)
    await asyncio.sleep(10)
    later = [sent for sent, _, _ in device.frames[5:]]
    assert later == pytest.approx(leaving(resumed, 20))


async def test_finish_after_an_underrun_waits_for_the_shifted_clock(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    await play(stream, 5)
    await asyncio.sleep(10)
    resumed = now()
    await play(stream, 20)
    await stream.finish(0.12)
    assert device.played == pytest.approx([resumed + 20 * FRAME_S + 0.12])


async def test_slow_producer_is_followed_frame_by_frame(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    for index in range(5):
        await asyncio.sleep(0.2)
        await stream.put_frame(str(index).encode())
    await asyncio.sleep(0.01)
    assert [later[0] - sooner[0] for sooner, later in pairwise(device.frames)] == pytest.approx([0.2] * 4)


async def test_timestamps_increase_strictly_over_all_speeches(playout: Playout) -> None:
    device, stream = open_stream(playout)
    for _ in range(3):
        stream.begin(now() + 0.1)
        await play(stream, 7)
        await asyncio.sleep(0.3)
        stream.flush()
        stream.begin(now())
        await play(stream, 5)
        await stream.finish(0.1)
    timestamps = [timestamp for _, _, timestamp in device.frames]
    assert timestamps[0] > 0
    assert all(later > sooner for sooner, later in pairwise(timestamps))


async def test_flush_drops_the_queue_and_releases_everyone(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    producer = asyncio.ensure_future(play(stream, 1000))
    finisher = asyncio.ensure_future(stream.finish(1))
    await asyncio.sleep(1)
    sent = len(device.frames)
    stream.flush()
    await asyncio.gather(producer, finisher)
    await asyncio.sleep(5)
    assert len(device.frames) == sent
    assert device.played == []


async def test_frames_after_the_end_are_dropped(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    stream.flush()
    await play(stream, 3)
    stream.put_sentence("late")
    stream.begin(now())
    await stream.finish(0)
    assert device.story == []


async def test_a_producer_of_the_old_speech_puts_nothing_into_the_new_one(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    await play(stream, QUEUE_MS // 60 + AHEAD + 1)
    late = asyncio.ensure_future(stream.put_frame(b"late"))
    await asyncio.sleep(0)
    stream.flush()
    stream.begin(now())
    await late
    await stream.finish(0)
    assert "late" not in device.story


async def test_held_frames_wait_for_begin(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.hold()
    await play(stream, 2)
    finisher = asyncio.ensure_future(stream.finish(0))
    await asyncio.sleep(5)
    assert device.frames == []
    assert stream.frames_sent == 0
    stream.begin(now())
    await finisher
    assert len(device.frames) == 2


async def test_cancelled_finish_leaves_the_speech_running(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    await play(stream, 10)
    finisher = asyncio.ensure_future(stream.finish(0))
    await asyncio.sleep(0.05)
    finisher.cancel()
    await asyncio.sleep(2)
    assert len(device.frames) == 10


async def test_end_after_sentence_plays_it_to_its_end_and_nothing_more(playout: Playout) -> None:
    device, stream = open_stream(playout, ahead=1)
    stream.begin(now())
    for sentence in ("One.", "Two.", "Three."):
        stream.put_sentence(sentence)
        await play(stream, 5)
    await asyncio.sleep(0.1)
    stream.end_after_sentence()
    stream.put_sentence("Four.")
    await play(stream, 500)
    await stream.finish(0)
    assert device.story == ["One.", "0", "1", "2", "3", "4"]


async def test_end_after_sentence_takes_the_rest_of_a_sentence_that_is_still_being_made(
    playout: Playout,
) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    stream.put_sentence("One.")
    await play(stream, 2)
    stream.end_after_sentence()
    await play(stream, 3)
    stream.put_sentence("Two.")
    await play(stream, 3)
    await stream.finish(0)
    assert device.story == ["One.", "0", "1", "0", "1", "2"]


async def test_hundred_streams_keep_their_own_clocks(playout: Playout) -> None:
    streams = [open_stream(playout) for _ in range(100)]
    starts = []
    for index, (_, stream) in enumerate(streams):
        starts.append(now() + index * 0.0007)
        stream.begin(starts[-1])
        await play(stream, 30)
    await asyncio.sleep(5)
    for start, (device, _) in zip(starts, streams, strict=True):
        assert [sent for sent, _, _ in device.frames] == pytest.approx(leaving(start, 30), abs=1e-6)


async def test_fault_in_one_stream_does_not_silence_the_others(playout: Playout) -> None:
    broken, broken_stream = open_stream(playout)
    device, stream = open_stream(playout)
    broken.fault = RuntimeError("a defect")
    broken_stream.begin(now())
    stream.begin(now())
    await play(broken_stream, 5)
    await play(stream, 20)
    await stream.finish(0)
    assert len(device.frames) == 20
    assert broken.played  # its device leaves the speaking state


async def test_who_plays_and_who_waits_is_told_that_a_speech_failed(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    await play(stream, 3)
    filling = asyncio.ensure_future(play(stream, QUEUE_MS // 60 + 10))
    finishing = asyncio.ensure_future(stream.finish(0.1))
    await asyncio.sleep(0.1)
    device.fault = RuntimeError("a defect")
    for waiting in (filling, finishing):
        with pytest.raises(PlayoutError, match="a defect"):
            await waiting
    with pytest.raises(PlayoutError):
        await stream.put_frame(b"late")
    with pytest.raises(PlayoutError):
        await stream.finish(0)
    assert stream.failed


async def test_the_speech_after_a_failed_one_is_played(playout: Playout) -> None:
    device, stream = open_stream(playout)
    device.fault = RuntimeError("a defect")
    stream.begin(now())
    await play(stream, 3)
    with pytest.raises(PlayoutError):
        await stream.finish(0)
    device.fault = None
    stream.begin(now())
    await play(stream, 5)
    await stream.finish(0)
    assert len(device.frames) == 5
    assert not stream.failed


async def test_a_pause_sends_nothing_and_what_follows_goes_on_from_there(playout: Playout) -> None:
    device, stream = open_stream(playout)
    start = now()
    stream.begin(start)
    await play(stream, 20)
    finishing = asyncio.ensure_future(stream.finish(0.1))
    await asyncio.sleep(0.5)
    stream.pause()
    sent = len(device.frames)
    await asyncio.sleep(10)
    assert len(device.frames) == sent
    assert not device.played
    resumed = now()
    stream.resume()
    await finishing
    assert device.story == [str(index) for index in range(20)]
    assert [timestamp for _, _, timestamp in device.frames] == [60 * (n + 1) for n in range(20)]
    # What was on its way when it paused has been played long ago: the rest takes its whole time.
    assert now() == pytest.approx(resumed + (20 - sent) * FRAME_S + 0.1)


async def test_a_pause_ends_with_its_speech(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    await play(stream, 5)
    stream.pause()
    stream.flush()
    stream.begin(now())
    await play(stream, 1)
    await asyncio.sleep(1)
    assert device.story == ["0"]


async def test_pausing_and_resuming_without_speech_is_nothing(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.pause()
    stream.resume()
    stream.begin(now())
    await play(stream, 1)
    await asyncio.sleep(1)
    assert device.story == ["0"]


async def test_a_paused_speech_that_waits_for_frames_goes_on_with_them(playout: Playout) -> None:
    device, stream = open_stream(playout)
    stream.begin(now())
    stream.pause()
    await play(stream, 2)
    await asyncio.sleep(1)
    assert device.frames == []
    stream.resume()
    await asyncio.sleep(1)
    assert device.story == ["0", "1"]
