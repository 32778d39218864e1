"""The provider with real children: commands through Opus and loss, many speakers, and children that die."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured, ProviderUnavailable
from mimi_mqtt.providers.contract.recording import Transcript, Transcription
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.offline import stt as pocketsphinx
from mimi_mqtt.providers.vendors.offline.sphinx import pool, worker
from mimi_mqtt.providers.vendors.offline.sphinx.pool import Job
from mimi_mqtt.providers.vendors.offline.stt import PocketSphinx, PocketSphinxOptions
from tests.unit.providers.vendors.offline.spoken import FRAME, silence, through_opus, utterance

MUST_WORK = ("what time is it", "set the volume to forty")


def provider(*, workers: int = 1, retries: int = 1) -> PocketSphinx:
    return PocketSphinx(
        "offline",
        PocketSphinxOptions(stt_workers=workers),
        Limits(timeout_s=60, retries=retries, backoff_s=0),
    )


@pytest.fixture
async def ears() -> AsyncIterator[PocketSphinx]:
    """One child, that the tests of this module share as far as the event loop allows."""
    sphinx = provider()
    await sphinx.start()
    yield sphinx
    await sphinx.aclose()


def push(transcription: Transcription, pcm: Pcm) -> None:
    for start in range(0, pcm.size, FRAME):
        transcription.push(pcm[start : start + FRAME])


async def heard(sphinx: PocketSphinx, pcm: Pcm, language: str | None = None) -> Transcript:
    transcription = sphinx.open(language=language)
    try:
        push(transcription, pcm)
        return await transcription.finish()
    finally:
        await transcription.aclose()


async def child_of(sphinx: PocketSphinx) -> int:
    """The pid of the child, once it has decoded something."""
    await heard(sphinx, through_opus(utterance("hello")))
    (pid,) = sphinx.pids
    return pid


async def test_the_sentences_that_must_work_do_ten_times_through_loss(ears: PocketSphinx) -> None:
    for sentence in MUST_WORK:
        for seed in range(10):
            pcm = through_opus(utterance(sentence, lead_ms=60 * seed, tail_ms=300 + 90 * seed), 0.05, seed)
            assert (await heard(ears, pcm)).text == sentence


@pytest.fixture
def jobs(ears: PocketSphinx, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """All that is given to the child."""
    jobs: list[Job] = []
    submit = ears._pool.submit

    def noted(pcm: Pcm, *, urgent: bool) -> Job:
        jobs.append(submit(pcm, urgent=urgent))
        return jobs[-1]

    monkeypatch.setattr(ears._pool, "submit", noted)
    return jobs


async def test_what_was_understood_at_a_pause_is_not_all_once_the_speaker_goes_on(
    ears: PocketSphinx, jobs: list[Job]
) -> None:
    async def audio() -> AsyncIterator[Pcm]:
        speech = through_opus(utterance("what time is it"))
        yield speech
        await jobs[0].result
        yield silence(60)
        yield speech[: speech.size // 2]

    transcripts = [transcript async for transcript in ears._transcribe(audio(), None)]
    assert [transcript.text for transcript in transcripts[:2]] == ["what time is it", ""]
    assert [transcript.final for transcript in transcripts] == [False, False, True]


async def test_a_pause_is_enough_to_understand_what_was_said_so_far(
    ears: PocketSphinx, jobs: list[Job]
) -> None:
    async def audio() -> AsyncIterator[Pcm]:
        yield through_opus(utterance("what time is it"))
        await jobs[0].result
        yield silence(60)

    transcripts = [transcript async for transcript in ears._transcribe(audio(), None)]
    assert [(transcript.text, transcript.final) for transcript in transcripts] == [
        ("what time is it", False),
        ("what time is it", True),
    ]
    assert len(jobs) == 1  # it was decoded once


async def test_silence_is_an_empty_transcript(ears: PocketSphinx) -> None:
    assert (await heard(ears, silence(1000))).text == ""


async def test_a_command_is_english_whatever_the_hint(ears: PocketSphinx) -> None:
    transcript = await heard(ears, through_opus(utterance("what time is it")), language="vi")
    assert (transcript.text, transcript.language) == ("what time is it", "en")
    assert PocketSphinx.capabilities.languages == frozenset({"en"})


async def test_check_really_decodes(ears: PocketSphinx) -> None:
    assert await ears.check()


async def test_start_does_not_wait_for_the_models() -> None:
    sphinx = provider()
    starting = asyncio.ensure_future(sphinx.start())
    await asyncio.sleep(0)
    assert starting.done()
    assert (await heard(sphinx, through_opus(utterance("what time is it")))).text == "what time is it"
    await sphinx.aclose()


async def test_speakers_at_once_all_get_their_own_words() -> None:
    sphinx = provider(workers=2)
    await sphinx.start()
    sentences = [*MUST_WORK, "tell me a joke"] * 2
    transcripts = await asyncio.gather(*(heard(sphinx, through_opus(utterance(each))) for each in sentences))
    assert [transcript.text for transcript in transcripts] == sentences
    assert len(sphinx.pids) == 2
    await sphinx.aclose()


async def test_a_child_killed_between_utterances_is_replaced(ears: PocketSphinx) -> None:
    pid = await child_of(ears)
    os.kill(pid, signal.SIGKILL)
    assert (await heard(ears, through_opus(utterance("what time is it")))).text == "what time is it"
    assert ears.pids
    assert pid not in ears.pids


async def test_a_child_killed_in_the_middle_costs_no_word(ears: PocketSphinx) -> None:
    pid = await child_of(ears)
    os.kill(pid, signal.SIGSTOP)  # so that it is killed while it has the utterance
    hearing = asyncio.create_task(heard(ears, through_opus(utterance("what time is it"))))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    assert (await hearing).text == "what time is it"


async def test_without_retries_the_utterance_fails_and_the_next_one_works() -> None:
    sphinx = provider(retries=0)
    await sphinx.start()
    pid = await child_of(sphinx)
    os.kill(pid, signal.SIGSTOP)
    # No pause at its end: it is asked about once, when it is over.
    hearing = asyncio.create_task(heard(sphinx, through_opus(utterance("what time is it", tail_ms=0))))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ProviderUnavailable, match="ended"):
        await hearing
    assert (await heard(sphinx, through_opus(utterance("what time is it")))).text == "what time is it"
    await sphinx.aclose()


async def test_a_speaker_who_gives_up_does_not_hold_up_the_next(ears: PocketSphinx) -> None:
    gone = ears.open()
    push(gone, through_opus(utterance("the quick brown fox jumps over the lazy dog")))
    await asyncio.sleep(0)
    await gone.aclose()
    assert (await heard(ears, through_opus(utterance("what time is it")))).text == "what time is it"


async def test_closing_leaves_no_process_and_fails_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_END_S", 0.05)
    sphinx = provider(retries=0)
    await sphinx.start()
    pid = await child_of(sphinx)
    os.kill(pid, signal.SIGSTOP)
    hearing = asyncio.create_task(heard(sphinx, through_opus(utterance("what time is it"))))
    await asyncio.sleep(0)
    await sphinx.aclose()
    with pytest.raises(ProviderUnavailable, match="stopped"):
        await hearing
    assert not sphinx.pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)  # it was waited for
    await sphinx.aclose()


async def test_a_question_during_a_long_speech_has_a_child_of_its_own_at_a_better_priority() -> None:
    sphinx = provider()
    await sphinx.start()
    everything = await child_of(sphinx)
    speech = through_opus(utterance("the quick brown fox jumps over the lazy dog"))
    long = sphinx._pool.submit(np.tile(speech, 12), urgent=True)
    await asyncio.sleep(0)
    question = through_opus(utterance("what time is it", tail_ms=0))
    assert (await heard(sphinx, question)).text == "what time is it"
    assert not long.result.done()
    pids = sphinx.pids
    assert len(pids) == 2
    assert pids[0] == everything
    nicer, own = (os.getpriority(os.PRIO_PROCESS, pid) for pid in pids)
    assert own < nicer
    await sphinx.aclose()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)  # it was waited for


async def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pocketsphinx, "find_spec", lambda _: None)
    with pytest.raises(ProviderNotConfigured, match=r"pip install 'mimi-mqtt\[offline\]'"):
        await provider().start()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise SystemExit(3)", r"ended \(3\)"),
        ("print('hello, world, this is no message')", "nonsense"),
        (
            "import sys; sys.stdout.buffer.write(bytes([0, 0, 0, 0, 4, 0, 0, 0]) + b'\"no\"')",
            "can't be loaded",
        ),
    ],
)
async def test_a_child_that_never_works_is_not_started_over_and_over(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    folder = tmp_path_factory.mktemp("child")
    script = folder / "python"
    counter = folder / "starts"
    script.write_text(f'#!/bin/sh\necho >> "{counter}"\nexec "{sys.executable}" -c "$PROGRAM"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PROGRAM", program)
    monkeypatch.setattr(worker, "_ENVIRONMENT", ("PATH", "PROGRAM"))
    monkeypatch.setattr(sys, "executable", str(script))
    sphinx = provider(retries=0)
    await sphinx.start()
    for _ in range(6):
        with pytest.raises((ProviderUnavailable, ProviderNotConfigured), match=message):
            await heard(sphinx, utterance("hello", tail_ms=0))
    assert len(counter.read_text().splitlines()) <= pool._MOST_STARTS
    await sphinx.aclose()


async def test_a_python_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    sphinx = provider(retries=0)
    await sphinx.start()
    with pytest.raises(ProviderUnavailable, match="can't be started"):
        await heard(sphinx, utterance("hello", tail_ms=0))
    await sphinx.aclose()


async def test_too_many_waiting_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_WAITING", 0)
    sphinx = provider(retries=0)
    with pytest.raises(ProviderUnavailable, match="too many"):
        await heard(sphinx, utterance("hello", tail_ms=0))
    await sphinx.aclose()


async def test_the_child_is_given_no_secrets_and_no_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    sphinx = provider()
    await sphinx.start()
    pid = await child_of(sphinx)
    folder = Path(f"/proc/{pid}")
    environment = (folder / "environ").read_bytes()
    links = [str(entry.readlink()) for entry in (folder / "fd").iterdir()]
    assert b"sk-secret" not in environment
    assert not [link for link in links if link.startswith("socket:")]
    await sphinx.aclose()
    server.close()
    await server.wait_closed()
