"""Speech to text: audio is pushed, kept, heard again after a failure, and bounded in time and length."""

import asyncio

import numpy as np
import pytest

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.runtime.resilience import Limits
from tests.unit.providers.fakes import FAST, HANG, IMPATIENT, FakeStt, metric, pcm

DONE = Transcript("hello", final=True, language="en")


async def transcribe(stt: FakeStt, *, seconds: float = 1.0) -> Transcript:
    utterance = stt.open(language="en")
    try:
        utterance.push(np.ones(int(seconds * stt.capabilities.sample_rate), np.int16))
        return await utterance.finish()
    finally:
        await utterance.aclose()


async def test_finish_returns_the_final_transcript() -> None:
    stt = FakeStt([Transcript("hel", final=False), DONE])
    assert await transcribe(stt) == DONE
    assert stt.language == "en"


async def test_a_streaming_vendor_hears_while_the_speaker_speaks() -> None:
    stt = FakeStt([DONE])
    utterance = stt.open()
    for value in (1, 2):
        utterance.push(pcm(value))
        await stt.heard_something.wait()
        stt.heard_something.clear()
        assert len(stt.heard[0]) == value
    assert [list(piece) for piece in stt.heard[0]] == [[1], [2]]
    await utterance.finish()
    await utterance.aclose()


async def test_a_vendor_that_does_not_stream_hears_all_audio_at_once() -> None:
    stt = FakeStt([DONE], streaming=False)
    utterance = stt.open()
    utterance.push(pcm(1, 2))
    utterance.push(pcm(3))
    await utterance.finish()
    await utterance.aclose()
    assert [list(piece) for piece in stt.heard[0]] == [[1, 2, 3]]


@pytest.mark.parametrize("judgement", [True, False])
async def test_the_vendors_judgement_of_the_end_is_shown(judgement: bool) -> None:
    stt = FakeStt(
        [Transcript("hel", final=False, endpoint=True), Transcript("hello", False, endpoint=judgement), HANG]
    )
    utterance = stt.open()
    assert not utterance.endpoint
    utterance.push(pcm(1))
    finish = asyncio.create_task(utterance.finish())
    await stt.script.hanging.wait()
    assert utterance.endpoint is judgement
    await utterance.aclose()
    with pytest.raises(ProviderUnavailable):
        await finish


async def test_the_interim_text_follows_the_vendor() -> None:
    stt = FakeStt([Transcript("hel", final=False), HANG])
    utterance = stt.open()
    utterance.push(pcm(1))
    finish = asyncio.create_task(utterance.finish())
    await stt.script.hanging.wait()
    assert utterance.interim == "hel"
    await utterance.aclose()
    with pytest.raises(ProviderUnavailable):
        await finish


async def test_an_utterance_without_audio_asks_nobody() -> None:
    stt = FakeStt([DONE])
    utterance = stt.open()
    utterance.push(pcm())
    assert await utterance.finish() == Transcript("", final=True)
    await utterance.aclose()
    assert stt.script.played == 0


async def test_audio_past_the_bound_is_dropped() -> None:
    stt = FakeStt([DONE], streaming=False)
    utterance = stt.open(max_s=0.001)
    utterance.push(np.arange(10, dtype=np.int16))
    utterance.push(np.arange(10, 30, dtype=np.int16))
    await utterance.finish()
    await utterance.aclose()
    assert list(stt.heard[0][0]) == list(range(16))


async def test_a_pushed_buffer_may_be_reused_by_its_owner() -> None:
    stt = FakeStt([DONE], streaming=False)
    utterance = stt.open()
    buffer = pcm(7)
    utterance.push(buffer)
    buffer[0] = 0
    await utterance.finish()
    await utterance.aclose()
    assert list(stt.heard[0][0]) == [7]


async def test_a_failed_try_is_repeated_with_the_same_audio_even_after_interim_text() -> None:
    stt = FakeStt([Transcript("hel", final=False), ProviderUnavailable("fake", "cut")], [DONE])
    assert await transcribe(stt) == DONE
    first, second = stt.heard
    assert [list(piece) for piece in first] == [list(piece) for piece in second]


