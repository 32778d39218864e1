"""From the text-to-speech provider's samples to frames of a downlink: resample, cut, encode, off the loop.

One pool of threads and encoders serves all sessions; libopus and soxr release the GIL. An encoder is borrowed for one
reply and begins it without a past.
"""

import asyncio
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.providers.base import SpeechChunk
from mimi_mqtt.voice.events import AudioFormat

# What libopus holds back at most (its 6.5 ms look-ahead): a stream must go on for so long to be heard whole.
_LOOKAHEAD_S = 0.0065
# The first job of a reply is one frame, so that it can leave; the others are short enough to let others in between.
_FRAMES_PER_JOB = 8


class SpeechEncoders:
    """The shared pool. `bitrate` in bit/s, `complexity` 0 to 10, `threads` at work at once."""

    def __init__(self, bitrate: int, complexity: int, threads: int) -> None:
        self._bitrate = bitrate
        self._complexity = complexity
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="encode")
        self._spare: defaultdict[int, list[OpusEncoder]] = defaultdict(list)

    def open(self, downlink: AudioFormat) -> "ReplyEncoder":
        """An encoder for one reply; close it when the reply is over."""
        spare = self._spare[downlink.sample_rate]
        encoder = (
            spare.pop() if spare else OpusEncoder(downlink.sample_rate, self._bitrate, self._complexity)
        )
        encoder.reset()
        return ReplyEncoder(self, encoder, downlink)

    def give_back(self, encoder: OpusEncoder) -> None:
        """For `ReplyEncoder.close` alone."""
        self._spare[encoder.sample_rate].append(encoder)

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Where encoding runs."""
        return self._threads

    def close(self) -> None:
        """Ends the threads; jobs that have not begun are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
