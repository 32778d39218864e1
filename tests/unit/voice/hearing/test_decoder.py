"""Decoding of a device's Opus, packet by packet, and the echo paths kept between sessions."""

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_canceller import Cleaned, EchoCanceller
from mimi_mqtt.audio.echo_path import EchoPath
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.voice.hearing.decoder import (
    HEARING_RATE,
    MAX_ECHO_PATHS,
    EchoPathCache,
    PlayedPacket,
    UplinkDecoder,
    UplinkPacket,
)

FRAME_MS = 60


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the canceller is told was playing, frame by frame."""
    told: list[int] = []

    def clean(self: EchoCanceller, pcm: Pcm, timestamp: int) -> Cleaned:
        told.append(timestamp)
        return Cleaned(pcm, pcm, sure=True)

    monkeypatch.setattr(EchoCanceller, "clean", clean)
    return told


def test_a_device_plays_on_while_its_frames_get_lost(labels: list[int]) -> None:
    decoder = UplinkDecoder(FRAME_MS)
    silence = OpusEncoder(HEARING_RATE).encode(np.zeros(960, np.int16))
    decoder.play([PlayedPacket(silence, 60)])
    for packet in (UplinkPacket(silence, 60), None, UplinkPacket(silence, 0), None):
        decoder.decode(packet)
    assert labels == [60, 60, 0, 0]


def test_who_plays_nothing_has_no_echo_to_cancel(labels: list[int]) -> None:
    decoder = UplinkDecoder(FRAME_MS)
    frame = decoder.decode(None)
    assert frame.quiet is frame.whole
    assert frame.lost
    assert labels == []


def test_an_echo_path_is_remembered_for_the_next_session_of_its_device() -> None:
    paths = EchoPathCache()
    path = paths.take("kitchen")
    assert paths.take("kitchen") is not path  # in use
    paths.keep("kitchen", path)
    assert paths.take("study") is not path
    assert paths.take("kitchen") is path


def test_a_device_without_a_name_is_forgotten() -> None:
    paths = EchoPathCache()
    path = paths.take("")
    paths.keep("", path)
    assert paths.take("") is not path


def test_the_echo_path_used_longest_ago_is_forgotten() -> None:
    paths, first, last = EchoPathCache(), EchoPath(), EchoPath()
    paths.keep("first", first)
    for number in range(MAX_ECHO_PATHS - 1):
        paths.keep(str(number), last)
    paths.keep("last", last)
    assert paths.take("last") is last
    assert paths.take("first") is not first
