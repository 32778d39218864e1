"""The device's own speech is taken out of its microphone."""

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_canceller import RATE, Cleaned, EchoCanceller
from mimi_mqtt.audio.echo_path import EchoPath

FRAME_MS = 60
FRAME = RATE * FRAME_MS // 1000


def speech_like(seconds: int, seed: int) -> Pcm:
    noise = np.random.default_rng(seed).normal(0, 3000, seconds * RATE)
    loudness = 0.1 + np.abs(np.sin(np.arange(seconds * RATE) * (2 * np.pi * 1.7 / RATE)))
    speech: Pcm = np.clip(noise * loudness, -32768, 32767).astype(np.int16)
    return speech


def room(played: Pcm, delay_ms: int) -> Pcm:
    taps = np.zeros(RATE // 10)
    taps[0] = 0.4
    tail = np.arange(len(taps) - 40)
    taps[40:] = np.random.default_rng(3).normal(0, 0.04, len(tail)) * np.exp(-tail / 300)
    echo = np.convolve(played, taps)[: len(played)]
    return np.concatenate([np.zeros(delay_ms * RATE // 1000), echo])[: len(played)].astype(np.int16)


def converse(played: Pcm, heard: Pcm) -> Pcm:
    """Frame by frame, with three frames on their way to the device."""
    canceller = EchoCanceller()
    frames = len(played) // FRAME
    cleaned = []
    sent = 0
    for number in range(frames):
        while sent < min(frames, number + 4):
            canceller.played((sent + 1) * FRAME_MS, played[sent * FRAME : (sent + 1) * FRAME])
            sent += 1
        frame = heard[number * FRAME : (number + 1) * FRAME]
        cleaned.append(canceller.clean(frame, (number + 1) * FRAME_MS).quiet)
    return np.concatenate(cleaned)


def power_db(pcm: Pcm) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(np.float64) ** 2) + 1e-3))


@pytest.mark.parametrize("delay_ms", [0, 40, 150])
def test_echo_is_reduced_by_20_db_whatever_the_devices_delay(delay_ms: int) -> None:
    played = speech_like(4, 1)
    heard = room(played, delay_ms)
    cleaned = converse(played, heard)
    settled = slice(RATE, None)
    assert power_db(heard[settled]) - power_db(cleaned[settled]) >= 20


def test_a_speaker_is_still_heard_over_the_echo() -> None:
    played, speaker = speech_like(4, 1), speech_like(4, 2)
    speaker[: 2 * RATE] = 0
    alone = converse(played, room(played, 40) // 2)
    together = converse(played, room(played, 40) // 2 + speaker // 2)
    spoken = slice(int(2.5 * RATE), None)
    assert power_db(together[spoken]) > power_db(alone[spoken]) + 8


def test_what_was_never_played_is_left_as_it_is() -> None:
    canceller = EchoCanceller()
    speaker = speech_like(2, 2)
    cleaned = np.concatenate(
        [
            canceller.clean(speaker[at : at + FRAME], 0).quiet
            for at in range(0, len(speaker) - FRAME + 1, FRAME)
        ]
    )
    assert abs(power_db(cleaned[RATE:]) - power_db(speaker[RATE : len(cleaned)])) < 3


@pytest.mark.parametrize("timestamp", [1, 60, 59_940, 2**32 - 1])
def test_any_timestamp_is_taken(timestamp: int) -> None:
    canceller = EchoCanceller()
    canceller.played(60, np.ones(FRAME, np.int16))
    canceller.played(30, np.ones(FRAME, np.int16))  # never goes back
    canceller.played(60_000, np.ones(FRAME, np.int16))
    assert len(canceller.clean(np.zeros(FRAME, np.int16), timestamp).whole) == FRAME


def double_talk(labels: dict[int, int]) -> tuple[Pcm, Pcm]:
    """What a speaker says over ten seconds of echo, from the eighth on, and what comes through of it whole;
    `labels` are those that are not what was playing, by frame."""
    played, speaker = speech_like(10, 1), speech_like(10, 2) // 2
    speaker[: 8 * RATE] = 0
    heard = room(played, 40) + speaker
    canceller = EchoCanceller()
    whole = []
    for number in range(len(played) // FRAME):
        frame = slice(number * FRAME, (number + 1) * FRAME)
        canceller.played((number + 1) * FRAME_MS, played[frame])
        label = labels.get(number, max(1, number) * FRAME_MS)
        whole.append(canceller.clean(heard[frame], label).whole)
    return speaker, np.concatenate(whole)


@pytest.mark.parametrize("labels", [{}, {120: 119 * FRAME_MS - FRAME_MS, 140: 0}], ids=["right", "slipping"])
def test_a_speaker_comes_through_whole_once_the_room_is_known(labels: dict[int, int]) -> None:
    speaker, whole = double_talk(labels)
    spoken = slice(9 * RATE, len(whole))
    distortion = whole[spoken].astype(np.float64) - speaker[spoken]
    assert 20 * np.log10(np.std(speaker[spoken]) / np.std(distortion)) > 10


def test_an_echo_is_not_surely_gone_before_the_room_is_known() -> None:
    played = speech_like(6, 1)
    heard = room(played, 40)
    canceller = EchoCanceller()
    sure = [canceller.clean(heard[:FRAME], 0).sure]
    for number in range(len(played) // FRAME):
        frame = slice(number * FRAME, (number + 1) * FRAME)
        canceller.played((number + 1) * FRAME_MS, played[frame])
        sure.append(canceller.clean(heard[frame], max(1, number) * FRAME_MS).sure)
    assert (sure[0], sure[2], sure[-1]) == (True, False, True)


def test_frames_of_ten_ms_are_cleaned_too() -> None:
    canceller = EchoCanceller()
    canceller.played(60, np.ones(FRAME, np.int16))
    cleaned = canceller.clean(np.zeros(RATE // 100, np.int16), 60)
    assert len(cleaned.quiet) == len(cleaned.whole) == RATE // 100
    assert not cleaned.sure


def two_replies(early: int, late_from: int, path: EchoPath | None = None) -> tuple[Pcm, list[Cleaned]]:
    """Two replies in one room, the second from frame 140 on, labelled `early` frames early and from its frame
    `late_from` on a frame later; somebody speaks over it from its third second on."""
    played, speaker = speech_like(18, 1), speech_like(18, 2) // 2
    first, gap, sent = 130, 10, 0
    played[first * FRAME : (first + gap) * FRAME] = 0
    speaker[: (first + gap) * FRAME + 3 * RATE] = 0
    heard = room(played, 70) + speaker
    canceller = EchoCanceller(path)
    begin = first + gap
    stamps = {n: (n + 1 if n < first else n + 1 - gap) * FRAME_MS for n in range(len(played) // FRAME)}
    cleaned = []
    for number in stamps:
        ahead = number + 4 if number >= begin or number + 4 < first else first
        while sent < min(len(stamps), ahead):
            if not first <= sent < begin:
                canceller.played(stamps[sent], played[sent * FRAME : (sent + 1) * FRAME])
            sent += 1
        label = stamps[number] if number < first else 0
        if number >= begin and number != begin + late_from:
            label = stamps[number] + (early - (number > begin + late_from)) * FRAME_MS
        cleaned.append(canceller.clean(heard[number * FRAME : (number + 1) * FRAME], label))
    return speaker, cleaned


@pytest.mark.parametrize(
    ("early", "late_from"), [(0, -9), (1, -9), (-1, -9), (1, 30), (0, 30), (1, 60)],
    ids=["right", "early", "late", "early, then right", "right, then late", "moves while somebody speaks"],
)  # fmt: skip
def test_an_interruption_is_heard_although_the_devices_labels_move_by_a_frame(
    early: int, late_from: int
) -> None:
    speaker, cleaned = two_replies(early, late_from)
    spoken = slice(140 * FRAME + 3 * RATE, len(cleaned) * FRAME)
    assert all(frame.sure for frame in cleaned[190:])
    left = np.concatenate([frame.whole for frame in cleaned])[spoken].astype(np.float64) - speaker[spoken]
    assert 20 * np.log10(np.std(speaker[spoken]) / np.std(left)) > 10


def test_a_room_is_known_soon_in_the_next_session_although_its_labels_are_a_frame_early() -> None:
    path = EchoPath()
    two_replies(1, -9, path)
    path.restart()
    played = speech_like(2, 5)
    heard = room(played, 70)
    canceller = EchoCanceller(path)
    sure = []
    for number in range(len(played) // FRAME - 4):
        for sent in range(number + 3 if number else 0, number + 4):
            canceller.played((sent + 1) * FRAME_MS, played[sent * FRAME : (sent + 1) * FRAME])
        frame = slice(number * FRAME, (number + 1) * FRAME)
        sure.append(canceller.clean(heard[frame], (number + 2) * FRAME_MS).sure)
    assert all(sure[12:])
