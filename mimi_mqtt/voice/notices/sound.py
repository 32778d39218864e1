"""Sound of notices from files and streams: Ogg Opus as it is, everything else decoded by PyAV.

And the way back: a recording as samples, for a device that is in a conversation.
"""

import asyncio
import hashlib
import io
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from importlib import import_module
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusDecoder, OpusEncoder, packet_duration_samples
from mimi_mqtt.errors import AudioError
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.voice.notices.recording import MAX_RECORDING_S, Recording
from mimi_mqtt.wire.ogg import GRANULE_RATE, OggOpusReader, OpusPacket

MAX_FILE_BYTES: Final = 32 << 20
"""Largest file or stream that is read, in bytes: three minutes of WAV as a studio records it."""
WITHOUT_SOUND_S: Final = 10.0
"""Longest wait for the next bytes of a stream, in seconds."""
MAX_DECODING: Final = 4
"""Files and streams that are decoded at once; further ones wait."""
DECODED_WITHIN_S: Final = MAX_RECORDING_S + 60.0
"""Longest time from the first byte of a file or stream to its last frame, the wait for a thread included."""
RATES: Final = range(4_000, 384_001)
"""Sampling rates that are decoded, in Hz: a lower one would let a small file become a very long sound."""
MAX_FRAME_S: Final = 60
"""Longest sound in one frame of a decoder, in seconds: it is resampled as a whole."""

_FRAME_MS: Final = 60
_SHORTEST, _LONGEST = 240, 5_760  # of a packet that devices play, in samples at 48 kHz: 5 to 120 ms
_STEREO: Final = 0x04  # of an Opus packet's first byte (RFC 6716, 3.1)
_PIECE: Final = 65_536
_OGG: Final = b"OggS"
_OPUS: Final = b"OpusHead"
_FIRST_PAGE: Final = 64  # bytes, after which the kind of an Ogg stream is known
# Formats that name other files or addresses, such as playlists, are not among them.
_FORMATS: Final = "wav,w64,aiff,au,mp3,aac,flac,ogg,mov,matroska,asf,caf,amr"
# Of sound alone: otherwise FFmpeg opens decoders of pictures and films while it looks what is in a file.
_DECODERS: Final = (
    "aac,aac_latm,ac3,eac3,alac,flac,mp1,mp1float,mp2,mp2float,mp3,mp3float,opus,libopus,vorbis,libvorbis,"
    "wmav1,wmav2,wmapro,amrnb,amrwb,gsm,gsm_ms,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,pcm_alaw,pcm_mulaw,"
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,"
    "pcm_f64le,pcm_f64be"
)
_UNKNOWN: Final = "the sound can't be decoded: it is broken, or of a kind that is not known"
_EXTRA: Final = "this sound has to be decoded, which needs PyAV: pip install 'mimi-mqtt[audio-files]'"

_ANSWER_S: Final = 60.0
"""Longest time in which the loop answers a thread, in seconds."""

Sound = bytes | AsyncIterator[bytes]
_T = TypeVar("_T")


