"""Takes the device's own speech out of its microphone: WebRTC's AEC3, aligned by downlink timestamps. Pure.

A device without echo cancellation labels each uplink frame with the timestamp of the downlink frame that it
was playing. So what was played is kept on a track by timestamp, and each microphone frame is shown the piece
of the track that its label names; the rest of the delay, the device's buffers and the room, is found by AEC3
itself.

AEC3 suppresses what it can't subtract, and with it a speaker who is no louder than the echo. So the echo path
is learnt here as well (`echo_path`), and once that is known AEC3 only sees what is left: the speaker comes
through.
"""

import importlib
import importlib.util
from typing import Any, Final, NamedTuple

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_path import BLOCK, EchoPath
from mimi_mqtt.errors import AudioError

RATE: Final = 16_000
"""Hz of what was played and what was heard."""

TRACK_MS: Final = 4_000
"""Played audio that is kept, in ms: more than a device may have in its queue."""

LEAD_MS: Final = 60
"""The canceller is shown so much earlier what is played: it can wait for an echo, but not look ahead, and a
label may be a frame late."""

_BLOCK: Final = RATE // 100  # what AEC3 takes at once: 10 ms
_FULL_SCALE: Final = 32768.0
_NEAR_FRAMES: Final = 2
_MOST_OFF: Final = 5  # frames in a row; more are no slip, but the device has moved on or waited
_PER_MS: Final = RATE // 1000


def available() -> bool:
    """True when the package is installed."""
    return importlib.util.find_spec("aec_audio_processing") is not None


class Cleaned(NamedTuple):
    """A microphone frame twice: `quiet` with hardly any echo, to find speech in; `whole` with a little more
    of it, and all of the speaker, to understand. `sure`: no echo there was can be taken for a speaker, since
    nothing plays or the room is known."""

    quiet: Pcm
    whole: Pcm
    sure: bool


class _Suppressor:
    """One AEC3."""

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

    def clean(self, pcm: Pcm, played: Pcm) -> Pcm:
        cleaned = np.zeros(len(pcm), np.int16)
        for at in range(0, len(pcm) - _BLOCK + 1, _BLOCK):
            block = slice(at, at + _BLOCK)
            self._processor.process_reverse_stream(played[block].tobytes())
            self._processor.set_stream_delay(0)
            cleaned[block] = np.frombuffer(self._processor.process_stream(pcm[block].tobytes()), np.int16)
        return cleaned


class EchoCanceller:
    """One device's, in a room that may be known from before. Not to be used by two threads at once; about
    15 ms of processor time per second heard.

    Raises AudioError when the package is missing.
    """

    def __init__(self, path: EchoPath | None = None) -> None:
        self._path = path or EchoPath()
        self._of_all, self._of_rest = _Suppressor(), _Suppressor()
        self._track = np.zeros(TRACK_MS * _PER_MS, np.int16)
        self._end = 0  # of the track, in samples since timestamp 0
        self._next = 0  # label, while the device plays on
        self._off = 0  # frames since a label was another

    def played(self, timestamp: int, pcm: Pcm) -> None:
        """The device was sent `pcm` (16 kHz) under `timestamp`, in ms; timestamps only grow."""
        begin = timestamp * _PER_MS
        gap = begin - self._end
        if gap < 0:
            return
        self._write(self._end, np.zeros(min(gap, len(self._track)), np.int16))
        self._write(begin, pcm)
        self._end = begin + len(pcm)

    def clean(self, pcm: Pcm, timestamp: int) -> Cleaned:
        """`pcm` (16 kHz, whole blocks of 10 ms) without the echo of what was playing; 0: nothing was."""
        timestamp = self._believed(timestamp, len(pcm) // _PER_MS)
        if timestamp:
            played = self._read((timestamp + LEAD_MS) * _PER_MS, len(pcm))
        else:
            played = np.zeros(len(pcm), np.int16)
        suppressed = self._of_all.clean(pcm, played)
        if len(pcm) % BLOCK:  # frames of 10 ms: the path is learnt in twice that
            return Cleaned(suppressed, suppressed, not timestamp)
        whole = self._subtract(pcm, played)
        # Always, so that it knows what is left when that is asked for.
        quiet = self._of_rest.clean(whole, played)
        if self._path.known:
            return Cleaned(quiet, whole, sure=True)
        return Cleaned(suppressed, suppressed, not timestamp)

    def _believed(self, label: int, frame_ms: int) -> int:
        """The label of the frame that was playing: `label` may be a frame early or late, or missing."""
        off_ms = abs(label - self._next)
        if off_ms:
            near = off_ms <= _NEAR_FRAMES * frame_ms or not label
            if self._next and near and self._off < _MOST_OFF:
                self._off += 1
                label = self._next
            else:
                self._path.doubt()
                self._off = 0
        else:
            self._off = 0
        self._next = label + frame_ms if label else 0
        return label

    def _subtract(self, pcm: Pcm, played: Pcm) -> Pcm:
        heard, reference = (np.float32(1 / _FULL_SCALE) * both.astype(np.float32) for both in (pcm, played))
        left = np.empty(len(pcm), np.float32)
        for at in range(0, len(pcm), BLOCK):
            block = slice(at, at + BLOCK)
            left[block] = self._path.subtract(reference[block], heard[block])
        subtracted: Pcm = np.clip(left * _FULL_SCALE, -32768, 32767).astype(np.int16)
        return subtracted

    def _write(self, begin: int, pcm: Pcm) -> None:
        size = len(self._track)
        pcm = pcm[-size:]
        at = begin % size
        first = min(len(pcm), size - at)
        self._track[at : at + first] = pcm[:first]
        self._track[: len(pcm) - first] = pcm[first:]

    def _read(self, begin: int, count: int) -> Pcm:
        """The played samples from sample `begin` on; silence where nothing is known."""
        size = len(self._track)
        found = np.zeros(count, np.int16)
        oldest = max(0, self._end - size)
        begin_known, end_known = max(begin, oldest), min(begin + count, self._end)
        if begin_known < end_known:
            places = np.arange(begin_known, end_known) % size
            found[begin_known - begin : end_known - begin] = self._track[places]
        return found
