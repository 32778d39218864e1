"""MP3 to samples while it comes, by libavcodec from the wheel `av`; for vendors that make nothing else."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.provider import load_package
from mimi_mqtt.providers.contract.tts import SpeechChunk

if TYPE_CHECKING:
    from types import ModuleType


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
