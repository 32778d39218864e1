"""What a conversation asks of its session, and what it is told at birth.

The session implements `Output` and calls the methods of `voice.conversation.Conversation`; neither knows more
of the other.
"""

from dataclasses import dataclass
from typing import Protocol


class Output(Protocol):
    """The device, as a turn sees it. Synchronous methods return at once; what is played after `stop_speech`
    without a new `begin_speech` is dropped."""

    def show_transcript(self, text: str) -> None:
        """The user's line (`stt`)."""

    def show_emotion(self, emotion: str, emoji: str = "") -> None:
        """The face (`llm`)."""

    def begin_speech(self) -> None:
        """`tts start`, now; audio follows no earlier than the guard gap. Idempotent within a turn."""

    async def play_sentence(self, text: str) -> None:
        """Queues a mark: `tts sentence_start` goes out just before the next queued frame is sent."""

    async def play(self, opus: bytes) -> None:
        """Queues one downlink frame of `frame_ms`; waits while the play-out queue is full."""

    @property
    def frames_played(self) -> int:
        """Frames that have left for the device since `begin_speech`; an interrupted reply is kept in the
        dialogue as far as it was heard. Keeps its value until the next `begin_speech`."""

    async def finish_speech(self) -> None:
        """Returns when the last queued frame has been played and `tts stop` was sent."""

    def stop_speech(self) -> None:
        """Empties the queue and sends `tts stop` now, if speech had begun."""

    def pause_speech(self) -> None:
        """Silence as soon as what has left is played; `tts stop` is not sent. Nothing without speech."""

    def resume_speech(self) -> None:
        """Goes on after `pause_speech` from where it stopped."""

    def show_alert(self, status: str, message: str, emotion: str = "sad") -> None:
        """An `alert`: works in every state."""

    def end_session(self, reason: str) -> None:
        """Says goodbye and ends the session (the user said so, or nothing can go on)."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """One direction's Opus stream: Hz and ms per frame."""

    sample_rate: int
    frame_ms: int

    @property
    def frame_samples(self) -> int:
        """Samples in one frame."""
        return self.sample_rate * self.frame_ms // 1000
