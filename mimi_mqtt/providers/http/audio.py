"""Audio as vendors take and send it: PCM bytes, WAV, MP3, and one POST that is answered with audio."""

import io
import re
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from pydantic import SecretStr

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.provider import load_package
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.http.client import HttpClient
from mimi_mqtt.providers.http.errors import http_errors, readable, status_error
from mimi_mqtt.providers.runtime.resilience import Limits

if TYPE_CHECKING:
    from types import ModuleType

_MAX_HEADER_BYTES = 4096
_UNKNOWN_LENGTH = 0x7FFF_0000
_MAX_COMPLAINT_BYTES = 16_384
_PARAMETER = re.compile(r";\s*(rate|channels)\s*=\s*\"?([^;\s\"]+)", re.IGNORECASE)
_OTHER_FORMATS = {b"ID3": "MP3", b"OggS": "Ogg", b"fLaC": "FLAC"}
"""First bytes of files that some servers send whatever they are asked for; as samples they would be noise."""


# ── to the vendor ────────────────────────────────────────────────────────────────────────────────────────


def as_bytes(pcm: Pcm) -> bytes:
    """16-bit little-endian samples."""
    return pcm.astype("<i2", copy=False).tobytes()


async def byte_chunks(audio: AsyncIterator[Pcm]) -> AsyncGenerator[bytes, None]:
    """`audio` as 16-bit little-endian samples, chunk by chunk."""
    async for pcm in audio:
        yield as_bytes(pcm)


async def blocks(audio: AsyncIterator[Pcm], samples: int) -> AsyncGenerator[bytes, None]:
    """`audio` as 16-bit little-endian samples, `samples` at a time; the last may be fewer."""
    size, waiting = 2 * samples, bytearray()
    async for pcm in audio:
        waiting += as_bytes(pcm)
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)


def wav_file(pcm: Pcm, sample_rate: int) -> bytes:
    """The samples as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes(as_bytes(pcm))
    return file.getvalue()


# ── from the vendor ──────────────────────────────────────────────────────────────────────────────────────


class SampleReader:
    """Cuts a stream of bytes into samples, which may lie across pieces; reads a WAV header, if any."""

    def __init__(self, provider: str, sample_rate: int) -> None:
        self._provider = provider
        self._rate = sample_rate
        self._held = b""
        self._in_header = True
        self._left: int | None = None

    def feed(self, piece: bytes) -> SpeechChunk | None:
        """The samples that are whole now, if any. Raises ProviderBadAnswer for a file of another kind."""
        self._held += piece
        if self._in_header and not self._read_header():
            return None
        if self._left is not None:
            self._held = self._held[: self._left]
        whole = len(self._held) & ~1
        if not whole:
            return None
        if self._left is not None:
            self._left -= whole
        pcm = np.frombuffer(self._held[:whole], "<i2").astype(np.int16, copy=False)
        self._held = self._held[whole:]
        return SpeechChunk(pcm, self._rate)

    def finish(self) -> None:
        """Raises ProviderBadAnswer when the audio ended within its header."""
        if self._in_header and self._held:
            raise ProviderBadAnswer(self._provider, "the audio ended within its header")

    def _read_header(self) -> bool:
        """True when the header, if any, is over."""
        if len(self._held) < 4:
            return False
        for magic, name in _OTHER_FORMATS.items():
            if self._held.startswith(magic):
                raise ProviderBadAnswer(self._provider, f"sent {name} instead of samples or a WAV file")
        if not self._held.startswith(b"RIFF"):
            self._in_header = False
            return True
        position = 12
        while position + 8 <= len(self._held):
            kind, size = self._held[position : position + 4], self._held[position + 4 : position + 8]
            body = position + 8
            length = int.from_bytes(size, "little")
            if kind == b"data":
                self._held = self._held[body:]
                self._in_header = False
                # Servers that make speech while they send it don't know its length, and say 0 or a lot.
                self._left = length if 0 < length < _UNKNOWN_LENGTH else None
                return True
            if kind == b"fmt " and body + 16 <= len(self._held):
                self._read_format(self._held[body : body + 16])
            position = body + length + length % 2
        if len(self._held) > _MAX_HEADER_BYTES:
            raise ProviderBadAnswer(self._provider, "the WAV header does not end")
        return False

    def _read_format(self, fields: bytes) -> None:
        channels = int.from_bytes(fields[2:4], "little")
        self._rate = int.from_bytes(fields[4:8], "little")
        bits = int.from_bytes(fields[14:16], "little")
        if channels != 1 or bits != 16 or not 8_000 <= self._rate <= 48_000:
            raise ProviderBadAnswer(
                self._provider, f"sent {bits}-bit audio with {channels} channels at {self._rate} Hz"
            )


def told_rate(provider: str, headers: Mapping[str, str], otherwise: int) -> int:
    """The rate of raw samples, in Hz, that an answer's headers tell: `X-Sample-Rate`, or the parameter of
    `Content-Type: audio/L16; rate=22050` (RFC 2586). Raises ProviderBadAnswer for an impossible one, and for
    more than one channel.
    """
    parameters = {name.lower(): value for name, value in _PARAMETER.findall(headers.get("content-type", ""))}
    if (channels := parameters.get("channels", "1")) != "1":
        raise ProviderBadAnswer(provider, f"sent audio with {channels[:20]} channels: one can be played")
    told = headers.get("x-sample-rate") or parameters.get("rate")
    if not told:
        return otherwise
    rate = int(told) if told.strip().isdecimal() and len(told) < 8 else 0
    if not 8_000 <= rate <= 48_000:
        raise ProviderBadAnswer(provider, f"sent audio at {told[:20]} Hz: 8000 to 48000 can be played")
    return rate


async def speech_from(
    provider: str, sample_rate: int, pieces: AsyncIterator[bytes]
) -> AsyncGenerator[SpeechChunk, None]:
    """The samples in `pieces`, raw of `sample_rate` Hz or a WAV file's. Raises ProviderBadAnswer."""
    samples = SampleReader(provider, sample_rate)
    async for piece in pieces:
        if (chunk := samples.feed(piece)) is not None:
            yield chunk
    samples.finish()


