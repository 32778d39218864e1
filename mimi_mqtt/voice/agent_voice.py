"""One agent's services as one configuration asks for them, shared by all conversations with the agent.

`voice.pool` makes one `AgentVoice` an agent, and another in its place when the configuration was changed.
"""

import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from mimi_mqtt.config import Settings, VoiceSettings
from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.config.prompt import PromptTemplate
from mimi_mqtt.events import EventBus
from mimi_mqtt.providers.catalog.advice import missing_voices
from mimi_mqtt.providers.catalog.selection import Selection, select_vision
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import Provider
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import TextToSpeech
from mimi_mqtt.providers.runtime.realtime.provider import SpeechToSpeech
from mimi_mqtt.voice.device_shares import DeviceShares
from mimi_mqtt.voice.hearing.pool import HearingPool
from mimi_mqtt.voice.language.detector import LanguageDetector
from mimi_mqtt.voice.ports import Memory, TurnLog
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.shared import Closer, SharedProvider, Shelf
from mimi_mqtt.voice.speech.encoder import SpeechEncoders
from mimi_mqtt.voice.speech.prepared import SpokenApologies
from mimi_mqtt.voice.turn.observed import ObservedTurns
from mimi_mqtt.voice.utterance.habits import HabitsCache

_log = logging.getLogger(__name__)

_OFFLINE: Final = ("offline",)

_P = TypeVar("_P", bound=Provider)

_AnyProvider = (
    SharedProvider[SpeechToText]
    | SharedProvider[LanguageModel]
    | SharedProvider[TextToSpeech]
    | SharedProvider[SpeechToSpeech]
)


@dataclass(frozen=True, slots=True)
class Shelves:
    """The providers in use, by role; `spare` is the offline voice, for apologies."""

    stt: Shelf[SpeechToText]
    llm: Shelf[LanguageModel]
    tts: Shelf[TextToSpeech]
    s2s: Shelf[SpeechToSpeech]
    spare: Shelf[TextToSpeech]


@dataclass(slots=True)
class _SharedApologies:
    apologies: SpokenApologies
    users: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts that all agents share for as long as the server runs."""

    shelves: Shelves
    closer: Closer
    hearing: HearingPool
    encoders: SpeechEncoders
    languages: LanguageDetector
    log: TurnLog
    events: EventBus
    memory: Memory
    shares: DeviceShares
    environ: Mapping[str, str] = field(default_factory=dict)
    """The source of API keys."""
    habits: HabitsCache = field(default_factory=HabitsCache)
    apologies: dict[Hashable, _SharedApologies] = field(default_factory=dict)
    """Spoken apologies in use, by text to speech, voice and speed."""


class Holder(Protocol):
    """A conversation's hold on an `AgentVoice`."""

    def changed(self) -> None:
        """There is another voice of the agent now."""


