"""Encoding of speech: a provider's samples to frames of a downlink, resampled and encoded off the loop.

One pool of threads and encoders serves all sessions; libopus and soxr release the GIL. An encoder is borrowed
for one reply and begins it without a past.
"""

import asyncio
import os
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.voice.ports import AudioFormat

_LOOKAHEAD_MS: Final = 6.5
"""Delay of libopus at any rate: a stream must go on for so long to be heard whole."""
_FIRST_JOB_FRAMES: Final = 2
"""The first samples of a reply are encoded at once, so that they can leave (soxr keeps part of a frame)."""
_JOB_FRAMES: Final = 8
"""Frames of one job: longer ones would keep other sessions' frames waiting."""
_MAX_SPARE: Final = 64
"""Encoders of one rate that wait for another reply, about 20 kB each."""

_NICENESS: Final = 5

_NOTHING: Final[Pcm] = np.zeros(0, np.int16)


def _step_back() -> None:
    """Lets the loop's thread go first where cores are few: frames made are early, frames sent are on time."""
    if sys.platform == "linux":  # where priority is a thread's own
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class SpeechEncoders:
    """Pool of encoders and threads. `bitrate` in bit/s, `complexity` 0 to 10, `threads` at work at once."""

    def __init__(self, bitrate: int, complexity: int, threads: int) -> None:
        self._bitrate = bitrate
        self._complexity = complexity
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="speech", initializer=_step_back)
        """Threads that encode."""
        self._spare: defaultdict[int, list[OpusEncoder]] = defaultdict(list)

    def open(self, downlink: AudioFormat) -> "ReplyEncoder":
        """An encoder for one reply; close it when the reply is over. Raises AudioError for an impossible
        rate."""
        spare = self._spare[downlink.sample_rate]
        rate = downlink.sample_rate
        opus = spare.pop() if spare else OpusEncoder(rate, self._bitrate, self._complexity)
        opus.reset()
        return ReplyEncoder(self, opus, downlink)

    def give_back(self, opus: OpusEncoder) -> None:
        """Takes an encoder that no thread uses any more; `ReplyEncoder.close` does."""
        spare = self._spare[opus.sample_rate]
        if len(spare) < _MAX_SPARE:
            spare.append(opus)

    def close(self) -> None:
        """Ends the threads; jobs that have not begun are dropped. Safe to call twice."""
        self.threads.shutdown(wait=False, cancel_futures=True)


class ReplyEncoder:
    """One reply's stream of frames, sentence by sentence."""

    def __init__(self, pool: SpeechEncoders, opus: OpusEncoder, downlink: AudioFormat) -> None:
        self._pool = pool
        self._opus: OpusEncoder | None = opus
        self._downlink = downlink
        self._resamplers: dict[int, Resampler] = {}
        self._rest = _NOTHING
        self._begun = False
        self._held_back_ms = 0.0  # of the last sentence, still inside the encoder
        self._at_work = False

    async def sentence(self, chunks: AsyncIterator[SpeechChunk]) -> AsyncGenerator[bytes, None]:
        """The frames of one sentence as its chunks come; the last one is filled up with silence.

        Raises what `chunks` raises, and AudioError for samples that are not mono int16.
        """
        resampler: Resampler | None = None
        async for chunk in chunks:
            resampler = self._resampler(chunk.sample_rate)
            frame = chunk.sample_rate * self._downlink.frame_ms // 1000
            at = 0
            while at < len(chunk.pcm):
                size = frame * (_JOB_FRAMES if self._begun else _FIRST_JOB_FRAMES)
                for packet in await self._work(resampler, chunk.pcm[at : at + size], last=False):
                    yield packet
                self._begun = True
                at += size
        if resampler is not None:
            for packet in await self._work(resampler, _NOTHING, last=True):
                yield packet

    async def end(self) -> list[bytes]:
        """The frames that bring out what the encoder still holds back, after the last sentence."""
        if self._held_back_ms <= 0:
            return []
        silence = np.zeros(self._downlink.frame_samples, np.int16)
        self._held_back_ms = 0.0
        return await self._work(
            Resampler(self._downlink.sample_rate, self._downlink.sample_rate), silence, True
        )

    def close(self) -> None:
        """Gives the encoder back, unless a thread still works with it. Safe to call twice."""
        opus, self._opus = self._opus, None
        if opus is not None and not self._at_work:
            self._pool.give_back(opus)

    def _resampler(self, source_rate: int) -> Resampler:
        if source_rate not in self._resamplers:
            self._resamplers[source_rate] = Resampler(source_rate, self._downlink.sample_rate)
        return self._resamplers[source_rate]

    async def _work(self, resampler: Resampler, pcm: Pcm, last: bool) -> list[bytes]:
        if self._opus is None:
            return []
        # Cleared by the thread: a cancelled wait leaves it set while the job is queued or running.
        self._at_work = True
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool.threads, self._encode, self._opus, resampler, pcm, last)

    def _encode(self, opus: OpusEncoder, resampler: Resampler, pcm: Pcm, last: bool) -> list[bytes]:
        try:
            samples = resampler.process(pcm, last=last)
            if len(self._rest):
                samples = np.concatenate((self._rest, samples))
            frame = self._downlink.frame_samples
            whole = len(samples) // frame * frame
            packets = [opus.encode(samples[at : at + frame]) for at in range(0, whole, frame)]
            rest = samples[whole:]
            if last:
                filling = (frame - len(rest)) % frame
                if len(rest):
                    packets.append(opus.encode(np.pad(rest, (0, filling))))
                self._held_back_ms = _LOOKAHEAD_MS - filling * 1000 / self._downlink.sample_rate
                rest = _NOTHING
            self._rest = rest.copy()
            return packets
        finally:
            self._at_work = False
