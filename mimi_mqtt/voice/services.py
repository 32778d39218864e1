"""Services that all conversations with an agent share: providers, hearing, encoders and settings."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.config.prompt import PromptTemplate
from mimi_mqtt.config.settings import SessionSettings
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.events import EventBus
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions
from mimi_mqtt.providers.runtime.realtime.provider import SpeechToSpeech
from mimi_mqtt.voice.device_shares import DeviceShares
from mimi_mqtt.voice.hearing.stream import UplinkStream
from mimi_mqtt.voice.language.spoken import SpokenLanguage, TellsLanguages
from mimi_mqtt.voice.ports import AudioFormat, HeardFrame, Memory, TurnLog
from mimi_mqtt.voice.speech.encoder import SpeechEncoders
from mimi_mqtt.voice.speech.manner import manner
from mimi_mqtt.voice.speech.prepared import SpokenApologies
from mimi_mqtt.voice.utterance.habits import HabitsCache


class Hearing(Protocol):
    """Hearing of all sessions (`voice.hearing.pool.HearingPool`)."""

    def open(
        self,
        uplink: AudioFormat,
        jitter_ms: int,
        on_frame: Callable[[HeardFrame], None],
        device_id: str = "",
        *,
        unlabelled_echo: bool = False,
    ) -> UplinkStream:
        """The uplink stream of one session, whose frames are handed to `on_frame`, in order, on the loop."""


class Renewal(Protocol):
    """Source of newer services for a running conversation (`voice.pool.Lease`)."""

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
    hearing: Hearing
    encoders: SpeechEncoders
    log: TurnLog
    voice: VoiceSettings
    agent: AgentSettings
    prompt: PromptTemplate
    session: SessionSettings
    timezone: str | None = None
    spoken_apologies: SpokenApologies | None = None
    memory: Memory | None = None
    events: EventBus = field(default_factory=EventBus)
    """Told of the stages of turns."""
    languages: TellsLanguages | None = None
    shares: DeviceShares = field(default_factory=DeviceShares)
    habits: HabitsCache = field(default_factory=HabitsCache)
    vision: LanguageModel | None = None
    """Asked about photos; None: `llm`."""
    s2s: SpeechToSpeech | None = None
    """Answers instead of the three, as long as it works."""

    def manner(self, language: str) -> VoiceOptions:
        """The manner in which text to speech speaks `language`; the agent's voice may be the
        speech-to-speech service's, and then is not asked for."""
        options = manner(self.agent, language)
        return options if self.s2s is None else replace(options, voice=None)

    def spoken_language(self, language: str) -> SpokenLanguage:
        """The language of a conversation that begins in `language`; an agent's own language stays."""
        heard = (self.s2s or self.stt).capabilities.languages
        # Where a single language is ever heard, words tell nothing.
        detector = None if heard is not None and len(heard) == 1 else self.languages
        return SpokenLanguage(language, detector, certain=self.agent.language is not None)
