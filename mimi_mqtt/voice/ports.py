"""Ports of a conversation: the interfaces to its session, its tools, its memory and its store.

The session implements `Output` and calls the methods of `voice.conversation.Conversation`; neither knows more
of the other.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.store.turn_record import TurnRecord

Spawn = Callable[[Coroutine[None, None, None], str], asyncio.Task[None]]
"""Starts a task under a name; whoever provides it waits for the task at the end of the conversation."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Opus stream of one direction: Hz and ms per frame."""

    sample_rate: int
    frame_ms: int

    @property
    def frame_samples(self) -> int:
        """Samples in one frame."""
        return self.sample_rate * self.frame_ms // 1000


@dataclass(frozen=True, slots=True)
class HeardFrame:
    """A decoded uplink frame, 16 kHz mono.

    `lost`: its packet never came or was broken, so that `pcm` is concealment or silence.
    """

    pcm: Pcm
    speech_probability: float
    lost: bool


class Output(Protocol):
    """The device, as a turn sees it.

    Synchronous methods return at once. What is played after `stop_speech` without a new `begin_speech` is
    dropped.
    """

    def show_transcript(self, text: str) -> None:
        """Shows the user's words (`stt`)."""

    def show_emotion(self, emotion: str, emoji: str = "") -> None:
        """Shows a face (`llm`)."""

    def begin_speech(self) -> None:
        """Sends `tts start`; audio follows no earlier than the guard gap. Idempotent within a turn."""

    async def play_sentence(self, text: str) -> None:
        """Queues a mark: `tts sentence_start` goes out just before the next queued frame is sent."""

    async def play(self, opus: bytes) -> None:
        """Queues one downlink frame of `frame_ms`; waits while the play-out queue is full."""

    @property
    def frames_played(self) -> int:
        """Frames that have left for the device since `begin_speech`.

        An interrupted reply is kept in the dialogue as far as it was heard. Keeps its value until the next
        `begin_speech`.
        """

    async def finish_speech(self) -> None:
        """Returns when the last queued frame has been played and `tts stop` was sent."""

    def stop_speech(self) -> None:
        """Empties the queue and sends `tts stop` now, if speech had begun."""

    def pause_speech(self) -> None:
        """Pauses play-out without sending `tts stop`; no effect without speech."""

    def resume_speech(self) -> None:
        """Continues after `pause_speech` with the next frame."""

    def show_alert(self, status: str, message: str, emotion: str = "sad") -> None:
        """Sends an `alert`, which works in every state."""

    def end_session(self, reason: str) -> None:
        """Says goodbye and ends the session: the user asked for it, or nothing can go on."""


def _unheeded(spoken: bool) -> None:
    del spoken


@dataclass(eq=False, slots=True)
class Announcement:
    """A text to be said as a turn of its own, after whatever turn is running.

    `speech` opens a recording that is played in place of the text, which may then be empty. An urgent one
    comes before others that wait. `concluded` is called once: with True when the user has heard it, or its
    beginning; with False when the session did not get to it.
    """

    text: str = field(repr=False)
    speech: Callable[[], AsyncGenerator[SpeechChunk, None]] | None = None
    urgent: bool = False
    concluded: Callable[[bool], None] = _unheeded


class Tools(Protocol):
    """Tools that an answer may call (`tools.registry.ToolBox`)."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model is told of them, now."""

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Calls one, bounded in time. Raises ToolError, whose message is for the model."""


class Memory(Protocol):
    """Recollection of earlier conversations (`memory.recent.RecentTurns`)."""

    async def recall(self, device_id: str, session_id: str) -> str:
        """The text of earlier conversations with the device, or ""."""


class TurnLog(Protocol):
    """Store of finished turns (`store.conversations.ConversationLog`)."""

    def add_turn(self, record: TurnRecord) -> None:
        """Queues a record; never blocks, never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSetup:
    """Facts of one session that its conversation is made with; `language` is the tag to begin with."""

    device: DeviceFacts
    user: UserFacts
    session_id: str
    uplink: AudioFormat
    downlink: AudioFormat
    output: Output
    tools: Tools
    language: str
    unlabelled_echo: bool = False
    """True when the device wants its echo cancelled here, and can't tell what it was playing."""
    owner_id: str = ""
    """The account that the device belongs to as the session begins; "" for nobody's. A transfer ends the
    session: its turns stay with this one."""
