"""Sources of the simulated device's microphone: synthesised speech, a recording, or a real microphone."""

import asyncio
import os
import wave
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.config import load_settings
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.models.catalog import catalog
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.local_models import provider_name
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions

_MIC_QUEUE_FRAMES = 100


async def synthesise(text: str, sample_rate: int, language: str, voice: str) -> Pcm:
    """`text` spoken at `sample_rate` by `voice`: a text-to-speech provider, a model of the catalogue, or
    `auto`, what this machine has for the language. Raises ProviderError or ConfigError.
    """
    tts = _voice(voice, language)
    await tts.start()
    try:
        parts: list[Pcm] = []
        resampler: Resampler | None = None
        async with aclosing(tts.speak(text, VoiceOptions(language=language))) as chunks:
            async for chunk in chunks:
                resampler = resampler or Resampler(chunk.sample_rate, sample_rate)
                parts.append(resampler.process(chunk.pcm))
        if resampler is None:
            raise ConfigError(f"there is nothing to say in {text!r}")
        parts.append(resampler.process(np.zeros(0, np.int16), last=True))
        return np.concatenate(parts)
    finally:
        await tts.aclose()


def _voice(name: str, language: str) -> TextToSpeech:
    given = load_settings(None, os.environ).providers
    model = catalog().get(name)
    environ: Mapping[str, str] = os.environ
    if name == registry.AUTO:
        # Services with a key or an address, of the environment or of broker.yaml, are left out: a simulated
        # device costs nothing.
        environ, given = {}, given.model_copy(update={"options": {}})
    asked = provider_name(model) if model is not None and model.role == "tts" else name
    names = registry.resolve("tts", given.model_copy(update={"tts": (asked,)}), environ, "--voice", language)
    return registry.build("tts", given.model_copy(update={"tts": names}), environ)


def read_wav(path: Path, sample_rate: int) -> Pcm:
    """A 16-bit mono or stereo recording of any rate, at `sample_rate`, mono. Raises ConfigError."""
    try:
        with wave.open(str(path), "rb") as recording:
            channels, width, rate, count, *_ = recording.getparams()
            raw = recording.readframes(count)
    except (OSError, EOFError, wave.Error) as error:
        raise ConfigError(f"--wav: {path} can't be read: {error}") from error
    if width != 2 or channels not in (1, 2):
        raise ConfigError(f"--wav: {path} must be 16-bit mono or stereo, not {width * 8}-bit with {channels}")
    samples = np.frombuffer(raw[: len(raw) // (2 * channels) * 2 * channels], "<i2")
    mono = samples.reshape(-1, channels).astype(np.int32).sum(axis=1) // channels
    if mono.size == 0:
        raise ConfigError(f"--wav: {path} holds no sound")
    return Resampler(rate, sample_rate).process(mono.astype(np.int16), last=True)


def write_wav(path: Path, pcm: Pcm, sample_rate: int) -> None:
    """Writes a mono recording. Raises ConfigError when the file can't be written."""
    try:
        with path.open("wb") as file, wave.open(file, "wb") as recording:
            recording.setnchannels(1)
            recording.setsampwidth(2)
            recording.setframerate(sample_rate)
            recording.writeframes(pcm.astype("<i2").tobytes())
    except OSError as error:
        raise ConfigError(f"--save: {path} can't be written: {error}") from error


def cut_frames(pcm: Pcm, frame_samples: int) -> list[Pcm]:
    """`pcm` in frames of `frame_samples`, the last one filled with silence."""
    padded = np.zeros(-(-pcm.size // frame_samples) * frame_samples, np.int16)
    padded[: pcm.size] = pcm
    return list(padded.reshape(-1, frame_samples))


def _sounddevice() -> ModuleType:
    try:
        return import_module("sounddevice")
    except (ImportError, OSError) as error:  # OSError: the package is there, PortAudio is not
        raise ConfigError(
            f"sound of this machine needs sounddevice and PortAudio ({error}): "
            "pip install 'mimi-mqtt[mic]' and apt-get install libportaudio2"
        ) from error


@asynccontextmanager
async def microphone(sample_rate: int, frame_samples: int) -> AsyncIterator["asyncio.Queue[Pcm]"]:
    """Frames of this machine's microphone as they come. Raises ConfigError where there is none."""
    sounddevice = _sounddevice()
    loop = asyncio.get_running_loop()
    frames: asyncio.Queue[Pcm] = asyncio.Queue(_MIC_QUEUE_FRAMES)

    def put(frame: Pcm) -> None:
        if not frames.full():
            frames.put_nowait(frame)

    def on_audio(data: Pcm, *_: object) -> None:
        loop.call_soon_threadsafe(put, data[:, 0].copy())

    try:
        stream = sounddevice.InputStream(
            samplerate=sample_rate, blocksize=frame_samples, channels=1, dtype="int16", callback=on_audio
        )
    except sounddevice.PortAudioError as error:
        raise ConfigError(f"--mic: the microphone can't be opened: {error}") from error
    with stream:
        yield frames


class Loudspeaker:
    """This machine's loudspeaker, so that a person at the microphone hears the answer."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Pcm] = SimpleQueue()
        self._rest = np.zeros(0, np.int16)
        self._close: Callable[[], None] | None = None

    def open(self, sample_rate: int) -> None:
        """Begins to play what `play` is given; does nothing the second time. Raises ConfigError."""
        if self._close is not None:
            return
        sounddevice = _sounddevice()
        try:
            stream = sounddevice.OutputStream(
                samplerate=sample_rate, channels=1, dtype="int16", callback=self._on_room
            )
            stream.start()
        except sounddevice.PortAudioError as error:
            raise ConfigError(f"the loudspeaker can't be opened: {error}") from error
        self._close = stream.close

    def play(self, pcm: Pcm) -> None:
        """Queues samples; returns at once."""
        self._waiting.put(pcm)

    def close(self) -> None:
        """Falls silent."""
        if self._close is not None:
            self._close()
            self._close = None

    def _on_room(self, out: Pcm, count: int, *_: object) -> None:
        # PortAudio's thread.
        while self._rest.size < count and not self._waiting.empty():
            self._rest = np.concatenate((self._rest, self._waiting.get()))
        taken = self._rest[:count]
        self._rest = self._rest[count:]
        out[: taken.size, 0] = taken
        out[taken.size :, 0] = 0
