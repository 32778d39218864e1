import importlib.util
import threading
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.vad import VadStream
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.silero.vad import SileroVad
from tests.unit.providers.vendors.silero.speech import say

RATE = 16_000
SENTENCE = "The quick brown fox jumps over the lazy dog."


@pytest.fixture
async def vad() -> AsyncIterator[SileroVad]:
    detector = SileroVad("silero", ProviderOptions(), Limits())
    await detector.start()
    yield detector
    await detector.aclose()


def frames(pcm: Pcm, samples: int = 960) -> Iterator[Pcm]:
    for at in range(0, len(pcm) - samples + 1, samples):
        yield pcm[at : at + samples]


def probabilities(vad: SileroVad, pcm: Pcm, samples: int = 960) -> NDArray[np.float64]:
    stream = vad.open()
    return np.array([vad.probabilities([(stream, frame)])[0] for frame in frames(pcm, samples)])


def to_pcm(wave: NDArray[np.float64]) -> Pcm:
    return np.clip(wave * 32767, -32768, 32767).astype(np.int16)


TIME = np.arange(RATE * 6) / RATE
NOISES = {
    "white noise": np.random.default_rng(1).normal(0, 0.1, len(TIME)),
    "loud noise": np.random.default_rng(2).normal(0, 0.3, len(TIME)),
    "tone": 0.3 * np.sin(2 * np.pi * 440 * TIME),
    "hum": sum((0.2 / k * np.sin(2 * np.pi * 50 * k * TIME) for k in range(1, 8)), np.zeros(len(TIME))),
    "silence": np.zeros(len(TIME)),
}


@pytest.mark.parametrize("kind", NOISES)
def test_noise_tone_hum_and_silence_are_not_speech(vad: SileroVad, kind: str) -> None:
    assert (probabilities(vad, to_pcm(NOISES[kind])) < 0.5).all()


@pytest.mark.parametrize("loudness", [1.0, 0.05])
def test_speech_is_found(vad: SileroVad, loudness: float) -> None:
    values = probabilities(vad, (say(SENTENCE) * loudness).astype(np.int16))
    assert (values > 0.5).mean() > 0.8


def test_speech_is_found_between_noise_and_lost_again(vad: SileroVad) -> None:
    noise = to_pcm(NOISES["white noise"] * 0.05)[: RATE * 2]
    values = probabilities(vad, np.concatenate([noise, say(SENTENCE), noise]))
    assert (values[:30] < 0.5).all()
    assert values[33:60].max() > 0.9
    assert (values[-20:] < 0.5).all()


def test_a_batch_gives_each_stream_what_it_gets_alone(vad: SileroVad) -> None:
    sources = [say(SENTENCE), to_pcm(NOISES["hum"]), say("Good morning to you all."), to_pcm(NOISES["tone"])]
    count = min(map(len, sources)) // 960
    alone = [probabilities(vad, pcm)[:count] for pcm in sources]
    streams: list[VadStream] = [vad.open() for _ in sources]
    together = np.array(
        [
            vad.probabilities([(s, p[at : at + 960]) for s, p in zip(streams, sources, strict=True)])
            for at in range(0, count * 960, 960)
        ]
    )
    assert np.allclose(together.T, np.array(alone), atol=1e-3)


def test_more_streams_than_one_run_takes_are_all_answered(vad: SileroVad) -> None:
    speech = say(SENTENCE)
    streams: list[VadStream] = [vad.open() for _ in range(150)]
    for frame in frames(speech[: 960 * 12]):
        values = vad.probabilities([(stream, frame) for stream in streams])
    assert len(values) == 150
    assert np.allclose(values, values[0], atol=1e-3)


def test_any_chunking_analyses_the_same_windows(vad: SileroVad) -> None:
    speech = say(SENTENCE)[: 512 * 3 * 5 * 4]
    whole = vad.probabilities([(vad.open(), speech)])[0]
    for samples in (320, 512, 640, 960, 1920):
        assert max(probabilities(vad, speech, samples)) == pytest.approx(whole, abs=1e-3)


def test_a_chunk_too_short_for_a_window_repeats_the_last_value(vad: SileroVad) -> None:
    stream, speech = vad.open(), say(SENTENCE)
    (before,) = vad.probabilities([(stream, speech[:5120])])
    assert before > 0
    assert vad.probabilities([(stream, speech[5120:5220])]) == [before]
    assert vad.probabilities([(stream, np.zeros(0, np.int16))]) == [before]
    assert vad.probabilities([]) == []


def test_chunks_of_different_lengths_share_a_batch(vad: SileroVad) -> None:
    speech = say(SENTENCE)
    lengths = (100, 512, 960, 4000)
    alone = [vad.probabilities([(vad.open(), speech[8000 : 8000 + n])])[0] for n in lengths]
    together = vad.probabilities([(vad.open(), speech[8000 : 8000 + n]) for n in lengths])
    assert together == pytest.approx(alone, abs=1e-3)


def test_threads_share_the_model(vad: SileroVad) -> None:
    speech = say(SENTENCE)
    expected = probabilities(vad, speech)
    results: list[bool] = []

    def work() -> None:
        results.append(np.allclose(probabilities(vad, speech), expected, atol=1e-3))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3


async def test_check_really_asks_the_model() -> None:
    detector = SileroVad("silero", ProviderOptions(), Limits())
    assert "Silero" in await detector.check()
    await detector.aclose()
    await detector.aclose()


async def test_before_start_it_says_so() -> None:
    detector = SileroVad("silero", ProviderOptions(), Limits())
    with pytest.raises(ProviderNotConfigured, match="not started"):
        detector.probabilities([(detector.open(), np.zeros(960, np.int16))])


async def test_a_foreign_stream_is_refused(vad: SileroVad) -> None:
    class Other(VadStream):
        pass

    with pytest.raises(TypeError, match="Other"):
        vad.probabilities([(Other(), np.zeros(960, np.int16))])


@pytest.mark.parametrize("spec", [None, SimpleNamespace(submodule_search_locations=["/nowhere"])])
async def test_a_missing_model_names_the_cure(spec: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ProviderNotConfigured, match="offline"):
        await SileroVad("silero", ProviderOptions(), Limits()).start()


async def test_a_missing_runtime_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ProviderNotConfigured, match=r"mimi-mqtt\[offline\]"):
        await SileroVad("silero", ProviderOptions(), Limits()).start()
