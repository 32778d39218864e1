"""One utterance and its transcription: the audio is recorded, so that it can be transcribed again."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.errors import ProviderError, ProviderUnavailable
from mimi_mqtt.supervision import forget_cancellation


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of an utterance so far, or (`final`) of all of it. Empty text: no speech.

    `endpoint` with an interim one: the vendor's own endpointing holds the speaker to be done. `emotion` is
    how the speaker sounds, such as `angry`; empty where the recogniser doesn't tell, and for neutral.
    """

    text: str
    final: bool
    language: str | None = None
    confidence: float | None = None
    endpoint: bool = False
    emotion: str = ""


class Transcription(ABC):
    """The transcription of one utterance. Push audio as it comes; then `finish` and await the result."""

    @abstractmethod
    def push(self, pcm: Pcm) -> None:
        """Adds audio at the provider's sample rate; never blocks; audio past the bound is dropped."""

    @abstractmethod
    async def finish(self) -> Transcript:
        """Ends the audio; the final transcript. Raises ProviderError."""

    @property
    @abstractmethod
    def interim(self) -> str:
        """The latest partial text, for endpointing and display."""

    @property
    def endpoint(self) -> bool:
        """True when the vendor marks the end of the utterance; false again when the speaker goes on.

        Information only: the caller decides. Always false with vendors that don't judge it.
        """
        return False

    @abstractmethod
    async def aclose(self) -> None:
        """Cancels whatever is still running; safe after `finish`."""


class Recording:
    """The audio of one utterance: bounded, growing until `end`, and playable any number of times.

    Used on the event loop's thread only. Holds at most `max_s` seconds at `sample_rate` Hz.
    """

    def __init__(self, sample_rate: int, max_s: float) -> None:
        self.sample_rate = sample_rate
        self.ended_at: float | None = None
        self._chunks: list[Pcm] = []
        self._room = int(sample_rate * max_s)
        self._changed = asyncio.Event()
        self._at_end: list[Callable[[], None]] = []

    @property
    def empty(self) -> bool:
        """True when nothing has been recorded."""
        return not self._chunks

    @property
    def ended(self) -> bool:
        """True when all audio is there."""
        return self.ended_at is not None

    @property
    def seconds(self) -> float:
        """Length of what has been recorded, in seconds."""
        return sum(chunk.size for chunk in self._chunks) / self.sample_rate

    def push(self, pcm: Pcm) -> None:
        """Adds a copy of `pcm`; what does not fit, or comes after the end, is dropped."""
        kept = pcm[: self._room].copy()
        if kept.size == 0 or self.ended:
            return
        self._room -= kept.size
        self._chunks.append(kept)
        self._changed.set()

    def end(self) -> None:
        """No more audio comes. Idempotent."""
        if self.ended:
            return
        self.ended_at = time.perf_counter()
        self._changed.set()
        for callback in self._at_end:
            callback()

    def so_far(self) -> "Recording":
        """A recording of what is there by now, ended, which shares its audio with this one."""
        part = Recording(self.sample_rate, 0.0)
        part._chunks = self._chunks.copy()
        part.end()
        return part

    def play(self, sample_rate: int, *, whole: bool = False) -> AsyncIterator[Pcm]:
        """The audio from the beginning at `sample_rate` Hz, chunk by chunk as it comes; `whole`: in one piece
        once it has ended."""
        return _Playback(self, sample_rate, whole)

    async def chunk(self, index: int) -> Pcm:
        """The chunk at `index`, once it is there; empty past the end."""
        while index >= len(self._chunks):
            if self.ended:
                return np.zeros(0, np.int16)
            await self._change()
        return self._chunks[index]

    async def whole(self) -> Pcm:
        """The whole audio, once it has ended."""
        await self.until_ended()
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)

    async def until_ended(self) -> None:
        """Waits for the end of the audio."""
        while not self.ended:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    @asynccontextmanager
    async def bound(self, timeout_s: float) -> AsyncIterator[None]:
        """Bounds a wait for text: `timeout_s` counts only once the audio has ended, since speakers pause."""
        async with asyncio.timeout(timeout_s if self.ended else None) as deadline:
            clock = asyncio.get_running_loop().time

            def start() -> None:
                deadline.reschedule(clock() + timeout_s)

            self._at_end.append(start)
            try:
                yield
            finally:
                self._at_end.remove(start)


class _Playback(AsyncIterator[Pcm]):
    def __init__(self, recording: Recording, sample_rate: int, whole: bool) -> None:
        self._recording = recording
        self._resampler = (
            None if sample_rate == recording.sample_rate else Resampler(recording.sample_rate, sample_rate)
        )
        self._whole = whole
        self._next = 0
        self._over = False

    async def __anext__(self) -> Pcm:
        while not self._over:
            index, self._next = self._next, self._next + 1
            if self._whole:
                chunk, self._over = await self._recording.whole(), True
            else:
                chunk = await self._recording.chunk(index)
                self._over = chunk.size == 0
            if self._resampler is not None:
                chunk = self._resampler.process(chunk, last=self._over)
            if chunk.size:
                return chunk
        raise StopAsyncIteration


class TranscriptionWait:
    """Clock of a transcription: it runs from the end of the audio."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.bound = recording.bound

    def seconds_to(self, part: Transcript) -> float | None:
        """Only the final transcript counts as the first result."""
        if not part.final or self._recording.ended_at is None:
            return None
        return time.perf_counter() - self._recording.ended_at


class RecordedTranscription(Transcription):
    """A transcription by `listen`, which runs in a task from the first audio to the final text."""

    def __init__(
        self, name: str, recording: Recording, listen: Callable[[], AsyncGenerator[Transcript, None]]
    ) -> None:
        self._name = name
        self._recording: Final = recording
        self._listen = listen
        self._interim = ""
        self._endpoint = False
        self._result: Transcript | ProviderError | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def recording(self) -> Recording:
        """The audio pushed so far."""
        return self._recording

    @property
    def interim(self) -> str:
        """The latest partial text."""
        return self._interim

    @property
    def endpoint(self) -> bool:
        """The end mark of the vendor's latest transcript."""
        return self._endpoint

    def push(self, pcm: Pcm) -> None:
        """Adds audio; the first of it starts the transcription."""
        if self._closed:
            return
        self._recording.push(pcm)
        if self._task is None and not self._recording.empty:
            self._task = asyncio.create_task(self._run(), name=f"transcription by {self._name}")
            self._task.add_done_callback(forget_cancellation)

    async def finish(self) -> Transcript:
        """Ends the audio; the final transcript, at once when there was no audio. Raises ProviderError."""
        self._recording.end()
        if self._task is None:
            return Transcript("", final=True)
        # Waiting, not awaiting: when a turn is cancelled, `aclose` ends the task, and a closed task
        # must not look to another waiter as if that waiter itself was cancelled.
        await asyncio.wait([self._task])
        match self._result:
            case Transcript() as transcript:
                return transcript
            case ProviderError() as error:
                raise error
            case None:
                raise ProviderUnavailable(self._name, "the transcription was closed before its end")

    async def aclose(self) -> None:
        """Cancels the transcription unless it is done."""
        self._closed = True
        self._recording.end()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async with aclosing(self._listen()) as transcripts:
                async for transcript in transcripts:
                    self._interim, self._endpoint = transcript.text, transcript.endpoint
                    if transcript.final:
                        self._result = transcript
                        return
        except ProviderError as error:
            self._result = error
