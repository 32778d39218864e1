"""A turn's own way to the device: held while the turn is a guess, closed when it is over.

Nothing gets through early, and nothing late.
"""

import asyncio
from collections.abc import Callable

from mimi_mqtt.voice.events import Output


class TurnOutput:
    """An `Output` for one turn. What is called after `close` is dropped; `on_speech` is told of `tts
    start`. `held`: nothing reaches the device before `release`, and who plays waits for it."""

    def __init__(self, output: Output, on_speech: Callable[[], None], *, held: bool = False) -> None:
        self._output = output
        self._on_speech = on_speech
        self._frames = 0
        self._released = asyncio.Event()
        if not held:
            self._released.set()
        self._kept: list[Callable[[], None]] = []
        self._wants_speech = False
        self.begun = False
        """Whether the device was put into the speaking state."""
        self.finished = False
        """Whether it was taken out of it."""
        self.closed = False

    def show_transcript(self, text: str) -> None:
        """The user's line."""
        if not self.closed:
            self._output.show_transcript(text)

    def show_emotion(self, emotion: str, emoji: str = "") -> None:
        """The face."""
        self._do(lambda: self._output.show_emotion(emotion, emoji))

    def begin_speech(self) -> None:
        """`tts start`, once."""
        if not self._wants_speech:
            self._wants_speech = True
            self._do(self._begin)

    def _begin(self) -> None:
        self.begun = True
        self._output.begin_speech()
        self._on_speech()

    async def play_sentence(self, text: str) -> None:
        """Queues a sentence mark."""
        await self._released.wait()
        if not self.closed:
            await self._output.play_sentence(text)

    async def play(self, opus: bytes) -> None:
        """Queues a frame; waits while the queue is full."""
        await self._released.wait()
        if not self.closed:
            await self._output.play(opus)

    def release(self) -> None:
        """Lets out what was held, and all that follows. Without effect when nothing is held."""
        if not self._released.is_set():
            self._released.set()
            kept, self._kept = self._kept, []
            for call in kept:
                call()

    def pause(self) -> None:
        """Silence for the time being; speech that has not begun does not begin."""
        if self.begun:
            if not self.closed and not self.finished:
                self._output.pause_speech()
        elif not self.closed:
            self._released.clear()

    def resume(self) -> None:
        """Goes on after `pause` from where it stopped."""
        self.release()
        if self.begun and not self.closed and not self.finished:
            self._output.resume_speech()

    def _do(self, call: Callable[[], None]) -> None:
        if self.closed:
            return
        if self._released.is_set():
            call()
        else:
            self._kept.append(call)

    @property
    def frames_played(self) -> int:
        """Frames of this turn that have left."""
        if self.begun and not self.closed:
            self._frames = self._output.frames_played
        return self._frames

    async def finish_speech(self) -> None:
        """Waits until everything was played and `tts stop` sent."""
        await self._released.wait()
        if not self.closed and self.begun and not self.finished:
            await self._output.finish_speech()
            self.finished = True

    def stop_speech(self) -> None:
        """`tts stop` now, if it is needed."""
        if not self.closed and self.begun and not self.finished:
            self.finished = True
            self._output.stop_speech()

    def show_alert(self, status: str, message: str, emotion: str = "sad") -> None:
        """An alert."""
        self._do(lambda: self._output.show_alert(status, message, emotion))

    def end_session(self, reason: str) -> None:
        """The end of the session."""
        self._do(lambda: self._output.end_session(reason))

    def close(self) -> None:
        """The turn is over: takes the device out of the speaking state, and drops whatever still comes."""
        _ = self.frames_played  # the session's count will soon be another turn's
        self.stop_speech()
        self.closed = True
        self._kept.clear()
        self._released.set()  # who waits sees that it is over
