"""Takes the device's own speech out of its microphone: WebRTC's AEC3, aligned by downlink timestamps. Pure.

A device without echo cancellation labels each uplink frame with the timestamp of the downlink frame that it
was playing. So what was played is kept on a track by timestamp, and each microphone frame is shown the piece
of the track that its label names; the rest of the delay, the device's buffers and the room, is found by AEC3
itself.
"""

import importlib
import importlib.util
from typing import Any, Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import AudioError

RATE: Final = 16_000
"""Hz of what was played and what was heard."""

TRACK_MS: Final = 4_000
"""How much of what was played is kept: more than a device may have in its queue."""

LEAD_MS: Final = 60
"""The canceller is shown so much earlier what is played: it can wait for an echo, but not look ahead, and a
label may be a frame late."""

_BLOCK: Final = RATE // 100  # what AEC3 takes at once: 10 ms
_PER_MS: Final = RATE // 1000


def available() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("aec_audio_processing") is not None


class EchoCanceller:
    """One device's. Not to be used by two threads at once; about 5 ms of processor time per second heard.

    Raises AudioError when the package is missing.
    """

    def __init__(self) -> None:
        try:
            package = importlib.import_module("aec_audio_processing")
        except ImportError as error:
            raise AudioError(f"echo can't be cancelled ({error}): pip install 'mimi-mqtt[aec]'") from error
        # AEC3's own residual suppressor stays; noise suppression and gain control would only add delay here.
        processor = package.AudioProcessor(
            enable_aec=True, enable_ns=False, enable_agc=False, enable_vad=False
        )
        processor.set_stream_format(RATE, 1)
        processor.set_reverse_stream_format(RATE, 1)
        self._processor: Any = processor
        self._track = np.zeros(TRACK_MS * _PER_MS, np.int16)
        self._end = 0  # of the track, in samples since timestamp 0

    def played(self, timestamp: int, pcm: Pcm) -> None:
        """The device was sent `pcm` (16 kHz) under `timestamp`, in ms; timestamps only grow."""
        begin = timestamp * _PER_MS
        gap = begin - self._end
        if gap < 0:
            return
        self._write(self._end, np.zeros(min(gap, len(self._track)), np.int16))
        self._write(begin, pcm)
        self._end = begin + len(pcm)

    def clean(self, pcm: Pcm, timestamp: int) -> Pcm:
        """`pcm` (16 kHz, whole blocks of 10 ms) without the echo of what was playing; 0: nothing was."""
        reference = self._read((timestamp + LEAD_MS) * _PER_MS, len(pcm)) if timestamp else None
        cleaned = np.empty(len(pcm), np.int16)
        silence = bytes(2 * _BLOCK)
        for at in range(0, len(pcm) - _BLOCK + 1, _BLOCK):
            block = slice(at, at + _BLOCK)
            self._processor.process_reverse_stream(
                reference[block].tobytes() if reference is not None else silence
            )
            self._processor.set_stream_delay(0)
            cleaned[block] = np.frombuffer(self._processor.process_stream(pcm[block].tobytes()), np.int16)
        rest = len(pcm) % _BLOCK
        if rest:
            cleaned[-rest:] = 0
        return cleaned

    def _write(self, begin: int, pcm: Pcm) -> None:
        size = len(self._track)
        pcm = pcm[-size:]
        at = begin % size
        first = min(len(pcm), size - at)
        self._track[at : at + first] = pcm[:first]
        self._track[: len(pcm) - first] = pcm[first:]

    def _read(self, begin: int, count: int) -> Pcm:
        """What was played from sample `begin` on; silence where nothing is known."""
        size = len(self._track)
        found = np.zeros(count, np.int16)
        oldest = max(0, self._end - size)
        begin_known, end_known = max(begin, oldest), min(begin + count, self._end)
        if begin_known < end_known:
            places = np.arange(begin_known, end_known) % size
            found[begin_known - begin : end_known - begin] = self._track[places]
        return found