class NoticeSounds:
    """Makes recordings of files and streams, at `sample_rate` (Hz) and `bitrate` (bit/s)."""

    def __init__(self, sample_rate: int, bitrate: int = 32_000) -> None:
        self._rate = sample_rate
        self._bitrate = bitrate
        self._recorded: WeakValueDictionary[str, Recording] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(MAX_DECODING, thread_name_prefix="notice")

    def close(self) -> None:
        """Ends the threads. Safe to call twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def record(self, sound: Sound) -> Recording:
        """The recording of `sound`, held for the caller: `release` it. Returns when it can be heard.

        The same file is recorded once for all who have it played. Raises AudioError or OggError for what
        can't be played, with the cure where there is one.
        """
        recording = self._shared(sound)
        recording.hold()
        try:
            await recording.sounds()
            if isinstance(sound, bytes):
                await recording.ended()  # a mistake anywhere in a file is told to its sender
            if recording.failure is not None:
                raise recording.failure
            if recording.over and not recording.duration_ms:
                raise AudioError("there is no sound in it")
        except BaseException:
            recording.release()
            raise
        return recording

    def _shared(self, sound: Sound) -> Recording:
        key = hashlib.sha256(sound).hexdigest() if isinstance(sound, bytes) else ""
        recording = self._recorded.get(key) if key else None
        if recording is None or not recording.usable:
            recording = Recording()
            recording.make(self._make(recording, sound), "sound of a notice")
            if key:
                self._recorded[key] = recording
        return recording

    async def _make(self, recording: Recording, sound: Sound) -> None:
        pieces = _bounded(_in_pieces(sound) if isinstance(sound, bytes) else sound)
        head = b""
        async for piece in pieces:
            head += piece
            if len(head) >= _FIRST_PAGE:
                break
        if head.startswith(_OGG) and head[28:36] == _OPUS and head[37:38] == b"\x01":
            await _pass_on(recording, head, pieces)
        elif isinstance(sound, bytes):
            _check_size(len(sound))
            await self._decode(recording, _File(sound))
        else:
            await self._decode(recording, _Source(asyncio.get_running_loop(), head, pieces))

    async def _decode(self, recording: Recording, source: "_File | _Source") -> None:
        loop = asyncio.get_running_loop()
        ended = threading.Event()
        samples = _FRAME_MS * GRANULE_RATE // 1000

        async def add(packet: bytes) -> None:
            if not ended.is_set():
                recording.add([OpusPacket(packet, samples)])

        def work() -> None:
            encoder = OpusEncoder(self._rate, self._bitrate)
            for frame in _frames(source, self._rate):
                if ended.is_set():
                    return
                _on_loop(add(encoder.encode(frame)), loop)

        recording.begin(input_rate=self._rate)
        working = loop.run_in_executor(self._threads, work)
        try:
            async with asyncio.timeout(DECODED_WITHIN_S):
                await asyncio.shield(working)
        except TimeoutError:
            raise AudioError(f"the sound was not decoded within {DECODED_WITHIN_S:g} s") from None
        finally:
            ended.set()
            source.stop()
            if not working.done():
                working.add_done_callback(lambda done: done.cancelled() or done.exception())


def _on_loop(work: Coroutine[Any, Any, _T], loop: asyncio.AbstractEventLoop) -> _T:
    """Runs `work` on the loop from a thread. Raises what it raises, and TimeoutError where the loop ended
    meanwhile: the thread must end too."""
    try:
        return asyncio.run_coroutine_threadsafe(work, loop).result(_ANSWER_S)
    except RuntimeError:  # the loop is closed
        work.close()
        raise


async def _in_pieces(data: bytes) -> AsyncGenerator[bytes, None]:
    for at in range(0, len(data), _PIECE):
        yield data[at : at + _PIECE]


async def _bounded(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """`pieces`, of bounded size and none of them too late."""
    size = 0
    while True:
        try:
            async with asyncio.timeout(WITHOUT_SOUND_S):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise AudioError(f"no sound came for {WITHOUT_SOUND_S:g} s") from None
        if piece is None:
            return
        size += len(piece)
        _check_size(size)
        yield piece


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise AudioError(f"a sound has at most {MAX_FILE_BYTES >> 20} MiB")


async def _pass_on(recording: Recording, head: bytes, pieces: AsyncIterator[bytes]) -> None:
    """Writes the packets of a mono Ogg Opus stream into the recording as they are. Raises OggError,
    AudioError."""
    reader = OggOpusReader()
    lengths = _add(recording, reader, reader.feed(head))
    async for piece in pieces:
        lengths += _add(recording, reader, reader.feed(piece))
        await asyncio.sleep(0)
    reader.finish()
    if reader.head is not None and reader.opening is not None:
        granule, packets = reader.opening
        begin = max(0, granule - sum(lengths[:packets]))
        end = reader.granule - begin
        if sum(lengths[:-1]) <= end <= sum(lengths):
            recording.cut(end - reader.head.pre_skip)


def _add(recording: Recording, reader: OggOpusReader, packets: list[bytes]) -> list[int]:
    """The lengths of the packets, in samples."""
    if reader.head is not None and not recording.size:
        if reader.head.gain:
            raise AudioError(
                "the Opus stream wants its volume changed, which devices don't do: export it anew"
            )
        recording.begin(pre_skip=reader.head.pre_skip, input_rate=reader.head.input_rate)
    taken = []
    for packet in packets:
        samples = packet_duration_samples(packet, GRANULE_RATE) if packet else 0
        if not _SHORTEST <= samples <= _LONGEST or packet[0] & _STEREO:
            raise AudioError("devices play mono Opus in packets of 5 to 120 ms: export the sound so")
        taken.append(OpusPacket(packet, samples))
    if taken:
        recording.add(taken)
    return [packet.samples for packet in taken]


class _File(io.BytesIO):
    """A whole file for a thread. It can be read in any order: some kinds have their index at the end."""

    _ended = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Some bytes; none after `stop`."""
        return b"" if self._ended else super().read(size)

    def stop(self) -> None:
        """Nothing more is read."""
        self._ended = True


