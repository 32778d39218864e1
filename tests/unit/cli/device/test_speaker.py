import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.cli.device.speaker import Speaker, is_audible

RATE = 24_000
FRAME = RATE * 60 // 1000


def frames(level: float, count: int) -> list[bytes]:
    encoder = OpusEncoder(RATE)
    wave = level * np.sin(2 * np.pi * 300 * np.arange(FRAME * count) / RATE)
    return [encoder.encode(part.astype(np.int16)) for part in wave.reshape(count, FRAME)]


def test_speech_is_audible_and_silence_is_not() -> None:
    assert is_audible(np.full(100, 500, np.int16))
    assert not is_audible(np.full(100, 50, np.int16))
    assert not is_audible(np.zeros(0, np.int16))


@pytest.mark.parametrize(("level", "audible"), [(8_000.0, True), (20.0, False)])
def test_what_is_played_is_measured(level: float, audible: bool) -> None:
    speaker = Speaker(RATE)
    for number, opus in enumerate(frames(level, 10)):
        speaker.play(opus, 5.0 + number * 0.06, number == 0)
    assert speaker.first_at == 5.0
    assert speaker.played_ms == 600
    assert speaker.pcm.size == RATE * 600 // 1000
    assert (speaker.audible_ms > 400) is audible


def test_frames_that_are_not_opus_are_counted_and_skipped() -> None:
    heard: list[Pcm] = []
    speaker = Speaker(RATE, heard.append)
    speaker.play(b"\xff\xff\xff", 0.0, True)
    assert (speaker.undecodable, speaker.played_ms, speaker.first_at, heard) == (1, 0, None, [])
    assert speaker.pcm.size == 0


def test_next_reply_is_measured_on_its_own() -> None:
    speaker = Speaker(RATE)
    speaker.play(frames(8_000, 1)[0], 1.0, True)
    speaker.reset()
    assert (speaker.played_ms, speaker.first_at, speaker.audible_ms) == (0, None, 0.0)