def load_av(provider: str, extra: str) -> "ModuleType":
    """The package. Raises ProviderNotConfigured; blocks, so call it from a thread."""
    return load_package("av", provider, extra)


class Mp3Decoder:
    """One mono stream of MP3 (ISO/IEC 13818-3), fed in pieces of any length.

    A frame (24 ms at 24 kHz) comes out when the next one has begun. Raises ProviderBadAnswer.
    """

    def __init__(self, provider: str, av: "ModuleType") -> None:
        self._provider = provider
        self._broken: type[Exception] = av.FFmpegError
        self._codec: Any = av.CodecContext.create("mp3", "r")
        self._rate: int | None = None

    def feed(self, piece: bytes) -> list[SpeechChunk]:
        """The speech that is whole now."""
        return self._decoded(piece) if piece else []  # nothing would mean the end to the parser

    def finish(self) -> list[SpeechChunk]:
        """The rest. Raises ProviderBadAnswer when nothing was MP3."""
        chunks = self._decoded(None)
        if self._rate is None:
            raise ProviderBadAnswer(self._provider, "the audio is not MP3")
        return chunks

    def _decoded(self, piece: bytes | None) -> list[SpeechChunk]:
        try:
            frames = [
                frame for packet in self._codec.parse(piece or b"") for frame in self._codec.decode(packet)
            ]
            if piece is None:
                frames += self._codec.decode(None)
        except self._broken as error:
            raise ProviderBadAnswer(self._provider, "the audio is broken MP3") from error
        return [self._chunk(frame) for frame in frames]

    def _chunk(self, frame: Any) -> SpeechChunk:
        samples = frame.to_ndarray()  # float32[channels, n], as FFmpeg's decoder makes it
        self._rate = self._rate or frame.sample_rate
        if samples.shape[0] != 1 or frame.sample_rate != self._rate:
            raise ProviderBadAnswer(self._provider, f"sent MP3 with {samples.shape[0]} channels")
        pcm = np.clip(np.round(samples[0] * 32_768.0), -32_768, 32_767).astype(np.int16)
        return SpeechChunk(pcm, self._rate)


class HttpAudio(HttpClient):
    """A vendor's HTTP client. `cures` has the cure for an HTTP status."""

    def __init__(
        self, name: str, limits: Limits, secrets: Sequence[SecretStr | None], cures: Mapping[int, str]
    ) -> None:
        super().__init__(limits)
        self._name = name
        self._secrets = secrets
        self._cures = cures

    async def speech(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        sample_rate: int,
        query: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[SpeechChunk, None]:
        """The samples (raw, of `sample_rate` Hz, or a WAV file's) that `url` answers with.

        Raises ProviderError kinds.
        """
        client = await self.get()
        async with (
            http_errors(self._name, self._limits, httpx.URL(url).host),
            client.stream("POST", url, headers=headers, content=body, params=query) as answer,
        ):
            await self._check(answer)
            rate = told_rate(self._name, answer.headers, sample_rate)
            async for chunk in speech_from(self._name, rate, answer.aiter_bytes()):
                yield chunk

    async def _check(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            complaint = b""
            async for piece in answer.aiter_bytes():
                complaint += piece
                if len(complaint) >= _MAX_COMPLAINT_BYTES:
                    break
            message = readable(complaint, self._secrets)
            raise status_error(self._name, answer.status_code, message, answer.headers, self._cures)
        kind = answer.headers.get("content-type", "")
        if kind.startswith(("text/", "application/json")):
            raise ProviderBadAnswer(self._name, f"answered {kind} instead of audio")
