"""The recording of an utterance: growing, replayable, resampled, and waited for only once it has ended."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.contract.recording import Recording, Transcript
from tests.unit.providers.fakes import FakeStt, collect, pcm

RATE = 16_000


async def test_playback_follows_a_growing_recording_to_its_end() -> None:
    recording = Recording(RATE, 1.0)
    playing = asyncio.create_task(collect(recording.play(RATE)))
    for value in range(3):
        await asyncio.sleep(0)
        recording.push(pcm(value))
    recording.end()
    assert [list(piece) for piece in await playing] == [[0], [1], [2]]


async def test_two_playbacks_hear_the_same() -> None:
    recording = Recording(RATE, 1.0)
    recording.push(pcm(1))
    both = [asyncio.create_task(collect(recording.play(RATE, whole=whole))) for whole in (False, True)]
    await asyncio.sleep(0)
    recording.push(pcm(2))
    recording.end()
    chunks, whole = [await playing for playing in both]
    assert [list(piece) for piece in chunks] == [[1], [2]]
    assert [list(piece) for piece in whole] == [[1, 2]]


async def test_nothing_is_recorded_after_the_end() -> None:
    recording = Recording(RATE, 1.0)
    recording.end()
    recording.end()
    recording.push(pcm(1))
    assert recording.empty
    assert await collect(recording.play(RATE)) == []
    assert await collect(recording.play(RATE, whole=True)) == []


@given(sizes=st.lists(st.integers(0, 50), max_size=20), bound=st.integers(1, 400))
def test_a_recording_keeps_the_beginning_up_to_its_bound(sizes: list[int], bound: int) -> None:
    async def record() -> None:
        recording = Recording(1_000, bound / 1_000)
        audio = np.arange(sum(sizes), dtype=np.int16)
        for end, size in zip(np.cumsum(sizes), sizes, strict=True):
            recording.push(audio[end - size : end])
        recording.end()
        kept = await collect(recording.play(1_000))
        assert [*np.concatenate([pcm(), *kept])] == [*audio[: recording_samples(bound)]]

    def recording_samples(milliseconds: int) -> int:
        return int(1_000 * (milliseconds / 1_000))

    asyncio.run(record())


@pytest.mark.parametrize("whole", [True, False])
async def test_a_provider_of_another_rate_hears_resampled_audio(whole: bool) -> None:
    recording = Recording(RATE, 10)
    for _ in range(10):
        recording.push(np.ones(RATE // 10, np.int16))
    recording.end()
    pieces = await collect(recording.play(24_000, whole=whole))
    assert sum(piece.size for piece in pieces) == 24_000


async def test_waiting_is_not_bounded_while_the_speaker_pauses() -> None:
    recording = Recording(RATE, 1.0)
    async with recording.bound(0.0):
        for _ in range(10):
            await asyncio.sleep(0)


async def test_waiting_is_bounded_from_the_end_of_the_audio() -> None:
    recording = Recording(RATE, 1.0)

    async def speak_and_wait() -> None:
        async with recording.bound(0.0):
            recording.end()
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await speak_and_wait()


async def test_waiting_is_bounded_at_once_when_the_audio_has_ended() -> None:
    recording = Recording(RATE, 1.0)
    recording.end()

    async def wait() -> None:
        async with recording.bound(0.0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()


async def test_a_provider_asked_for_the_same_recording_twice_hears_it_twice() -> None:
    stt = FakeStt([Transcript("hello", final=True)])
    recording = Recording(RATE, 1.0)
    recording.push(pcm(1, 2))
    recording.end()
    for _ in range(2):
        await collect(stt.listen(recording, None))
    assert [[list(piece) for piece in heard] for heard in stt.heard] == [[[1, 2]], [[1, 2]]]
