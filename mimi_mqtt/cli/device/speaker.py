"""The simulated device's loudspeaker: decodes what is played and judges whether a person would hear it."""

from collections.abc import Callable
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusDecoder
from mimi_mqtt.errors import AudioError

AUDIBLE_RMS: Final = 200.0
"""About -44 dBFS: speech is louder, an idle line is not."""


def is_audible(pcm: Pcm) -> bool:
    """True when a frame is loud enough to be heard."""
    return pcm.size > 0 and float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) > AUDIBLE_RMS


class Speaker:
    """Plays one reply; `reset` before the next. `hear` is given every frame's samples."""

    def __init__(self, sample_rate: int, hear: Callable[[Pcm], None] | None = None) -> None:
        self.sample_rate = sample_rate
        self._decoder = OpusDecoder(sample_rate)
        self._hear = hear
        self.reset()

    def reset(self) -> None:
        """Forgets what was played."""
        self._frames: list[Pcm] = []
        self.first_at: float | None = None
        self.audible_ms = 0.0
        self.undecodable = 0

    @property
    def pcm(self) -> Pcm:
        """All that was played."""
        return np.concatenate(self._frames) if self._frames else np.zeros(0, np.int16)

    @property
    def played_ms(self) -> int:
        """Duration of everything played since `reset`, in ms."""
        return round(sum(frame.size for frame in self._frames) * 1000 / self.sample_rate)

    def play(self, opus: bytes, at: float, fresh: bool) -> None:
        """One frame, which begins to sound at `at` (s); `fresh` begins a new stream."""
        if fresh:
            self._decoder.reset()
        try:
            pcm = self._decoder.decode(opus)
        except AudioError:
            self.undecodable += 1
            return
        if self.first_at is None:
            self.first_at = at
        self._frames.append(pcm)
        if is_audible(pcm):
            self.audible_ms += pcm.size * 1000 / self.sample_rate
        if self._hear is not None:
            self._hear(pcm)
