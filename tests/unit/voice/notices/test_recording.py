"""One stream that several read while it is made."""

import asyncio

import pytest

from mimi_mqtt.errors import AudioError, ProviderTimeout
from mimi_mqtt.voice.notices import recording as module
from mimi_mqtt.voice.notices.recording import Recording
from mimi_mqtt.wire.messages import Subtitle
from mimi_mqtt.wire.ogg import OggOpusReader, OpusPacket

pytestmark = pytest.mark.virtual_time

FRAME = OpusPacket(b"\x58" * 20, 2_880)


async def heard(recording: Recording) -> int:
    """Packets that a reader gets; the stream is whole at its end."""
    reader, packets = OggOpusReader(), 0
    async for page in recording.read():
        packets += len(reader.feed(page.data))
    reader.finish()
    return packets


async def test_readers_that_come_at_any_time_hear_all() -> None:
    recording = Recording()
    recording.hold()

    async def work() -> None:
        for _ in range(30):
            recording.add([FRAME])
            await asyncio.sleep(0.01)

    recording.make(work(), "test")
    early = asyncio.create_task(heard(recording))
    await asyncio.sleep(0.1)
    half_way = asyncio.create_task(heard(recording))
    await recording.ended()
    assert (await early, await half_way, await heard(recording)) == (30, 30, 30)
    assert recording.whole
    assert recording.duration_ms == 1_800
    recording.release()


async def test_the_first_sound_can_be_read_before_the_second_sentence_is_made() -> None:
    recording, go_on = Recording(), asyncio.Event()
    recording.hold()
    recording.plan(["One.", "Two."])

    async def work() -> None:
        recording.sentence(0)
        recording.add([FRAME] * 4)
        recording.sentence(1)
        await go_on.wait()
        recording.add([FRAME])

    recording.make(work(), "test")
    await recording.begun()
    assert not recording.over
    reader, packets = OggOpusReader(), 0
    async for page in recording.read():
        packets += len(reader.feed(page.data))
        if packets:
            break
    assert packets
    go_on.set()
    await recording.ended()
    assert recording.subtitles() == (Subtitle(0, "One."), Subtitle(240, "Two."))


async def test_pages_tell_when_their_sound_begins() -> None:
    recording = Recording()

    async def work() -> None:
        for _ in range(40):
            recording.add([FRAME])

    recording.make(work(), "test")
    await recording.ended()
    begins = [page.begin_ms async for page in recording.read()]
    assert begins == sorted(begins)
    assert begins[0] == 0
    assert 2_000 < begins[-1] < 2_400


async def test_times_of_sentences_to_come_follow_the_pace_so_far() -> None:
    recording = Recording()
    recording.hold()
    recording.plan(["Ten chars.", "Ten chars.", "Ten chars.", "Ten chars."])

    async def work() -> None:
        recording.sentence(0)
        recording.add([FRAME] * 10)
        recording.sentence(1)
        await asyncio.Event().wait()

    recording.make(work(), "test")
    await recording.begun()
    assert [line.start_ms for line in recording.subtitles()] == [0, 600, 1_200, 1_800]
    recording.release()
    await recording.ended()


async def test_what_nobody_holds_any_more_is_given_up() -> None:
    recording = Recording()
    recording.hold()
    recording.hold()
    over: list[bool] = []
    recording.on_over = lambda: over.append(recording.whole)

    async def work() -> None:
        recording.add([FRAME])
        await asyncio.Event().wait()

    recording.make(work(), "test")
    await asyncio.sleep(0.1)
    recording.release()
    await asyncio.sleep(0.1)
    assert not recording.over
    recording.release()
    await recording.ended()
    assert isinstance(recording.failure, AudioError)
    assert over == [False]


async def test_what_is_given_up_before_it_began_is_over() -> None:
    recording = Recording()
    recording.hold()

    async def work() -> None:
        recording.add([FRAME])

    recording.make(work(), "test")
    recording.release()
    await recording.ended()
    assert recording.duration_ms == 0


async def test_a_failure_ends_the_stream_where_it_is() -> None:
    recording = Recording()

    async def work() -> None:
        recording.add([FRAME] * 3)
        raise ProviderTimeout("voice", "no answer")

    recording.make(work(), "test")
    assert await heard(recording) == 3
    assert isinstance(recording.failure, ProviderTimeout)
    assert not recording.whole


async def test_a_fault_ends_the_stream_too() -> None:
    recording = Recording()

    async def work() -> None:
        recording.add([FRAME])
        raise RuntimeError("a mistake that nobody foresaw")

    recording.make(work(), "test")
    assert await heard(recording) == 1
    assert recording.failure is not None


@pytest.mark.parametrize("bound", ["MAX_RECORDING_S", "MAX_RECORDING_BYTES"])
async def test_a_recording_is_bounded(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, bound, 1 if bound.endswith("_S") else 600)
    recording = Recording()

    async def work() -> None:
        while True:
            recording.add([FRAME])
            await asyncio.sleep(0)

    recording.make(work(), "test")
    assert 10 < await heard(recording) < 60
    assert recording.whole
