"""Output of one turn: held while a reply is preemptive, closed when the turn is over, shared with fillers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mimi_mqtt.voice.ports import Output


@dataclass(slots=True)
class _Filler:
    """`count` frames that are no part of the reply, after `at` of its own."""

    at: int
    count: int = 0


@dataclass(slots=True)
class _Speech:
    """State shared by the outputs of one turn: frames handed to play-out, and fillers among them."""

    frames: int = 0
    fillers: list[_Filler] = field(default_factory=list)
    filler_over: asyncio.Event | None = None  # while a filler is handed over, the reply waits
    heard_until: float = 0.0

    @property
    def filler_frames(self) -> int:
        return sum(filler.count for filler in self.fillers)


class TurnOutput:
    """An `Output` for one turn; what is called after `close` is dropped.

    `on_speech` is called at `tts start`. `held`: nothing reaches the device before `release`, and frames wait
    for it. `frame_ms` is the length of a frame.
    """

    def __init__(
        self, output: Output, on_speech: Callable[[], None], frame_ms: int, *, held: bool = False
    ) -> None:
        self._output = output
        self._on_speech = on_speech
        self._frame_s = frame_ms / 1000
        self._sent = 0
        self._speech = _Speech()
        self._loop = asyncio.get_running_loop()
        self._released = asyncio.Event()
        if not held:
            self._released.set()
        self._kept: list[Callable[[], None]] = []
        self._wants_speech = False
        self.begun = False
        """True when the device was put into the speaking state."""
        self.finished = False
        """True when the device was taken out of the speaking state."""
        self.complete = False
        """True when all of the reply was handed over."""
        self.closed = False
        """True when the turn is over."""

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────

    def show_transcript(self, text: str) -> None:
        """Shows the user's words."""
        self._do(lambda: self._output.show_transcript(text))

    def show_emotion(self, emotion: str, emoji: str = "") -> None:
        """Shows a face."""
        self._do(lambda: self._output.show_emotion(emotion, emoji))

    def show_alert(self, status: str, message: str, emotion: str = "sad") -> None:
        """Shows an alert."""
        self._do(lambda: self._output.show_alert(status, message, emotion))

    def end_session(self, reason: str) -> None:
        """Ends the session."""
        self._do(lambda: self._output.end_session(reason))

    def begin_speech(self) -> None:
        """Sends `tts start`, once."""
        if not self._wants_speech:
            self._wants_speech = True
            self._do(self._begin)

    def _begin(self) -> None:
        self.begun = True
        self._output.begin_speech()
        self._on_speech()

    def _do(self, call: Callable[[], None]) -> None:
        if self.closed:
            return
        if self._released.is_set():
            call()
        else:
            self._kept.append(call)

    # ── speech ───────────────────────────────────────────────────────────────────────────────────────────

    async def play_sentence(self, text: str) -> None:
        """Queues a sentence mark; waits while the output is held, or a filler is handed over."""
        await self._until_free()
        if not self.closed:
            await self._output.play_sentence(text)

    async def play(self, opus: bytes) -> None:
        """Queues a frame; waits while the queue is full, the output is held, or a filler is handed over."""
        await self._until_free()
        await self._play(opus)

    async def _until_free(self) -> None:
        if not self._released.is_set():
            await self._released.wait()
        while (filler_over := self._speech.filler_over) is not None:
            await filler_over.wait()

    async def _play(self, opus: bytes) -> None:
        if not self.closed:
            speech = self._speech
            speech.frames += 1
            speech.heard_until = max(speech.heard_until, self._loop.time()) + self._frame_s
            await self._output.play(opus)

    @asynccontextmanager
    async def filler(
        self, text: str, emotion: str, emoji: str
    ) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        """Begins to say `text`, which is no part of the reply: yields the function that plays its frames.

        The reply and other fillers wait until its end.
        """
        speech = self._speech
        while speech.filler_over is not None:
            await speech.filler_over.wait()
        filler_over = speech.filler_over = asyncio.Event()
        try:
            filler = _Filler(speech.frames - speech.filler_frames)
            speech.fillers.append(filler)
            self.show_emotion(emotion, emoji)
            self.begin_speech()
            if not self.closed:
                await self._output.play_sentence(text)

            async def play(opus: bytes) -> None:
                filler.count += 1
                await self._play(opus)

            yield play
        finally:
            speech.filler_over = None
            filler_over.set()

    async def finish_speech(self) -> None:
        """Waits until everything was played and `tts stop` sent."""
        await self._released.wait()
        self.complete = True
        if not self.closed and self.begun and not self.finished:
            await self._output.finish_speech()
            self.finished = True

    def stop_speech(self) -> None:
        """Sends `tts stop` now, if it is needed."""
        if not self.closed and self.begun and not self.finished:
            self.finished = True
            self._output.stop_speech()

    def pause_speech(self) -> None:
        """Pauses play-out; speech that has not begun does not begin."""
        if self.begun:
            if not self.closed and not self.finished:
                self._output.pause_speech()
        elif not self.closed:
            self._released.clear()

    def resume_speech(self) -> None:
        """Continues after `pause_speech` with the next frame."""
        self.release()
        if self.begun and not self.closed and not self.finished:
            self._output.resume_speech()

    # ── what was heard ───────────────────────────────────────────────────────────────────────────────────

    @property
    def replied(self) -> bool:
        """True when frames of the reply were handed to play-out, and not only fillers."""
        return self._speech.frames > self._speech.filler_frames

    @property
    def heard_until(self) -> float:
        """End of all that was handed to play-out, pauses apart (loop time, s)."""
        return self._speech.heard_until

    @property
    def sounding(self) -> bool:
        """True when some of what was handed to play-out has not left."""
        return self.frames_sent < self._speech.frames

    @property
    def frames_sent(self) -> int:
        """Frames of this turn that have left, fillers included."""
        if self.begun and not self.closed:
            self._sent = self._output.frames_played
        return self._sent

    @property
    def frames_played(self) -> int:
        """Frames of the reply that have left."""
        rest = sent = self.frames_sent
        before = 0
        for filler in self._speech.fillers:
            heard = min(max(sent - filler.at - before, 0), filler.count)
            before += filler.count
            rest -= heard
        return rest

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────

    def release(self) -> None:
        """Lets out what was held, and all that follows; no effect when nothing is held."""
        if not self._released.is_set():
            self._released.set()
            kept, self._kept = self._kept, []
            for call in kept:
                call()

    def follow(self, other: "TurnOutput") -> None:
        """Continues for `other`, which plays nothing any more."""
        self._speech = other._speech
        self._kept, other._kept = other._kept + self._kept, []
        if other.begun:
            self.begun = self._wants_speech = True

    def close(self) -> None:
        """Ends the turn's output: takes the device out of the speaking state, drops whatever still comes, and
        lets go of `on_speech`."""
        _ = self.frames_sent  # the session's count will soon be another turn's
        self.stop_speech()
        self.closed = True
        self._kept.clear()
        self._on_speech = _nothing
        self._released.set()  # what waits sees that it is over


def _nothing() -> None:
    """Stands for the listener of a closed output."""
