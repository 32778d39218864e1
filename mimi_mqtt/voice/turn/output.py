"""A turn's own way to the device: held while the turn is a guess, closed when it is over.

Nothing gets through early, and nothing late; and of two who speak, one waits until the other is done.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mimi_mqtt.voice.ports import Output


@dataclass(slots=True)
class _Aside:
    """Frames that are no part of the reply: `count` of them after `at` of its own."""

    at: int
    count: int = 0


@dataclass(slots=True)
class _Speech:
    """What the outputs of one turn have in common: who speaks, and how much was given to be played."""

    floor: asyncio.Lock = field(default_factory=asyncio.Lock)
    frames: int = 0
    asides: list[_Aside] = field(default_factory=list)
    heard_until: float = 0.0

    @property
    def aside_frames(self) -> int:
        return sum(aside.count for aside in self.asides)


def _nothing() -> None:
    """The turn is over."""


class TurnOutput:
    """An `Output` for one turn. What is called after `close` is dropped; `on_speech` is told of `tts
    start`. `held`: nothing reaches the device before `release`, and who plays waits for it."""

    def __init__(
        self, output: Output, on_speech: Callable[[], None], frame_ms: int, *, held: bool = False
    ) -> None:
        self._output = output
        self._frame_s = frame_ms / 1000
        self._on_speech = on_speech
        self._sent = 0
        self._speech = _Speech()
        self._loop = asyncio.get_running_loop()
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
        self._do(lambda: self._output.show_transcript(text))

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
        """Queues a sentence mark; waits while somebody says an aside."""
        await self._released.wait()
        async with self._speech.floor:
            if not self.closed:
                await self._output.play_sentence(text)

    async def play(self, opus: bytes) -> None:
        """Queues a frame; waits while the queue is full, or somebody says an aside."""
        await self._released.wait()
        async with self._speech.floor:
            await self._play(opus)

    async def _play(self, opus: bytes) -> None:
        if not self.closed:
            speech = self._speech
            speech.frames += 1
            speech.heard_until = max(speech.heard_until, self._loop.time()) + self._frame_s
            await self._output.play(opus)

    @asynccontextmanager
    async def aside(
        self, text: str, emotion: str, emoji: str
    ) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        """Begins to say `text`, which is no part of the reply: yields what plays its frames. Whoever else
        speaks waits until its end."""
        speech = self._speech
        async with speech.floor:
            aside = _Aside(speech.frames - speech.aside_frames)
            speech.asides.append(aside)
            self.show_emotion(emotion, emoji)
            self.begin_speech()
            if not self.closed:
                await self._output.play_sentence(text)

            async def play(opus: bytes) -> None:
                aside.count += 1
                await self._play(opus)

            yield play

    def follow(self, other: "TurnOutput") -> None:
        """Goes on where `other`, which plays nothing any more, has begun to speak."""
        self._speech = other._speech
        self._kept, other._kept = other._kept + self._kept, []
        if other.begun:
            self.begun = self._wants_speech = True

    @property
    def heard_until(self) -> float:
        """When what was given to be played has been heard, pauses apart (loop time, s)."""
        return self._speech.heard_until

    @property
    def replied(self) -> bool:
        """Whether some of the reply was given to be played, and not only asides."""
        return self._speech.frames > self._speech.aside_frames

    @property
    def sounding(self) -> bool:
        """Whether some of what was given has not been played."""
        return self.frames_sent < self._speech.frames

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
    def frames_sent(self) -> int:
        """Frames of this turn that have left, asides included."""
        if self.begun and not self.closed:
            self._sent = self._output.frames_played
        return self._sent

    @property
    def frames_played(self) -> int:
        """Frames of the reply that have left."""
        rest = sent = self.frames_sent
        before = 0
        for aside in self._speech.asides:
            heard = min(max(sent - aside.at - before, 0), aside.count)
            before += aside.count
            rest -= heard
        return rest

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

    def let_go(self) -> None:
        """Nobody is told of `tts start` any more, which keeps the turn alive."""
        self._on_speech = _nothing

    def close(self) -> None:
        """The turn is over: takes the device out of the speaking state, and drops whatever still comes."""
        _ = self.frames_played  # the session's count will soon be another turn's
        self.stop_speech()
        self.closed = True
        self._kept.clear()
        self._released.set()  # who waits sees that it is over