class _Source(io.RawIOBase):
    """Bytes that come on the loop, as a file for a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, head: bytes, pieces: AsyncIterator[bytes]) -> None:
        super().__init__()
        self._loop = loop
        self._rest = head
        self._pieces = pieces
        self._ended = False

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Some bytes; none at the end. Raises what the source raises."""
        if not self._rest and not self._ended:
            try:
                piece = _on_loop(self._next(), self._loop)
            except CancelledError:
                piece = None
            self._rest, self._ended = piece or b"", not piece
        size = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    async def _next(self) -> bytes | None:
        return None if self._ended else await anext(self._pieces, None)

    def stop(self) -> None:
        """Nothing more is read."""
        self._ended = True
        self._rest = b""


def _frames(source: _File | _Source, rate: int) -> Iterator[Pcm]:
    """Frames of 60 ms, mono at `rate`; the last is filled up with silence. Blocks. Raises AudioError."""
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise AudioError(_EXTRA) from error
    size = rate * _FRAME_MS // 1000
    waiting: list[Pcm] = []
    count = 0
    try:
        for pcm in _decoded(av, source, rate):
            waiting.append(pcm)
            count += len(pcm)
            if count < size:
                continue
            samples = np.concatenate(waiting)
            whole = count // size * size
            for at in range(0, whole, size):
                yield samples[at : at + size]
            waiting, count = [samples[whole:]], count - whole
    except (av.FFmpegError, ValueError) as error:  # ValueError: its rate or channels change on the way
        raise AudioError(_UNKNOWN) from error
    if count:
        samples = np.concatenate(waiting)
        yield np.pad(samples, (0, size - count))


def _decoded(av: Any, source: _File | _Source, rate: int) -> Iterator[Pcm]:
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "", "codec_whitelist": _DECODERS}
    with av.open(source, mode="r", options=options) as container:
        if not container.streams.audio:
            raise AudioError("there is no sound in it")
        stream = container.streams.audio[0]
        if stream.codec_context.name not in _DECODERS.split(","):
            raise AudioError(_UNKNOWN)
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        for frame in container.decode(stream):
            if frame.sample_rate not in RATES:
                raise AudioError(f"a sound has {RATES[0]} to {RATES[-1]} Hz, not {frame.sample_rate}")
            if frame.samples > MAX_FRAME_S * frame.sample_rate:
                raise AudioError(f"a frame of a sound has at most {MAX_FRAME_S} s: export it anew")
            for resampled in resampler.resample(frame):
                yield resampled.to_ndarray()[0]
        for resampled in resampler.resample(None):
            yield resampled.to_ndarray()[0]


async def played(recording: Recording, sample_rate: int) -> AsyncGenerator[SpeechChunk, None]:
    """The recording as samples at `sample_rate` (Hz), as text to speech yields them. Raises AudioError."""
    reader, decoder = OggOpusReader(), OpusDecoder(sample_rate)
    skip: int | None = None
    async for page in recording.read():
        packets = reader.feed(page.data)
        if not packets or reader.head is None:
            continue
        if skip is None:
            skip = reader.head.pre_skip * sample_rate // GRANULE_RATE
        pcm = await asyncio.to_thread(_decode_all, decoder, packets)
        skipped = min(skip, len(pcm))
        skip -= skipped
        if skipped < len(pcm):
            yield SpeechChunk(pcm[skipped:], sample_rate)


def _decode_all(decoder: OpusDecoder, packets: list[bytes]) -> Pcm:
    return np.concatenate([decoder.decode(packet) for packet in packets])
