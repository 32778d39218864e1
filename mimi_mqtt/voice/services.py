"""What every conversation shares, and what a conversation asks of its surroundings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config.settings import AssistantSettings, SessionSettings, VoiceSettings
from mimi_mqtt.providers.base import LanguageModel, SpeechToText, TextToSpeech, ToolSpec
from mimi_mqtt.voice.events import AudioFormat
from mimi_mqtt.voice.speech import SpeechEncoders


class Heard(Protocol):
    """A frame of the speaker's voice (`voice.hearing.HeardFrame`)."""

    @property
    def pcm(self) -> Pcm:
        """The frame at 16 kHz."""

    @property
    def speech_probability(self) -> float:
        """0 to 1."""

    @property
    def lost(self) -> bool:
        """Whether the packet was lost and `pcm` is concealment."""


class Ear(Protocol):
    """One session's uplink on its way from Opus to heard frames (`voice.hearing.Ear`)."""

    def push(self, opus: bytes, sequence: int, now: float) -> None:
        """One packet, as it came."""

    def flush(self) -> None:
        """Releases what the jitter buffer holds: nothing more is coming."""

    def reset(self) -> None:
        """Forgets everything; frames still on their way are not delivered."""

    def close(self) -> None:
        """The end; nothing is delivered any more."""


class Hears(Protocol):
    """Opens ears (`voice.hearing.Hearing`)."""

    def open(self, uplink: AudioFormat, jitter_ms: int, on_frame: Callable[[Heard], None]) -> Ear:
        """An ear whose frames are handed to `on_frame`, in order, on the loop."""


class Tools(Protocol):
    """What an answer can do (`tools.registry.ToolBox`)."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model is told of them, now."""

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Calls one, bounded in time. Raises ToolError, whose message is for the model."""


@dataclass(frozen=True, slots=True)
class TurnReport:
    """A finished turn for the store. Times are ms after the end of the user's speech; None: it never came."""

    device_id: str
    session_id: str
    turn: int
    kind: str
    outcome: str
    heard: str
    reply: str
    timings_ms: Mapping[str, float]


class TurnLog(Protocol):
    """Where finished turns go (`store.conversations.ConversationLog`)."""

    def add_turn(self, record: TurnReport) -> None:
        """Queues it; never blocks."""


@dataclass(slots=True)
class VoiceServices:
    """One for all sessions; `app` builds it and owns the lifetimes of what is in it."""

    stt: SpeechToText
    llm: LanguageModel
    tts: TextToSpeech
    hearing: Hears
    encoders: SpeechEncoders
    log: TurnLog
    voice: VoiceSettings
    assistant: AssistantSettings
    session: SessionSettings
    timezone: str | None = None
