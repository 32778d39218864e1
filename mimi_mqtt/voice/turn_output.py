"""A turn's own way to the device: closed when the turn is, so that nothing late gets through."""

from collections.abc import Callable

from mimi_mqtt.voice.events import Output


class TurnOutput:
    """An `Output` for one turn. What is called after `close` is dropped; `on_speech` is told of `tts
    start`."""

    def __init__(self, output: Output, on_speech: Callable[[], None]) -> None:
        self._output = output
        self._on_speech = on_speech
        self._frames = 0
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
        if not self.closed:
            self._output.show_emotion(emotion, emoji)

    def begin_speech(self) -> None:
        """`tts start`, once."""
        if not self.closed and not self.begun:
            self.begun = True
            self._output.begin_speech()
            self._on_speech()

    async def play_sentence(self, text: str) -> None:
        """Queues a sentence mark."""
        if not self.closed:
            await self._output.play_sentence(text)

    async def play(self, opus: bytes) -> None:
        """Queues a frame; waits while the queue is full."""
        if not self.closed:
            await self._output.play(opus)

    @property
    def frames_played(self) -> int:
        """Frames of this turn that have left."""
        if self.begun and not self.closed:
            self._frames = self._output.frames_played
        return self._frames

    async def finish_speech(self) -> None:
        """Waits until everything was played and `tts stop` sent."""
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
        if not self.closed:
            self._output.show_alert(status, message, emotion)

    def end_session(self, reason: str) -> None:
        """The end of the session."""
        if not self.closed:
            self._output.end_session(reason)

    def close(self) -> None:
        """The turn is over: takes the device out of the speaking state, and drops whatever still comes."""
        _ = self.frames_played  # the session's count will soon be another turn's
        self.stop_speech()
        self.closed = True
