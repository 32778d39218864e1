"""The echo is found where the device's labels have moved, and nothing is found where there is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mimi_mqtt.audio.echo_alignment import DIRECT, REACH, Alignment, AlignmentSearch
from mimi_mqtt.audio.echo_path import MEMORY

FRAME = 960
Floats = NDArray[np.float32]


def sound(samples: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def response(delay: int) -> Floats:
    taps = np.zeros(MEMORY, np.float32)
    tail = np.random.default_rng(3).normal(0, 0.1, 800) * np.exp(-np.arange(800) / 200)
    taps[delay : delay + 800] = tail
    taps[delay] = 1.0
    return taps


def search(heard: Floats, played: Floats, known: Floats | None) -> Alignment | None:
    """Frame by frame; `heard` is what is heard while `played` is shown to be played."""
    tried = AlignmentSearch()
    padded = np.concatenate([np.zeros(MEMORY + REACH, np.float32), played, np.zeros(REACH, np.float32)])
    found = None
    for at in range(0, len(heard), FRAME):
        tried.add(heard[at : at + FRAME])
        end = MEMORY + REACH + at + FRAME
        begin = end - tried.needed_before
        found = tried.find(padded[begin : begin + tried.needed], known)
        if found is not None or tried.over:
            break
    return found


def echo(played: Floats, known: Floats, late: int) -> Floats:
    made = np.convolve(played, known)[: len(played)]
    if late < 0:
        return np.concatenate([made[-late:], np.zeros(-late)]).astype(np.float32)
    return np.concatenate([np.zeros(late), made])[: len(played)].astype(np.float32)


@pytest.mark.parametrize("late", [0, 960, -960, 413, -1_700, REACH])
def test_an_echo_is_found_to_the_sample_in_a_known_room(late: int) -> None:
    played, known = sound(6 * FRAME, 1), response(500)
    assert search(echo(played, known, late), played, known) == Alignment(-late, sure=True)


def test_an_echo_is_found_under_a_speaker() -> None:
    played, known = sound(6 * FRAME, 1), response(500)
    heard = echo(played, known, 960) + 0.7 * sound(len(played), 2)
    assert search(heard, played, known) == Alignment(-960, sure=False)


@pytest.mark.parametrize("heard", [sound(20 * FRAME, 2), np.zeros(20 * FRAME, np.float32)])
@pytest.mark.parametrize("known", [response(500), None])
def test_nothing_is_found_where_there_is_no_echo(heard: Floats, known: Floats | None) -> None:
    assert search(heard, sound(20 * FRAME, 1), known) is None


@pytest.mark.parametrize("delay", [450, 1_000, 2_300])
def test_the_direct_sound_of_an_unknown_room_comes_early_in_its_memory(delay: int) -> None:
    played = sound(6 * FRAME, 1)
    found = search(echo(played, response(delay), 0), played, None)
    assert found == Alignment(DIRECT - delay, sure=False)


def test_a_search_ends() -> None:
    tried = AlignmentSearch()
    frames = 0
    while not tried.over:
        tried.add(sound(FRAME, frames))
        tried.find(np.zeros(tried.needed, np.float32), None)
        frames += 1
    assert frames == 16
