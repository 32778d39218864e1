"""Takes the device's own speech out of its microphone: WebRTC's AEC3, aligned by downlink timestamps. Pure.

A device without echo cancellation labels each uplink frame with the timestamp of the downlink frame that it
was playing. So what was played is kept on a track by timestamp, and each microphone frame is shown the piece
of the track that its label names. A label is only true to a frame, and moves by one from reply to reply, or
within one: the echo is then searched for (`echo_alignment`), and what was played is shown as far ahead of it
as before.

AEC3 suppresses what it can't subtract, and with it a speaker who is no louder than the echo. So the echo path
is learnt here as well (`echo_path`), and once that is known AEC3 only sees what is left: the speaker comes
through.
"""

import importlib
import importlib.util
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_alignment import DIRECT, AlignmentSearch
from mimi_mqtt.audio.echo_path import BLOCK, MEMORY, EchoPath
from mimi_mqtt.errors import AudioError

_Floats: TypeAlias = NDArray[np.float32]

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
_MOST_SHIFT: Final = 400 * _PER_MS


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
        self._begin = 0  # of the reply on the track: before it nothing was played
        self._search: AlignmentSearch | None = None

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
        named = timestamp != 0
        timestamp = self._believed(timestamp, len(pcm) // _PER_MS)
        whole_blocks = not len(pcm) % BLOCK
        heard = _to_floats(pcm)
        if timestamp and whole_blocks:
            self._align(timestamp, heard)
        played = np.zeros(len(pcm), np.int16)
        if timestamp:
            played = self._read(self._place(timestamp), len(pcm))
        suppressed = self._of_all.clean(pcm, played)
        if not whole_blocks:  # frames of 10 ms: the path is learnt in twice that
            return Cleaned(suppressed, suppressed, not timestamp)
        learn = (named or not timestamp) and (self._search is None or not self._path.learnt)
        whole = self._subtract(heard, played, learn=learn)
        # Always, so that it knows what is left when that is asked for.
        quiet = self._of_rest.clean(whole, played)
        if self._path.known:
            return Cleaned(quiet, whole, sure=True)
        return Cleaned(suppressed, suppressed, not timestamp)

    def _place(self, timestamp: int) -> int:
        """Sample of the track that is shown as played under `timestamp`."""
        return (timestamp + LEAD_MS) * _PER_MS + self._path.shift

    def _believed(self, label: int, frame_ms: int) -> int:
        """The label of the frame that was playing: `label` may be a frame early or late, or missing."""
        off_ms = label - self._next
        if not off_ms:
            self._off = 0
        elif self._next and not label and self._off < _MOST_OFF:
            self._off += 1
            label = self._next
        elif (
            self._next and label and abs(off_ms) <= _NEAR_FRAMES * frame_ms and self._stays(off_ms, frame_ms)
        ):
            self._off += 1
            if self._off < _MOST_OFF:
                label = self._next
            else:  # the labels have moved, and the device hardly: stay where the echo path is true
                self._off = 0
                self._path.shift -= off_ms * _PER_MS
                self._search = AlignmentSearch() if self._path.learnt else None
        else:
            self._off = 0
            self._path.doubt()
            self._search = None
            if label:
                self._begin_reply(label)
        self._next = label + frame_ms if label else 0
        return label

    def _stays(self, off_ms: int, frame_ms: int) -> bool:
        """True when the device may play on as before, although its labels are off: those frames were sent."""
        sent = self._place(self._next + frame_ms) <= self._end
        return sent and abs(self._path.shift - off_ms * _PER_MS) <= _MOST_SHIFT

    def _begin_reply(self, label: int) -> None:
        """Begins a search for the echo of a reply whose first label is `label`."""
        if abs(self._path.shift) > _MOST_SHIFT:
            self._path.shift = 0
        self._search = AlignmentSearch()
        self._begin = label * _PER_MS
        self._path.recall(self._before(label))

    def _align(self, timestamp: int, heard: _Floats) -> None:
        """Searches for the echo, if a search is on, and moves the place on the track by what it found."""
        search = self._search
        if search is None:
            return
        path = self._path
        search.add(heard)
        begin = self._place(timestamp) + len(heard) - search.needed_before
        played = self._played_since(begin, search.needed)
        found = search.find(played, path.response() if path.learnt else None)
        if found is not None or search.over:
            self._search = None
        if found is None:
            return
        if path.learnt:
            path.shift += found.shift
            if found.sure:
                path.confirm()
        elif abs(found.shift) > DIRECT:
            path.begin_at(path.shift + found.shift)
        else:
            return
        if found.shift:
            path.recall(self._before(timestamp))

    def _before(self, timestamp: int) -> _Floats:
        """The played samples before `timestamp` that the echo path remembers."""
        return self._played_since(self._place(timestamp) - MEMORY - BLOCK, MEMORY + BLOCK)

    def _played_since(self, begin: int, count: int) -> _Floats:
        """The played samples of this reply from sample `begin` on; silence before it."""
        played = _to_floats(self._read(begin, count))
        played[: max(0, self._begin - begin)] = 0
        return played

    def _subtract(self, heard: _Floats, played: Pcm, *, learn: bool) -> Pcm:
        reference = _to_floats(played)
        left = np.empty(len(heard), np.float32)
        for at in range(0, len(heard), BLOCK):
            block = slice(at, at + BLOCK)
            left[block] = self._path.subtract(reference[block], heard[block], learn=learn)
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


def _to_floats(pcm: Pcm) -> _Floats:
    scaled: _Floats = np.float32(1 / _FULL_SCALE) * pcm.astype(np.float32)
    return scaled
