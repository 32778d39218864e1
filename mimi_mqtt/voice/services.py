"""What every conversation shares, and what a conversation asks of its surroundings."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.config.prompt import DeviceFacts, PromptTemplate, UserFacts
from mimi_mqtt.config.settings import SessionSettings, VoiceSettings
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import TextToSpeech
from mimi_mqtt.providers.runtime.realtime.provider import SpeechToSpeech
from mimi_mqtt.store.conversations import TurnRecord
from mimi_mqtt.voice.answer.system_prompt import SystemPrompt
from mimi_mqtt.voice.hearing.pool import HeardFrame
from mimi_mqtt.voice.language.languages import voice_for
from mimi_mqtt.voice.language.spoken import SpokenLanguage, TellsLanguages
from mimi_mqtt.voice.ports import AudioFormat
from mimi_mqtt.voice.speech.encoder import SpeechEncoders
from mimi_mqtt.voice.speech.prepared import SpokenApologies

Spawn = Callable[[Coroutine[None, None, None], str], asyncio.Task[None]]
"""Starts a task under a name; who is asked waits for it at the end of the conversation."""


class Hears(Protocol):
    """One session's uplink on its way from Opus to heard frames (`voice.hearing.Ear`)."""

    def push(self, opus: bytes, sequence: int, now: float, timestamp: int = 0) -> None:
        """One packet, as it came; `timestamp` is 0 or the downlink frame's that was playing (ms)."""

    def played(self, opus: bytes, timestamp: int) -> None:
        """A downlink frame has left for the device: its echo may be heard."""

    def flush(self) -> None:
        """Releases what the jitter buffer holds: nothing more is coming."""

    async def drained(self) -> None:
        """Returns when everything released so far has been heard."""

    def reset(self) -> None:
        """Forgets everything; frames still on their way are not delivered."""

    def close(self) -> None:
        """The end; nothing is delivered any more."""


class OpensEars(Protocol):
    """`voice.hearing.Hearing`, as a conversation uses it."""

    @property
    def cancels_echo(self) -> bool:
        """Whether the echo of devices that want it is cancelled here."""

    def open(
        self,
        uplink: AudioFormat,
        jitter_ms: int,
        on_frame: Callable[[HeardFrame], None],
        device_id: str = "",
    ) -> Hears:
        """An ear whose frames are handed to `on_frame`, in order, on the loop; `device_id` is whose it is."""


class Tools(Protocol):
    """What an answer can do (`tools.registry.ToolBox`)."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model is told of them, now."""

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Calls one, bounded in time. Raises ToolError, whose message is for the model."""


class Memory(Protocol):
    """What is remembered of earlier conversations (`memory.recent.RecentTurns`)."""

    async def recall(self, device_id: str, session_id: str) -> str:
        """What was said with the device before the session, or ""."""


class TurnLog(Protocol):
    """Where finished turns go (`store.conversations.ConversationLog`)."""

    def add_turn(self, record: TurnRecord) -> None:
        """Queues it; never blocks, never raises."""


class Renewal(Protocol):
    """Where a conversation gets newer services from while it lasts (`voice.pool.Lease`)."""

    on_change: Callable[[], None] | None
    """Called when there are newer services."""

    def current(self) -> "VoiceServices":
        """The newest services; those used before are given back."""

    def release(self) -> None:
        """Gives the services back, at the end of the conversation."""


@dataclass(slots=True)
class VoiceServices:
    """One for all sessions with an agent. `voice.pool` builds it, and owns what is in it."""

    stt: SpeechToText
    llm: LanguageModel
    tts: TextToSpeech
    hearing: OpensEars
    encoders: SpeechEncoders
    log: TurnLog
    voice: VoiceSettings
    agent: AgentSettings
    prompt: PromptTemplate
    session: SessionSettings
    timezone: str | None = None
    spoken_apologies: SpokenApologies | None = None
    memory: Memory | None = None
    languages: TellsLanguages | None = None
    s2s: SpeechToSpeech | None = None
    """Who answers instead of the three, as long as it works."""

    def tts_voice(self, language: str) -> str | None:
        """The voice to ask text to speech for; one that is named for speech to speech is nobody else's."""
        return voice_for(self.agent.voice_for(language), language) if self.s2s is None else None

    def spoken_language(self, language: str) -> SpokenLanguage:
        """That of a conversation which begins in `language`; it stays in an agent's own."""
        heard = (self.s2s or self.stt).capabilities.languages
        # Where a single language is ever heard, words tell nothing.
        detector = None if heard is not None and len(heard) == 1 else self.languages
        return SpokenLanguage(language, detector, certain=self.agent.language is not None)

    def introduce(self, device: DeviceFacts, user: UserFacts, session_id: str, spawn: Spawn) -> SystemPrompt:
        """The agent's prompt for a conversation of `user` at `device`; what it tells of earlier ones is read
        in a task of `spawn`."""
        memory = self.memory if self.prompt.uses_memory else None
        prompt = SystemPrompt(
            self.prompt,
            agent=self.agent.name,
            device=device,
            user=user,
            timezone=self.timezone,
            remembers=memory is not None,
        )
        if memory is not None:
            spawn(prompt.recollect(memory.recall(device.id, session_id)), "memory")
        return prompt
