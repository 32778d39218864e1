"""Samples from a vendor's bytes, which come in pieces of any length, raw or behind a WAV header. Pure."""

import numpy as np

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.tts import SpeechChunk

_MAX_HEADER_BYTES = 4096
_UNKNOWN_LENGTH = 0x7FFF_0000


class SampleReader:
    """Cuts a stream of bytes into samples, which may lie across pieces; reads a WAV header, if any."""

    def __init__(self, provider: str, sample_rate: int) -> None:
        self._provider = provider
        self._rate = sample_rate
        self._held = b""
        self._in_header = True
        self._left: int | None = None

    def feed(self, piece: bytes) -> SpeechChunk | None:
        """The samples that are whole now, if any. Raises ProviderBadAnswer for a WAV file of another kind."""
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
        """Whether the header, if any, is over."""
        if len(self._held) < 4:
            return False
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
