"""Encoding of speech: a provider's samples to frames of a downlink, resampled and encoded off the loop.

One pool of threads and encoders serves all sessions; libopus and soxr release the GIL. An encoder is borrowed
for one reply and begins it without a past.
"""

import asyncio
import os
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Concatenate, Final, ParamSpec, TypeAlias

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.lru import Lru
from mimi_mqtt.voice.ports import AudioFormat

_LOOKAHEAD_MS: Final = 6.5
"""Delay of libopus at any rate: a stream must go on for so long to be heard whole."""
_FIRST_JOB_FRAMES: Final = 2
"""The first samples of a reply are encoded at once, so that they can leave (soxr keeps part of a frame)."""
_JOB_FRAMES: Final = 8
"""Frames of one job: longer ones would keep other sessions' frames waiting."""
_MAX_SPARE: Final = 64
"""Encoders of one rate that wait for another reply, about 20 kB each."""

MAX_KEPT_S: Final = 6.0
"""Longest beginning of a reply whose frames are kept, in seconds."""
_KEPT_BYTES: Final = 1 << 20

_NICENESS: Final = 5

P = ParamSpec("P")

Phrase: TypeAlias = Sequence[SpeechChunk]
"""All chunks of a phrase that the speech cache keeps; each names it."""

_NOTHING: Final[Pcm] = np.zeros(0, np.int16)


def _step_back() -> None:
    """Lets the loop's thread go first where cores are few: frames made are early, frames sent are on time."""
    if sys.platform == "linux":  # where priority is a thread's own
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


@dataclass(frozen=True, slots=True)
class KeptFrames:
    """The frames of a phrase in its place in a reply, and those that `ReplyEncoder.end` adds after it."""

    frames: Sequence[bytes]
    end: Sequence[bytes]

    @property
    def size(self) -> int:
        """Bytes of all frames."""
        return sum(map(len, self.frames)) + sum(map(len, self.end))


