"""Everybody who hears, thinks and speaks, for all agents: started together, closed together.

Agents that ask the same providers in the same order share them: one client, one connection, one model in
memory.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack

from mimi_mqtt.config import AgentSettings, Settings, VoiceSettings
from mimi_mqtt.config.prompt import PromptTemplate
from mimi_mqtt.events import EventBus
from mimi_mqtt.providers.catalog.registry import build
from mimi_mqtt.providers.catalog.selection import Chains, chains, different, with_chain
from mimi_mqtt.providers.contract.provider import Provider
from mimi_mqtt.providers.contract.tts import TextToSpeech
from mimi_mqtt.providers.runtime.speech_cache import SpeechCache
from mimi_mqtt.voice.hearing.pool import Hearing
from mimi_mqtt.voice.language.detector import LanguageDetector
from mimi_mqtt.voice.services import Memory, TurnLog, VoiceServices
from mimi_mqtt.voice.speech.encoder import SpeechEncoders
from mimi_mqtt.voice.speech.greetings import greetings
from mimi_mqtt.voice.speech.phrases import sentences as apology_sentences
from mimi_mqtt.voice.speech.prepared import SpokenApologies
from mimi_mqtt.voice.turn.observed import ObservedTurns

_OFFLINE = ("offline",)


class Ensemble:
    """`await start()` once, then `await aclose()` once. API keys come from `environ`; turns go to `log`,
    `memory` knows the earlier ones, and `events` is told of providers that fail."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        log: TurnLog,
        memory: Memory,
        events: EventBus | None = None,
    ) -> None:
        self._events = events if events is not None else EventBus()
        self._settings = settings
        self._environ = environ
        self._log = log
        self._memory = memory
        self._stack = AsyncExitStack()
        self._spare: TextToSpeech | None = None
        self._apologies: dict[tuple[object, ...], SpokenApologies] = {}

    async def start(self) -> Mapping[str, VoiceServices]:
        """The services of each agent, by its key. Raises ConfigError and ProviderError; what was started
        until then is closed by `aclose`."""
        settings, environ, stack = self._settings, self._environ, self._stack
        agents = settings.every_agent
        asked = chains(settings, environ)
        cache = await self._open_speech_cache(agents.values())
        vad = build("vad", settings.providers, environ)
        stts = {
            names: build("stt", with_chain(settings.providers, "stt", names), environ)
            for names in different(asked, "stt")
        }
        llms = {
            names: build("llm", with_chain(settings.providers, "llm", names), environ)
            for names in different(asked, "llm")
        }
        ttses = {
            names: build("tts", with_chain(settings.providers, "tts", names), environ, cache)
            for names in different(asked, "tts")
        }
        s2ses = {
            names: build("s2s", with_chain(settings.providers, "s2s", names), environ)
            for names in different(asked, "s2s")
        }
        await self._start_all([vad, *stts.values(), *llms.values(), *ttses.values(), *s2ses.values()])
        hearing = Hearing(vad, settings.voice.audio_threads)
        stack.push_async_callback(hearing.aclose)
        languages = LanguageDetector()
        stack.push_async_callback(languages.aclose)
        encoders = SpeechEncoders(
            settings.voice.opus_bitrate, settings.voice.opus_complexity, settings.voice.audio_threads
        )
        stack.callback(encoders.close)
        return {
            key: VoiceServices(
                stt=stts[asked[key]["stt"]],
                llm=llms[asked[key]["llm"]],
                tts=ttses[asked[key]["tts"]],
                hearing=hearing,
                encoders=encoders,
                log=ObservedTurns(self._log, self._events, _asked(asked[key])),
                voice=_voice_of(agent, settings.voice),
                agent=agent,
                prompt=PromptTemplate(agent.prompt),
                session=settings.session,
                timezone=settings.server.timezone,
                memory=self._memory,
                languages=languages,
                spoken_apologies=self._apologies_of(
                    _without_voice(agent) if asked[key]["s2s"] else agent,
                    asked[key]["tts"],
                    ttses[asked[key]["tts"]],
                ),
                s2s=s2ses.get(asked[key]["s2s"]),
            )
            for key, agent in agents.items()
        }

    async def aclose(self) -> None:
        """Closes everything."""
        await self._stack.aclose()

    async def _start_all(self, providers: Iterable[Provider]) -> None:
        for provider in providers:
            provider.observe(self._events)
            self._stack.push_async_callback(provider.aclose)
        try:
            async with asyncio.TaskGroup() as group:
                for provider in providers:
                    group.create_task(provider.start(), name=f"start {provider.name}")
        except ExceptionGroup as failures:
            # The first tells enough: a person mends one thing at a time.
            raise failures.exceptions[0] from None

    async def _open_speech_cache(self, agents: Iterable[AgentSettings]) -> SpeechCache | None:
        settings = self._settings
        if not settings.providers.cache_mb:
            return None
        cache = SpeechCache(settings.server.data_dir / "cache" / "speech", settings.providers.cache_mb << 20)
        self._stack.push_async_callback(cache.aclose)
        await cache.start()
        cache.always((*greetings(agents), *apology_sentences()))
        return cache

    def _apologies_of(
        self, agent: AgentSettings, names: tuple[str, ...], tts: TextToSpeech
    ) -> SpokenApologies:
        """Those of the agent's or the server's language are made now, in the background; others when they
        are needed."""
        voice = tuple(agent.voice.items()) if isinstance(agent.voice, dict) else agent.voice
        sounds = (names, voice, agent.speed)
        apologies = self._apologies.get(sounds)
        if apologies is None:
            spare = None if "offline" in names else self._offline_voice()
            apologies = self._apologies[sounds] = SpokenApologies(tts, spare, agent)
            self._stack.push_async_callback(apologies.aclose)
        apologies.prepare(agent.language or self._settings.server.language)
        return apologies

    def _offline_voice(self) -> TextToSpeech:
        if self._spare is None:
            self._spare = build("tts", with_chain(self._settings.providers, "tts", _OFFLINE), self._environ)
            self._stack.push_async_callback(self._spare.aclose)
        return self._spare


def _asked(chains_of_agent: Chains) -> dict[str, str]:
    """Role -> the providers that are asked, in their order."""
    return {role: "+".join(names) for role, names in chains_of_agent.items() if names}


def _without_voice(agent: AgentSettings) -> AgentSettings:
    """An agent whose voice is the speech-to-speech service's, as text to speech stands in for it."""
    return agent.model_copy(update={"voice": None})


def _voice_of(agent: AgentSettings, voice: VoiceSettings) -> VoiceSettings:
    """Hearing and turn-taking with the agent's pause length."""
    if agent.end_silence_ms is None:
        return voice
    return voice.model_copy(update={"end_silence_ms": agent.end_silence_ms})
