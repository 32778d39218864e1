"""Opus through libopus: decode, conceal, encode, and libopus' own verdict on a packet.

opuslib finds and loads the library; the calls are our own, into buffers each codec allocates once, because
that halves their cost. ctypes releases the GIL during every call, so codecs may run in threads, each in one
thread at a time.
"""

import ctypes
import ctypes.util
import importlib.util
import warnings
import weakref
from functools import cache
from pathlib import Path
from typing import Final, Literal

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import AudioError, StartupError

SAMPLE_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Rates libopus works at, in Hz."""

MAX_PACKET_BYTES: Final = 1_275
"""Largest packet we make: one Opus frame's limit (RFC 6716, 3.4 R2)."""

_MAX_PACKET_MS: Final = 120
_MAX_FRAMES: Final = 48
_STEREO_BIT: Final = 0x04  # of the TOC byte, RFC 6716 3.1

_CURE = (
    "libopus was not found: install it with `apt-get install libopus0`, or without root "
    "`pip install 'mimi-mqtt[libopus]'`"
)

Application = Literal["audio", "voip"]

# opus_defines.h; opuslib.constants repeats them, but importing that module imports all of opuslib.
_APPLICATIONS: Final[dict[Application, int]] = {"voip": 2048, "audio": 2049}
_SET_BITRATE: Final = 4002
_SET_COMPLEXITY: Final = 4010
_SET_DTX: Final = 4016
_RESET_STATE: Final = 4028

_Sizes = ctypes.c_int16 * _MAX_FRAMES


class _Libopus:
    """The functions used, typed, over the handle opuslib opened; its own prototypes stay as they are."""

    def __init__(self, handle: int) -> None:
        library = ctypes.CDLL(None, handle=handle)
        data, length, pointer = ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p
        status = ctypes.POINTER(ctypes.c_int)

        self.version = library.opus_get_version_string
        self.version.argtypes, self.version.restype = [], ctypes.c_char_p
        self.strerror = library.opus_strerror
        self.strerror.argtypes, self.strerror.restype = [ctypes.c_int], ctypes.c_char_p

        self.decoder_create = library.opus_decoder_create
        self.decoder_create.argtypes, self.decoder_create.restype = [length, ctypes.c_int, status], pointer
        self.decoder_destroy = library.opus_decoder_destroy
        self.decoder_destroy.argtypes, self.decoder_destroy.restype = [pointer], None
        self.decoder_ctl = library.opus_decoder_ctl
        self.decoder_ctl.argtypes, self.decoder_ctl.restype = [pointer, ctypes.c_int], ctypes.c_int
        self.decode = library.opus_decode
        self.decode.argtypes = [pointer, data, length, pointer, ctypes.c_int, ctypes.c_int]
        self.decode.restype = ctypes.c_int

        self.encoder_create = library.opus_encoder_create
        self.encoder_create.argtypes = [length, ctypes.c_int, ctypes.c_int, status]
        self.encoder_create.restype = pointer
        self.encoder_destroy = library.opus_encoder_destroy
        self.encoder_destroy.argtypes, self.encoder_destroy.restype = [pointer], None
        self.encoder_ctl = library.opus_encoder_ctl
        self.encoder_ctl.argtypes, self.encoder_ctl.restype = [pointer, ctypes.c_int], ctypes.c_int
        self.encode = library.opus_encode
        self.encode.argtypes = [pointer, pointer, ctypes.c_int, pointer, length]
        self.encode.restype = length

        self.parse = library.opus_packet_parse
        self.parse.argtypes = [data, length, pointer, pointer, pointer, pointer]
        self.parse.restype = ctypes.c_int
        self.samples_per_frame = library.opus_packet_get_samples_per_frame
        self.samples_per_frame.argtypes, self.samples_per_frame.restype = [data, length], ctypes.c_int
        self.packet_samples = library.opus_packet_get_nb_samples
        self.packet_samples.argtypes, self.packet_samples.restype = [data, length, length], ctypes.c_int

    def error(self, doing: str, code: int) -> AudioError:
        """The exception to raise for the error `code` of libopus."""
        return AudioError(f"libopus could not {doing}: {self.strerror(code).decode()}")