class SpeechEncoders:
    """Pool of encoders and threads. `bitrate` in bit/s, `complexity` 0 to 10, `threads` at work at once."""

    def __init__(self, bitrate: int, complexity: int, threads: int) -> None:
        self._bitrate = bitrate
        self._complexity = complexity
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="speech", initializer=_step_back)
        """Threads that encode."""
        self._spare: defaultdict[int, list[OpusEncoder]] = defaultdict(list)
        self._kept: Lru[KeptFrames] = Lru(_KEPT_BYTES, lambda kept: kept.size)
        self._encoding: dict[str, asyncio.Future[KeptFrames]] = {}

    async def kept(self, phrases: Sequence[Phrase], downlink: AudioFormat) -> KeptFrames:
        """The frames of the last of `phrases`, with which a reply begins: encoded once, however many devices
        are greeted at the same time. Raises AudioError for samples that are not mono int16."""
        names = " ".join(chunks[0].phrase for chunks in phrases)
        key = f"{downlink.sample_rate} {downlink.frame_ms} {names}"
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        encoding = self._encoding.get(key)
        if encoding is None:
            loop = asyncio.get_running_loop()
            encoding = loop.run_in_executor(self.threads, self._encode_phrases, phrases, downlink)
            self._encoding[key] = encoding
            encoding.add_done_callback(partial(self._phrases_encoded, key))
        return await asyncio.shield(encoding)  # who waits may be cancelled; the others still want it

    def _encode_phrases(self, phrases: Sequence[Phrase], downlink: AudioFormat) -> KeptFrames:
        opus = OpusEncoder(downlink.sample_rate, self._bitrate, self._complexity)
        return ReplyEncoder(self, opus, downlink).encode_phrases(phrases)

    def _phrases_encoded(self, key: str, encoding: asyncio.Future[KeptFrames]) -> None:
        del self._encoding[key]
        if not encoding.cancelled() and encoding.exception() is None:
            self._kept.keep(key, encoding.result())

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
        self._skipped: list[Phrase] = []  # with these the reply began, and the encoder has not seen them
        self._skipped_end: Sequence[bytes] = ()

    async def sentence(self, chunks: AsyncIterator[SpeechChunk]) -> AsyncGenerator[bytes, None]:
        """The frames of one sentence as its chunks come; the last one is filled up with silence.

        Raises what `chunks` raises, and AudioError for samples that are not mono int16.
        """
        first = await anext(chunks, None)
        if first is None:
            return
        if first.phrase and not self._begun:
            phrase = [first, *[chunk async for chunk in chunks]]
            if sum(map(_seconds, [*self._skipped, phrase])) <= MAX_KEPT_S:
                kept = await self._pool.kept([*self._skipped, phrase], self._downlink)
                self._skipped.append(phrase)
                self._skipped_end = kept.end
                for packet in kept.frames:
                    yield packet
                return
            first, chunks = phrase[0], _each(phrase[1:])
        await self._catch_up()
        async with aclosing(self._encoded(first, chunks)) as packets:
            async for packet in packets:
                yield packet

    async def _encoded(
        self, first: SpeechChunk, rest: AsyncIterator[SpeechChunk]
    ) -> AsyncGenerator[bytes, None]:
        resampler = self._resampler(first.sample_rate)
        frame = first.sample_rate * self._downlink.frame_ms // 1000
        chunk: SpeechChunk | None = first
        while chunk is not None:
            at = 0
            while at < len(chunk.pcm):
                size = frame * (_JOB_FRAMES if self._begun else _FIRST_JOB_FRAMES)
                for packet in await self._work(self._encode, resampler, chunk.pcm[at : at + size], False):
                    yield packet
                self._begun = True
                at += size
            chunk = await anext(rest, None)
        for packet in await self._work(self._encode, resampler, _NOTHING, True):
            yield packet

    async def _catch_up(self) -> None:
        """Has the encoder see the phrases whose kept frames were taken, as it goes on from them."""
        skipped, self._skipped = self._skipped, []
        for phrase in skipped:
            await self._work(self._encode, self._resampler(phrase[0].sample_rate), _samples(phrase), True)
            self._begun = True

    async def end(self) -> list[bytes]:
        """The frames that bring out what the encoder still holds back, after the last sentence."""
        if self._skipped:
            self._skipped = []
            return list(self._skipped_end)
        if self._held_back_ms <= 0:
            return []
        return await self._work(self._encode_end)

    def encode_phrases(self, phrases: Sequence[Phrase]) -> KeptFrames:
        """The frames of the last of `phrases`, which are the whole reply. Blocks: for a thread."""
        frames: Sequence[bytes] = ()
        opus = self._opus
        if opus is None:
            return KeptFrames((), ())
        for phrase in phrases:
            resampler = self._resampler(phrase[0].sample_rate)
            frames = self._encode(opus, resampler, _samples(phrase), True)
        return KeptFrames(frames, self._encode_end(opus) if self._held_back_ms > 0 else ())

    def close(self) -> None:
        """Gives the encoder back, unless a thread still works with it. Safe to call twice."""
        opus, self._opus = self._opus, None
        if opus is not None and not self._at_work:
            self._pool.give_back(opus)

    def _resampler(self, source_rate: int) -> Resampler:
        if source_rate not in self._resamplers:
            self._resamplers[source_rate] = Resampler(source_rate, self._downlink.sample_rate)
        return self._resamplers[source_rate]

    async def _work(
        self, job: Callable[Concatenate[OpusEncoder, P], list[bytes]], *args: P.args, **kwargs: P.kwargs
    ) -> list[bytes]:
        """Runs `job` with the encoder in a thread."""
        if self._opus is None:
            return []
        # Cleared by the thread: a cancelled wait leaves it set while the job is queued or running.
        self._at_work = True
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool.threads, partial(self._run, job, self._opus, *args, **kwargs)
        )

    def _run(
        self,
        job: Callable[Concatenate[OpusEncoder, P], list[bytes]],
        opus: OpusEncoder,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[bytes]:
        try:
            return job(opus, *args, **kwargs)
        finally:
            self._at_work = False

    def _encode(self, opus: OpusEncoder, resampler: Resampler, pcm: Pcm, last: bool) -> list[bytes]:
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

    def _encode_end(self, opus: OpusEncoder) -> list[bytes]:
        self._held_back_ms = 0.0
        return [opus.encode(np.zeros(self._downlink.frame_samples, np.int16))]


def _samples(phrase: Phrase) -> Pcm:
    return np.concatenate([chunk.pcm for chunk in phrase])


def _seconds(phrase: Phrase) -> float:
    return sum(len(chunk.pcm) for chunk in phrase) / phrase[0].sample_rate


async def _each(chunks: Sequence[SpeechChunk]) -> AsyncIterator[SpeechChunk]:
    for chunk in chunks:
        yield chunk
