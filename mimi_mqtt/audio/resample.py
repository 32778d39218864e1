"""Streaming sample-rate conversion (soxr), one object a stream."""

import numpy as np
import soxr

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import AudioError

_LOWEST_HZ = 4_000
_HIGHEST_HZ = 384_000


class Resampler:
    """Turns one stream of `source_rate` into `target_rate` (Hz). Raises AudioError for absurd rates.

    soxr looks ahead, so a chunk's tail comes with the next chunk; `last=True` brings out the rest and makes
    the object ready for another stream. Equal rates pass through untouched.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        for rate in (source_rate, target_rate):
            if not _LOWEST_HZ <= rate <= _HIGHEST_HZ:
                raise AudioError(f"sample rates go from {_LOWEST_HZ} to {_HIGHEST_HZ} Hz, {rate} does not")
        self.source_rate = source_rate
        self.target_rate = target_rate
        self._stream: soxr.ResampleStream | None = None
        if source_rate != target_rate:
            self._stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="int16", quality="HQ")

    def process(self, pcm: Pcm, last: bool = False) -> Pcm:
        """The next part of the converted stream; over a whole stream its length has the rates' ratio.

        Raises AudioError for anything but mono int16.
        """
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise AudioError(f"audio is int16[n], not {pcm.dtype}{list(pcm.shape)}")
        if self._stream is None:
            return pcm
        converted: Pcm = self._stream.resample_chunk(pcm, last=last)
        if last:
            self._stream.clear()
        return converted

    def reset(self) -> None:
        """Drops what is held back, for a new stream."""
        if self._stream is not None:
            self._stream.clear()
