"""The contract of voice activity detectors."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.provider import Provider


class VadStream:
    """One speaker's detector state; opaque to everyone but its detector."""


class VoiceActivityDetector(Provider):
    """Tells speech from everything else; one instance serves all sessions, in batches."""

    role = "vad"
    sample_rate: ClassVar[int] = 16_000

    @abstractmethod
    def open(self) -> VadStream:
        """A fresh state for one speaker."""

    @abstractmethod
    def probabilities(self, batch: Sequence[tuple[VadStream, Pcm]]) -> list[float]:
        """For each (stream, 16 kHz chunk of any length) its highest speech probability, 0 to 1.

        Blocking; called from the audio threads, never twice at once with the same stream; releases the GIL.
        A chunk that completes no analysis window repeats the stream's last value.
        """

    async def check(self) -> str:
        """Judges half a second of silence."""
        silence = np.zeros(self.sample_rate // 2, np.int16)
        (probability,) = await asyncio.to_thread(self.probabilities, [(self.open(), silence)])
        if not 0.0 <= probability <= 1.0:
            raise ProviderBadAnswer(self.name, f"the speech probability of silence is {probability}")
        return f"speech probability of silence: {probability:.2f}"
