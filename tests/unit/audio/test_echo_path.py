"""The echo path is learnt, told from a speaker, and not believed where it is another."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mimi_mqtt.audio.echo_path import BLOCK, EchoPath

RATE = 16_000
Floats = NDArray[np.float32]


def sound(seconds: float, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE) // BLOCK * BLOCK).astype(np.float32)


def room(played: Floats, delay_ms: int, seed: int = 3) -> Floats:
    taps = np.random.default_rng(seed).normal(0, 0.1, 800) * np.exp(-np.arange(800) / 200)
    echo = np.convolve(played, taps)[: len(played)]
    delay = delay_ms * RATE // 1000
    return np.concatenate([np.zeros(delay), echo])[: len(played)].astype(np.float32)


def subtract(path: EchoPath, played: Floats, heard: Floats) -> Floats:
    blocks = range(0, len(played), BLOCK)
    return np.concatenate([path.subtract(played[at : at + BLOCK], heard[at : at + BLOCK]) for at in blocks])


def known(path: EchoPath) -> bool:
    return path.known


def gain_db(heard: Floats, left: Floats) -> float:
    return float(10 * np.log10(np.mean(heard**2) / np.mean(left**2)))


@pytest.mark.parametrize("delay_ms", [0, 60, 200])
def test_the_echo_is_learnt_whatever_its_delay(delay_ms: int) -> None:
    path, played = EchoPath(), sound(4, 1)
    heard = room(played, delay_ms)
    left = subtract(path, played, heard)
    assert gain_db(heard[2 * RATE :], left[2 * RATE :]) > 20
    assert known(path)


def test_a_speaker_comes_through_and_spoils_nothing() -> None:
    path, played = EchoPath(), sound(6, 1)
    echo = room(played, 60)
    speaker = sound(6, 2)
    speaker[: 3 * RATE] = 0
    speaker[4 * RATE :] = 0
    left = subtract(path, played, echo + speaker)
    spoken, after = slice(3 * RATE, 4 * RATE), slice(5 * RATE, None)
    assert gain_db(speaker[spoken], left[spoken] - speaker[spoken]) > 10
    assert gain_db(echo[after], left[after]) > 20
    assert known(path)


def test_what_was_never_played_is_left_as_it_is() -> None:
    path, speaker = EchoPath(), sound(1, 2)
    assert np.array_equal(subtract(path, np.zeros_like(speaker), speaker), speaker)
    assert not known(path)


def test_what_was_learnt_is_believed_again_once_it_has_proved_true() -> None:
    path, played = EchoPath(), sound(4, 1)
    subtract(path, played, room(played, 60))
    path.restart()
    assert not known(path)
    later = sound(1, 5)
    left = subtract(path, later, room(later, 60))
    assert known(path)
    assert gain_db(room(later, 60), left) > 20


def test_another_room_is_not_believed_and_learnt_anew() -> None:
    path, played = EchoPath(), sound(4, 1)
    subtract(path, played, room(played, 60))
    path.restart()
    later = sound(10, 5)
    heard = room(later, 150, seed=9)
    left = subtract(path, later[: RATE // 2], heard[: RATE // 2])
    assert not known(path)
    left = subtract(path, later[RATE // 2 :], heard[RATE // 2 :])
    assert known(path)
    assert gain_db(heard[-RATE:], left[-RATE:]) > 15


def test_a_device_that_is_carried_away_is_learnt_anew() -> None:
    path, played = EchoPath(), sound(14, 1)
    heard = np.concatenate([room(played[: 4 * RATE], 60), room(played[4 * RATE :], 150, seed=9)])
    left = subtract(path, played, heard)
    assert gain_db(heard[-RATE:], left[-RATE:]) > 15
    assert known(path)


def test_doubt_lasts_until_the_path_has_proved_true() -> None:
    path, played = EchoPath(), sound(6, 1)
    heard = room(played, 60)
    subtract(path, played[: 4 * RATE], heard[: 4 * RATE])
    path.doubt()
    assert not known(path)
    subtract(path, played[4 * RATE :], heard[4 * RATE :])
    assert known(path)
