"""Sound files and streams become mono Ogg Opus that devices play; what can't is told with the cure."""

import asyncio
import io
import struct
import sys
import wave
from collections.abc import AsyncGenerator, AsyncIterator

import av
import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import AudioError, OggError
from mimi_mqtt.voice.notices import sound as module
from mimi_mqtt.voice.notices.sound import NoticeSounds, played
from mimi_mqtt.wire.ogg import OggOpusReader
from tests.ogg import probe, read_by_libopusfile

RATE = 24_000


def tone(seconds: float, rate: int = RATE) -> Pcm:
    return (8_000 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate)).astype(np.int16)


def wav(seconds: float, channels: int = 1, rate: int = 22_050) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.repeat(tone(seconds, rate), channels).tobytes())
    return file.getvalue()


def encoded(container: str, codec: str, layout: str = "mono", seconds: float = 2.0) -> bytes:
    """A file as other programs make it."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000)
        stream.layout = layout
        channels = 2 if layout == "stereo" else 1
        samples = np.repeat(tone(seconds, 48_000), channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


@pytest.fixture
def sounds() -> NoticeSounds:
    return NoticeSounds(RATE)


FILES = {
    "wav": wav(2.0),
    "stereo wav of 44.1 kHz": wav(2.0, 2, 44_100),
    "mp3": encoded("mp3", "libmp3lame"),
    "flac": encoded("flac", "flac"),
    "opus": encoded("ogg", "libopus"),
    "stereo opus": encoded("ogg", "libopus", "stereo"),
    "m4a": encoded("mp4", "aac"),
}


def wav_of(frames: int, rate: int) -> bytes:
    """A file of 8-bit samples that says of itself to have any rate."""
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    data = b"data" + struct.pack("<I", frames) + b"\x10\xf0" * (frames // 2)
    return b"RIFF" + struct.pack("<I", 4 + len(head) + len(data)) + b"WAVE" + head + data


def in_one_frame(seconds: float, rate: int) -> bytes:
    """A film without pictures, whose sound is one block."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=rate, layout="mono")
        silence = np.zeros((1, int(seconds * rate)), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("kind", FILES)
async def test_a_sound_file_becomes_what_devices_play(sounds: NoticeSounds, kind: str) -> None:
    recording = await sounds.record(FILES[kind])
    assert recording.whole
    stream = recording.stream
    heard = read_by_libopusfile(stream)
    assert heard.channels == 1
    assert abs(heard.samples - 2 * 48_000) <= 4 * 2_880
    assert probe(stream).channels == 1
    recording.release()


async def test_mono_opus_is_passed_on_packet_by_packet(sounds: NoticeSounds) -> None:
    recording = await sounds.record(FILES["opus"])

    def packets(stream: bytes) -> list[bytes]:
        return OggOpusReader().feed(stream)

    assert packets(recording.stream) == packets(FILES["opus"])
    assert read_by_libopusfile(recording.stream) == read_by_libopusfile(FILES["opus"])


async def test_a_stream_is_heard_before_its_end(sounds: NoticeSounds) -> None:
    go_on = asyncio.Event()
    data = FILES["opus"]

    async def live() -> AsyncGenerator[bytes, None]:
        yield data[: len(data) // 2]
        await go_on.wait()
        yield data[len(data) // 2 :]

    recording = await sounds.record(live())
    assert not recording.over
    go_on.set()
    await recording.ended()
    assert recording.whole


async def test_a_stream_that_is_decoded_is_heard_before_its_end(sounds: NoticeSounds) -> None:
    go_on = asyncio.Event()
    data = encoded("mp3", "libmp3lame", seconds=20.0)

    async def live() -> AsyncGenerator[bytes, None]:
        yield data[:-2_000]
        await go_on.wait()
        yield data[-2_000:]

    recording = await sounds.record(live())
    assert not recording.over
    go_on.set()
    await recording.ended()
    assert recording.whole
    assert abs(recording.duration_ms - 20_000) < 200


async def test_a_recording_is_played_in_a_conversation_as_it_was(sounds: NoticeSounds) -> None:
    recording = await sounds.record(wav(2.0))
    chunks = [chunk async for chunk in played(recording, 16_000)]
    pcm = np.concatenate([chunk.pcm for chunk in chunks])
    assert {chunk.sample_rate for chunk in chunks} == {16_000}
    assert abs(len(pcm) - 32_000) < 2_000
    loudest = np.fft.rfft(pcm[8_000:24_000].astype(float))
    assert abs(np.argmax(np.abs(loudest)) - 440) <= 2


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no sound|decoded"),
        (b"this is a text and no sound at all, whatever its name may be" * 4, "decoded"),
        (wav(0.0), "no sound"),
        (FILES["opus"][:-50], "cut off|within"),
        (FILES["opus"][:3_000] + b"\0" + FILES["opus"][3_001:], "broken"),
        (b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n" * 4, "decoded"),
    ],
)
async def test_what_is_no_sound_is_refused_with_the_reason(
    sounds: NoticeSounds, data: bytes, complaint: str
) -> None:
    with pytest.raises((AudioError, OggError), match=complaint):
        await sounds.record(data)


async def test_without_pyav_the_extra_is_named(sounds: NoticeSounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"mimi-mqtt\[audio-files\]"):
        await sounds.record(FILES["mp3"])
    assert (await sounds.record(FILES["opus"])).whole


async def test_a_sound_is_bounded_in_bytes(sounds: NoticeSounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 10_000)
    with pytest.raises(AudioError, match="at most"):
        await sounds.record(wav(2.0))


async def test_a_file_with_its_index_at_the_end_is_played(sounds: NoticeSounds) -> None:
    data = encoded("ipod", "aac", seconds=20.0)
    assert data.index(b"moov") > 100_000, "more than FFmpeg reads ahead"
    recording = await sounds.record(data)
    assert abs(recording.duration_ms - 20_000) <= 120


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (wav_of(60_000, 1), "4000 to 384000 Hz"),
        (wav_of(60_000, 3_999), "4000 to 384000 Hz"),
        (in_one_frame(61.0, 8_000), "at most 60 s"),
        (wav_of(60_000, 0xFFFFFFFF), "decoded"),
    ],
)
async def test_a_small_file_does_not_become_a_sound_of_days(
    sounds: NoticeSounds, data: bytes, complaint: str
) -> None:
    with pytest.raises(AudioError, match=complaint):
        await sounds.record(data)


async def test_only_known_decoders_are_opened(sounds: NoticeSounds) -> None:
    with pytest.raises(AudioError, match="kind that is not known"):
        await sounds.record(encoded("matroska", "wavpack"))


async def test_a_stream_that_never_ends_is_given_up(
    sounds: NoticeSounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DECODED_WITHIN_S", 0.05)

    async def trickle() -> AsyncIterator[bytes]:
        for byte in wav(2.0):
            yield bytes([byte])
            await asyncio.sleep(0.005)

    with pytest.raises(AudioError, match="not decoded within"):
        await sounds.record(trickle())


@pytest.mark.virtual_time
async def test_a_stream_that_stops_coming_is_given_up(sounds: NoticeSounds) -> None:
    async def silent() -> AsyncIterator[bytes]:
        yield FILES["opus"][:50]
        await asyncio.Event().wait()

    with pytest.raises(AudioError, match="no sound came"):
        await sounds.record(silent())
