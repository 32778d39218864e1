"""Noise, Opus and losses between a mouth and a recogniser."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mimi_mqtt.cli.bench._corpus import FRAME, RATE
from mimi_mqtt.cli.bench.voice.channel import CLEAN, CONDITIONS, LEAD_S, TAIL_S, Condition, through


@pytest.fixture(name="speech")
def _speech() -> NDArray[np.float64]:
    at = np.arange(2 * RATE) / RATE
    wave: NDArray[np.float64] = np.sin(2 * np.pi * 300 * at) * 8000 * np.sin(2 * np.pi * 3 * at) ** 2
    return wave


def _rms(samples: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(samples**2)))


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_the_same_seed_gives_the_same_audio_of_whole_frames(
    speech: NDArray[np.float64], condition: Condition
) -> None:
    pcm = through(speech, condition, 3)
    assert pcm.dtype == np.int16
    assert len(pcm) % FRAME == 0
    assert 0 <= len(pcm) / RATE - (LEAD_S + 2 + TAIL_S) < FRAME / RATE
    assert np.array_equal(pcm, through(speech, condition, 3))


@pytest.mark.parametrize(("snr_db", "level"), [(20.0, 300.0), (10.0, 949.0)])
def test_noise_has_its_level_where_nobody_speaks(
    speech: NDArray[np.float64], snr_db: float, level: float
) -> None:
    tail = through(speech, Condition("noisy", snr_db=snr_db), 3)[-int(0.3 * RATE) :].astype(np.float64)
    assert level / 2 < _rms(tail) < level * 1.5
    assert _rms(through(speech, CLEAN, 3)[-int(0.3 * RATE) :].astype(np.float64)) < 50


def test_lost_packets_are_concealed_and_take_no_time(speech: NDArray[np.float64]) -> None:
    clean = through(speech, CLEAN, 3)
    half = through(speech, Condition("half", loss_percent=50.0), 3)
    # Losses before the first packet are not concealed, and behind those at the end no packet comes.
    assert len(clean) - 6 * FRAME <= len(half) <= len(clean)
    assert _rms(half.astype(np.float64)) < _rms(clean.astype(np.float64))