class AgentVoice:
    """The services of the agent `key`. Use it after `open`; give it back with `dispose`."""

    def __init__(self, key: str, settings: Settings, asked: Selection, parts: Parts) -> None:
        """Takes the providers, not started yet. Raises ConfigError."""
        self.key = key
        self.agent = settings.every_agent[key]
        self.leases: set[Holder] = set()
        """The conversations that use it."""
        self.closed = False
        """True once everything was given back."""
        self._settings = settings
        self._asked: dict[str, str] = {role: "+".join(names) for role, names in asked.items() if names}
        self._parts = parts
        self._undo: list[Callable[[], None]] = []
        try:
            shelves = parts.shelves
            self._stt = self._take(shelves.stt, asked["stt"])
            self._llm = self._take(shelves.llm, asked["llm"])
            self._tts = self._take(shelves.tts, asked["tts"])
            self._s2s = self._take(shelves.s2s, asked["s2s"]) if asked["s2s"] else None
            # Started with its first photo.
            seeing = select_vision(settings, key, parts.environ)
            self._vision = self._take(shelves.llm, seeing) if seeing else None
            # The offline voice needs no spare: it is the spare.
            self._spare = None if "offline" in asked["tts"] else self._take(shelves.spare, _OFFLINE)
        except BaseException:
            self.dispose()
            raise
        self._apologies: SpokenApologies | None = None
        self._services: VoiceServices | None = None

    @property
    def services(self) -> VoiceServices:
        """The services as they are now."""
        if self._services is None:
            raise RuntimeError(f"the voice of the agent {self.key} is not open")
        return self._services

    @property
    def starts(self) -> list[Callable[[], Awaitable[None]]]:
        """Starts of the providers without users so far; each may be called although another agent does so."""
        return [shared.start for shared in self._providers if not shared.on_demand]

    @property
    def _providers(self) -> list[_AnyProvider]:
        return [shared for shared in (self._stt, self._llm, self._tts, self._s2s) if shared is not None]

    def open(self) -> None:
        """Makes the services. Providers that have not started yet are started in the background; until then
        requests wait for theirs."""
        if self._s2s is None:
            language = self.agent.language or self._settings.server.language
            for missing in missing_voices(self.agent, language, self._tts.provider):
                _log.warning("agent %s: %s", self.key, missing)
        apologies = self._apologies = self._shared_apologies()
        self._services = self._made()
        apologies.prepare(self.agent.language or self._settings.server.language)
        for shared in self._providers:
            if not shared.started:
                shared.start_soon(self._provider_started)

    def equals(self, other: "AgentVoice") -> bool:
        """True when `other` has the same providers and settings, and need not replace this one."""
        mine, its = self._settings, other._settings
        return (
            self.agent == other.agent
            and self._providers == other._providers
            and self._spare is other._spare
            and self._vision is other._vision
            and (mine.voice, mine.session, mine.server) == (its.voice, its.session, its.server)
        )

    def dispose(self) -> None:
        """Gives everything back; safe to call twice."""
        self.closed = True
        undo, self._undo = self._undo, []
        for give_back in reversed(undo):
            give_back()

    def _take(self, shelf: Shelf[_P], names: tuple[str, ...]) -> SharedProvider[_P]:
        shared = shelf.take(names, self._settings.providers)
        self._undo.append(lambda: shelf.give_back(shared))
        return shared

    def _provider_started(self) -> None:
        if not self.closed and all(shared.started for shared in self._providers):
            self._services = self._made()

    def _made(self) -> VoiceServices:
        settings, parts = self._settings, self._parts
        return VoiceServices(
            stt=self._stt.provider,
            llm=self._llm.provider,
            tts=self._tts.provider,
            hearing=parts.hearing,
            encoders=parts.encoders,
            log=ObservedTurns(parts.log, parts.events, self._asked, self.key),
            voice=_voice_of(self.agent, settings.voice),
            agent=self.agent,
            prompt=PromptTemplate(self.agent.prompt),
            session=settings.session,
            timezone=settings.server.timezone,
            memory=parts.memory,
            events=parts.events,
            languages=parts.languages,
            shares=parts.shares,
            habits=parts.habits,
            spoken_apologies=self._apologies,
            s2s=self._s2s.provider if self._s2s is not None else None,
            vision=self._vision.provider if self._vision is not None else None,
        )

    def _shared_apologies(self) -> SpokenApologies:
        """Those of the agent's or the server's language are made at once, in the background; others when they
        are needed."""
        # Where the voice is the speech-to-speech service's, text to speech stands in for it with its own.
        agent = self.agent if self._s2s is None else self.agent.model_copy(update={"voice": None})
        sounds, known = (self._tts, repr(agent.voice), repr(agent.speed)), self._parts.apologies
        shared = known.get(sounds)
        if shared is None:
            spare = self._spare.provider if self._spare is not None else None
            shared = known[sounds] = _SharedApologies(SpokenApologies(self._tts.provider, spare, agent))
        shared.users += 1

        def give_back() -> None:
            shared.users -= 1
            if not shared.users:
                del known[sounds]
                self._parts.closer.close(shared.apologies, "apologies")

        self._undo.append(give_back)
        return shared.apologies


def _voice_of(agent: AgentSettings, voice: VoiceSettings) -> VoiceSettings:
    """Hearing and turn-taking with the agent's pause length."""
    if agent.end_silence_ms is None:
        return voice
    return voice.model_copy(update={"end_silence_ms": agent.end_silence_ms})