def _bundled_library() -> str | None:
    """The libopus inside the `av` wheel, found without importing it."""
    package = importlib.util.find_spec("av")
    if package is None or package.origin is None:
        return None
    site = Path(package.origin).parent.parent
    found = sorted(site.glob("av.libs/libopus*")) + sorted(site.glob("av/.dylibs/libopus*"))
    return str(found[0]) if found else None


@cache
def _library() -> _Libopus:
    location = ctypes.util.find_library("opus") or _bundled_library()
    if location is None:
        raise StartupError(_CURE)
    # opuslib asks find_library once, while it is imported: answer it with what was found above.
    find_library = ctypes.util.find_library
    ctypes.util.find_library = lambda name: location if name == "opus" else find_library(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # its sources compare with `is 0`
            import opuslib.api
    except OSError as error:
        raise StartupError(f"{location} can't be loaded ({error}). {_CURE}") from error
    finally:
        ctypes.util.find_library = find_library
    return _Libopus(opuslib.api.libopus._handle)


def libopus_version() -> str:
    """Its own name, such as `libopus 1.3.1`. Raises StartupError, with the cure, when there is none."""
    version: bytes = _library().version()
    return version.decode()


def _check_rate(sample_rate: int) -> None:
    if sample_rate not in SAMPLE_RATES:
        raise AudioError(f"Opus knows the sample rates {SAMPLE_RATES}, not {sample_rate}")


def packet_duration_samples(packet: bytes, sample_rate: int) -> int:
    """Number of samples at `sample_rate` (Hz) in the packet. Raises AudioError if it isn't Opus."""
    _check_rate(sample_rate)
    library = _library()
    samples: int = library.packet_samples(packet, len(packet), sample_rate)
    if samples < 0:
        raise library.error("read a packet", samples)
    return samples


class PacketCheck:
    """Asks libopus whether packets fit one stream: mono (with `stereo` also stereo), well-formed, exactly
    `frame_ms` long.

    Not for two threads at once. Raises AudioError for a rate Opus doesn't have.
    """

    __slots__ = ("_frame_samples", "_parse", "_samples_by_toc", "_sizes", "_sizes_address")

    def __init__(self, sample_rate: int, frame_ms: int, stereo: bool = False) -> None:
        _check_rate(sample_rate)
        library = _library()
        self._frame_samples = sample_rate * frame_ms // 1000
        self._parse = library.parse
        self._sizes = _Sizes()
        self._sizes_address = ctypes.addressof(self._sizes)
        self._samples_by_toc = _samples_by_toc(sample_rate, stereo)

    def __call__(self, packet: bytes) -> bool:
        """True if `packet` is such a packet."""
        if not packet:
            return False
        samples = self._samples_by_toc[packet[0]]
        if not samples or self._frame_samples % samples:
            return False
        frames: int = self._parse(packet, len(packet), None, None, self._sizes_address, None)
        return frames * samples == self._frame_samples


@cache
def _samples_by_toc(sample_rate: int, stereo: bool) -> tuple[int, ...]:
    """Samples in one frame for each TOC byte, as libopus says; 0 for stereo unless that is allowed."""
    library = _library()
    return tuple(
        0 if toc & _STEREO_BIT and not stereo else int(library.samples_per_frame(bytes((toc,)), sample_rate))
        for toc in range(256)
    )


def is_plausible(packet: bytes, sample_rate: int, frame_ms: int) -> bool:
    """True when libopus reads `packet` as mono and `frame_ms` long; `PacketCheck` is for many packets."""
    return PacketCheck(sample_rate, frame_ms)(packet)


class OpusDecoder:
    """Decodes one mono stream to `sample_rate` (Hz). Raises AudioError for a rate Opus doesn't have."""

    def __init__(self, sample_rate: int) -> None:
        _check_rate(sample_rate)
        self._library = library = _library()
        self.sample_rate = sample_rate
        self._capacity = sample_rate * _MAX_PACKET_MS // 1000
        self._samples = np.empty(self._capacity, np.int16)
        self._address = self._samples.ctypes.data
        status = ctypes.c_int()
        state: int | None = library.decoder_create(sample_rate, 1, ctypes.byref(status))
        if state is None:
            raise library.error("make a decoder", status.value)
        self._state = state
        weakref.finalize(self, library.decoder_destroy, state)

    def decode(self, packet: bytes) -> Pcm:
        """One packet's samples. Raises AudioError if libopus refuses it; the stream can go on."""
        if not packet:
            raise AudioError("an Opus packet has at least one byte")
        count: int = self._library.decode(self._state, packet, len(packet), self._address, self._capacity, 0)
        if count < 0:
            raise self._library.error("decode a packet", count)
        return self._samples[:count].copy()

    def conceal(self, samples: int) -> Pcm:
        """A guess for `samples` lost ones, a multiple of 2.5 ms and at most 120 ms; it fades to silence."""
        if not 0 < samples <= self._capacity:
            raise AudioError(f"up to {self._capacity} samples can be concealed at once, not {samples}")
        count: int = self._library.decode(self._state, None, 0, self._address, samples, 0)
        if count < 0:
            raise self._library.error("conceal a loss", count)
        return self._samples[:count].copy()

    def reset(self) -> None:
        """Forgets the past, as at the start of a stream."""
        self._library.decoder_ctl(self._state, _RESET_STATE)


class OpusEncoder:
    """Encodes one mono stream at `sample_rate` (Hz) and about `bitrate` (bit/s, variable).

    `complexity` 0 to 10 trades time for quality. `application` "audio" is the default: at complexity 5 and
    24 kb/s it codes speech with CELT, a third of the cost (98 against 329 µs a 60 ms frame) of
    "voip"'s hybrid mode, whose finer spectrum a small loudspeaker hardly shows. `dtx`: silence becomes
    packets of 1 or 2 bytes. Raises AudioError for values libopus refuses.
    """

    def __init__(
        self,
        sample_rate: int,
        bitrate: int = 24_000,
        complexity: int = 5,
        application: Application = "audio",
        *,
        dtx: bool = False,
    ) -> None:
        _check_rate(sample_rate)
        self._library = library = _library()
        self.sample_rate = sample_rate
        self._packet = ctypes.create_string_buffer(MAX_PACKET_BYTES)
        self._address = ctypes.addressof(self._packet)
        self._view = memoryview(self._packet).cast("B")
        status = ctypes.c_int()
        state: int | None = library.encoder_create(
            sample_rate, 1, _APPLICATIONS[application], ctypes.byref(status)
        )
        if state is None:
            raise library.error("make an encoder", status.value)
        self._state = state
        weakref.finalize(self, library.encoder_destroy, state)
        self._set("bit rate", _SET_BITRATE, bitrate)
        self._set("complexity", _SET_COMPLEXITY, complexity)
        if dtx:
            self._set("discontinuous transmission", _SET_DTX, 1)

    def _set(self, what: str, request: int, value: int) -> None:
        code: int = self._library.encoder_ctl(self._state, request, ctypes.c_int(value))
        if code < 0:
            raise self._library.error(f"set the {what} to {value}", code)

    def encode(self, pcm: Pcm) -> bytes:
        """One frame (2.5, 5, 10, 20, 40, 60 … 120 ms) as one packet. Raises AudioError for other lengths."""
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise AudioError(f"a frame is int16[n], not {pcm.dtype}{list(pcm.shape)}")
        frame = np.ascontiguousarray(pcm)
        size: int = self._library.encode(
            self._state, frame.ctypes.data, len(frame), self._address, MAX_PACKET_BYTES
        )
        if size < 0:
            raise self._library.error(f"encode {len(frame)} samples at {self.sample_rate} Hz", size)
        return bytes(self._view[:size])

    def reset(self) -> None:
        """Forgets the past, as at the start of a stream."""
        self._library.encoder_ctl(self._state, _RESET_STATE)
