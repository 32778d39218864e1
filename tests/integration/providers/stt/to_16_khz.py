"""Speech as a recogniser takes it."""

from collections.abc import Sequence

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.providers.contract.tts import SpeechChunk


def to_16_khz(chunks: Sequence[SpeechChunk]) -> Pcm:
    resampler = Resampler(chunks[0].sample_rate, 16_000)
    parts = [resampler.process(chunk.pcm, last=chunk is chunks[-1]) for chunk in chunks]
    return np.concatenate(parts)