async def test_a_refusal_is_not_repeated() -> None:
    stt = FakeStt([ProviderRefused("fake", "wrong key")])
    with pytest.raises(ProviderRefused):
        await transcribe(stt)
    assert stt.script.played == 1


async def test_a_vendor_that_says_nothing_after_the_end_times_out() -> None:
    stt = FakeStt([HANG], limits=IMPATIENT)
    with pytest.raises(ProviderTimeout):
        await transcribe(stt)
    assert stt.script.closed == 1


async def test_a_stream_without_a_final_transcript_is_a_bad_answer() -> None:
    with pytest.raises(ProviderBadAnswer):
        await transcribe(FakeStt([Transcript("hel", final=False)]))


async def test_closing_cancels_the_vendor_and_leaves_no_task() -> None:
    stt = FakeStt([HANG])
    utterance = stt.open()
    utterance.push(pcm(1))
    finish = asyncio.create_task(utterance.finish())
    await stt.script.hanging.wait()
    await utterance.aclose()
    with pytest.raises(ProviderUnavailable):
        await finish
    assert stt.script.closed == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_finish_leaves_the_rest_to_close() -> None:
    stt = FakeStt([HANG])
    utterance = stt.open()
    utterance.push(pcm(1))
    finish = asyncio.create_task(utterance.finish())
    await stt.script.hanging.wait()
    finish.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finish
    await utterance.aclose()
    await utterance.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_after_finish_is_harmless_and_ends_pushing() -> None:
    stt = FakeStt([DONE])
    utterance = stt.open()
    utterance.push(pcm(1))
    assert await utterance.finish() == DONE
    assert await utterance.finish() == DONE
    await utterance.aclose()
    utterance.push(pcm(2))
    assert stt.script.played == 1


async def test_the_wait_for_the_final_text_is_measured_once() -> None:
    labels = {"role": "stt", "name": "measured-stt"}
    before = metric("mimi_provider_first_result_seconds_count", **labels)
    await transcribe(FakeStt([Transcript("h", final=False), DONE], name="measured-stt"))
    assert metric("mimi_provider_first_result_seconds_count", **labels) == before + 1


async def test_check_hears_half_a_second() -> None:
    stt = FakeStt([DONE], limits=FAST)
    assert await stt.check()
    assert sum(piece.size for piece in stt.heard[0]) == stt.capabilities.sample_rate // 2


async def test_no_retries_means_one_try() -> None:
    stt = FakeStt([ProviderUnavailable("fake", "down")], limits=Limits(5.0, retries=0, backoff_s=0))
    with pytest.raises(ProviderUnavailable):
        await transcribe(stt)
    assert stt.script.played == 1


@pytest.mark.parametrize(
    ("detects", "language", "certain", "hint"),
    [
        (None, "en", True, "en"),
        (None, "en", False, None),
        (frozenset({"en", "de"}), "en-GB", False, None),
        (frozenset({"en", "de"}), "vi", False, "vi"),
        (frozenset(), "en", False, "en"),
        (None, None, False, None),
    ],
)
async def test_a_language_that_is_not_certain_is_not_told_to_who_finds_it_out(
    detects: frozenset[str] | None, language: str | None, certain: bool, hint: str | None
) -> None:
    stt = FakeStt([DONE], detects=detects)
    utterance = stt.open(language=language, certain=certain)
    utterance.push(pcm(1))
    await utterance.finish()
    await utterance.aclose()
    assert stt.language == hint


@pytest.mark.parametrize("sound", ["[BLANK_AUDIO]", "(wind blowing)", "..."])
async def test_a_sound_that_the_vendor_describes_is_no_speech(sound: str) -> None:
    stt = FakeStt([Transcript(sound, final=False), Transcript(sound, final=True)])
    assert (await transcribe(stt)).text == ""
