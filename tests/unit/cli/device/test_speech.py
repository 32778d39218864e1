import wave
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.device import speech
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


# ── a real microphone ────────────────────────────────────────────────────────────────────────────────────


class PortAudioError(Exception):
    pass


class Stream:
    """A sound card's stream; the test is the sound card."""

    open_streams: ClassVar[list["Stream"]] = []

    def __init__(self, *, callback: Callable[..., None], samplerate: int, **_: object) -> None:
        self.callback = callback
        self.samplerate = samplerate

    def start(self) -> None:
        self.open_streams.append(self)

    def close(self) -> None:
        self.open_streams.remove(self)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class Busy(Stream):
    def __init__(self, **_: object) -> None:
        raise PortAudioError("device busy")


def install(monkeypatch: pytest.MonkeyPatch, stream: type[Stream] | None) -> None:
    def import_module(name: str) -> SimpleNamespace:
        assert name == "sounddevice"
        if stream is None:
            raise OSError("PortAudio library not found")
        return SimpleNamespace(InputStream=stream, OutputStream=stream, PortAudioError=PortAudioError)

    monkeypatch.setattr(speech, "import_module", import_module)


async def test_microphone_drops_frames_when_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, Stream)
    async with speech.microphone(16_000, 4) as frames:
        (stream,) = Stream.open_streams
        for number in range(1_000):
            stream.callback(np.full((4, 1), number, np.int16), 4, None, None)
        assert (await frames.get()).tolist() == [0] * 4
        assert frames.qsize() < 1_000
    assert Stream.open_streams == []


async def test_loudspeaker_plays_what_it_has_and_silence_after(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Stream)
    loudspeaker = speech.Loudspeaker()
    loudspeaker.open(24_000)
    loudspeaker.open(24_000)
    (stream,) = Stream.open_streams
    assert stream.samplerate == 24_000
    loudspeaker.play(np.arange(1, 4, dtype=np.int16))
    loudspeaker.play(np.arange(4, 6, dtype=np.int16))
    out = np.full((4, 1), 9, np.int16)
    stream.callback(out, 4, None, None)
    assert out[:, 0].tolist() == [1, 2, 3, 4]
    stream.callback(out, 4, None, None)
    assert out[:, 0].tolist() == [5, 0, 0, 0]
    loudspeaker.close()
    loudspeaker.close()
    assert Stream.open_streams == []


@pytest.mark.parametrize(("stream", "word"), [(None, "libportaudio2"), (Busy, "device busy")])
async def test_machine_without_sound_is_told_the_cure(
    monkeypatch: pytest.MonkeyPatch, stream: type[Stream] | None, word: str
) -> None:
    install(monkeypatch, stream)
    with pytest.raises(ConfigError, match=word):
        async with speech.microphone(16_000, 4):
            pass
    with pytest.raises(ConfigError, match=word):
        speech.Loudspeaker().open(24_000)


# ── synthesised ──────────────────────────────────────────────────────────────────────────────────────────


async def test_text_is_spoken_at_the_rate_asked_for() -> None:
    spoken = await speech.synthesise("hello there", 16_000, "en", "offline")
    assert 0.4 < spoken.size / 16_000 < 3
    assert np.abs(spoken.astype(np.int32)).max() > 2_000


async def test_text_without_a_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to say"):
        await speech.synthesise("...", 16_000, "en", "offline")


def test_auto_speaks_with_no_service_that_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELEVENLABS_API_KEY", "not-a-key")
    service = "{base_url: 'http://127.0.0.1:9/v1', api_key: not-a-key}"
    (tmp_path / "broker.yaml").write_text(f"providers: {{options: {{openai: {service}}}}}\n")
    voice = speech._voice("auto", "en")
    assert voice.name.endswith("offline")
    assert not {"openai", "elevenlabs"} & set(voice.name.split("+"))
