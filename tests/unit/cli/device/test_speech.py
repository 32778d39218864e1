import wave
from pathlib import Path

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device.speech import cut_frames, read_wav, write_wav
from mimi_mqtt.errors import ConfigError


def tone(seconds: float, rate: int) -> Pcm:
    time = np.arange(round(seconds * rate)) / rate
    return (8_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)


def write(path: Path, raw: bytes, rate: int, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(channels)
        recording.setsampwidth(width)
        recording.setframerate(rate)
        recording.writeframes(raw)
    return path


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_recording_of_any_rate_keeps_its_length_and_level(tmp_path: Path, rate: int) -> None:
    pcm = read_wav(write(tmp_path / "a.wav", tone(1.0, rate).tobytes(), rate), 16_000)
    assert abs(pcm.size - 16_000) <= 16
    middle = pcm[4_000:12_000].astype(float)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(8_000 / np.sqrt(2), rel=0.02)


def test_stereo_is_mixed(tmp_path: Path) -> None:
    stereo = np.column_stack((np.full(160, 1_000, np.int16), np.full(160, 3_000, np.int16)))
    pcm = read_wav(write(tmp_path / "a.wav", stereo.tobytes(), 16_000, channels=2), 16_000)
    assert pcm.tolist() == [2_000] * 160


@pytest.mark.parametrize(("channels", "width"), [(1, 1), (1, 3), (3, 2)])
def test_other_formats_are_refused(tmp_path: Path, channels: int, width: int) -> None:
    path = write(tmp_path / "a.wav", bytes(600), 16_000, channels, width)
    with pytest.raises(ConfigError, match="16-bit"):
        read_wav(path, 16_000)


def test_files_without_sound_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.wav").write_bytes(b"RIFFjunk")
    for path in (tmp_path / "none.wav", tmp_path / "junk.wav", write(tmp_path / "empty.wav", b"", 16_000)):
        with pytest.raises(ConfigError):
            read_wav(path, 16_000)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(0.5, 24_000), 24_000)
    assert np.array_equal(read_wav(tmp_path / "a.wav", 24_000), tone(0.5, 24_000))
    with pytest.raises(ConfigError):
        write_wav(tmp_path / "no" / "a.wav", tone(0.5, 24_000), 24_000)


def test_frames_are_filled_with_silence() -> None:
    frames = cut_frames(np.arange(1, 6, dtype=np.int16), 4)
    assert [frame.tolist() for frame in frames] == [[1, 2, 3, 4], [5, 0, 0, 0]]
    assert cut_frames(np.zeros(0, np.int16), 4) == []
