"""Voice pool: the providers and shared parts of all agents' conversations, replaceable while the server runs.

The default agent's providers are started with the server, those of another agent when its first conversation
begins. Agents with equal chains share one instance. A conversation holds a `Lease`, through which it takes
over newer services between two of its turns; what nobody holds any more is closed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.events import EventBus
from mimi_mqtt.providers.catalog.overview import lacking
from mimi_mqtt.providers.catalog.registry import build
from mimi_mqtt.providers.catalog.selection import (
    Selection,
    different,
    select_of_agent,
    select_providers,
    select_vision,
)
from mimi_mqtt.providers.contract.provider import Role
from mimi_mqtt.providers.runtime.fallback import LlmChain, SttChain, TtsChain
from mimi_mqtt.providers.runtime.speech_cache import SpeechCache
from mimi_mqtt.shares import Ledger
from mimi_mqtt.voice.agent_voice import AgentVoice, Parts, Shelves
from mimi_mqtt.voice.device_shares import DeviceShares
from mimi_mqtt.voice.hearing.pool import HearingPool
from mimi_mqtt.voice.language.detector import LanguageDetector
from mimi_mqtt.voice.ports import Memory, TurnLog
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.shared import Closer, Shelf
from mimi_mqtt.voice.speech.encoder import SpeechEncoders
from mimi_mqtt.voice.speech.phrases import fixed_phrases

_log = logging.getLogger(__name__)

START_S: Final = 60.0
"""Longest time for new providers to start when the configuration is read again, in seconds."""
UNUSED_S: Final = 300.0
"""The time that the services of an agent without conversations are kept, in seconds."""
LAST_TURN_S: Final = 5.0
"""The time that replaced services are kept after their last conversation ended, in seconds: a turn that
was interrupted may still be ending."""
REPLACED_S: Final = 300.0
"""The time that conversations may go on with replaced services, in seconds."""

_CHECKED: Final[tuple[Role, ...]] = ("stt", "llm", "tts", "s2s")


class VoicePool:
    """`await start()` once, then `await aclose()` once. API keys come from `environ`; turns go to `log`,
    `memory` knows the earlier ones, `events` is told of providers that fail, and `ledger` of what is
    refused to devices."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        log: TurnLog,
        memory: Memory,
        events: EventBus | None = None,
        *,
        ledger: Ledger | None = None,
    ) -> None:
        self._events = events if events is not None else EventBus()
        self._shares = DeviceShares(settings.shares, ledger)
        self._settings = settings
        self._environ = environ
        self._log = log
        self._memory = memory
        self._stack = AsyncExitStack()
        self._asked: Mapping[str, Selection] = {}
        self._current: dict[str, AgentVoice] = {}
        self._retired: set[AgentVoice] = set()
        self._cache: SpeechCache | None = None
        self._timers: dict[AgentVoice, asyncio.TimerHandle] = {}
        self._closed = False

    async def start(self, *, in_background: Collection[str] = ()) -> None:
        """Starts the default agent's providers, and checks those of all agents.

        Providers of the agents `in_background` may fail to start: their conversations tell so. Raises
        ConfigError and ProviderError; what was started until then is closed by `aclose`.
        """
        settings, stack = self._settings, self._stack
        self._asked = self._checked(settings)
        self._cache = await self._open_speech_cache()
        closer = Closer()
        stack.push_async_callback(closer.aclose)
        vad = build("vad", settings.providers, self._environ)
        hearing = HearingPool(vad, settings.voice.audio_threads, self._shares)
        self._parts = Parts(
            shelves=self._shelves(closer),
            closer=closer,
            hearing=hearing,
            encoders=SpeechEncoders(
                settings.voice.opus_bitrate, settings.voice.opus_complexity, settings.voice.audio_threads
            ),
            languages=LanguageDetector(),
            log=self._log,
            events=self._events,
            memory=self._memory,
            shares=self._shares,
            environ=self._environ,
        )
        stack.push_async_callback(vad.aclose)
        stack.push_async_callback(hearing.aclose)
        stack.push_async_callback(self._parts.languages.aclose)
        stack.callback(self._parts.encoders.close)
        stack.callback(self._dispose_all)
        self._keep_greetings(settings)
        default = self._current[DEFAULT_AGENT] = self._make(DEFAULT_AGENT, settings, self._asked)
        await _start_all([vad.start, *([] if DEFAULT_AGENT in in_background else default.starts)])
        default.open()

    async def aclose(self) -> None:
        """Closes everything."""
        self._closed = True
        await self._stack.aclose()

    def lease(self, key: str) -> "Lease":
        """The services of the agent `key` for one conversation; the default agent's when it is missing.

        Those of an agent that is not in use start in the background; until then its requests wait for them.
        """
        return Lease(self, key)

    async def replace(self, settings: Settings, *, in_background: Collection[str] = ()) -> None:
        """Puts `settings` in force: for new conversations at once, for running ones from their next turn on.

        Providers of the agents `in_background` need not start: what is wrong with them is told to their
        conversations. Raises ConfigError and ProviderError; then everything is as it was before.
        """
        asked = self._checked(settings)
        made: dict[str, AgentVoice] = {}
        try:
            for key in settings.every_agent:
                if key in self._current:
                    made[key] = self._make(key, settings, asked)
            async with asyncio.timeout(START_S):
                await _start_all(
                    start for key, voice in made.items() if key not in in_background for start in voice.starts
                )
        except TimeoutError:
            _dispose(made.values())
            raise ProviderNotConfigured("providers", f"not started within {START_S:g} s") from None
        except BaseException:
            _dispose(made.values())
            raise
        self._settings, self._asked = settings, asked
        self._keep_greetings(settings)
        self._adopt(made)

    def _adopt(self, made: Mapping[str, AgentVoice]) -> None:
        before, self._current = self._current, {}
        for key, voice in made.items():
            old = before.get(key)
            if old is not None and old.equals(voice):
                self._current[key] = before.pop(key)
                voice.dispose()
            else:
                voice.open()
                self._current[key] = voice
                self._settle(voice)
        for old in before.values():
            self._retire(old)
            for lease in [*old.leases]:
                lease.changed()

    @asynccontextmanager
    async def audition(self, settings: Settings, key: str) -> AsyncIterator[VoiceServices]:
        """The services of the agent `key` of `settings`, which need not be in force: the three providers of
        the pipeline, started. What is in use already is shared; the rest is closed at the end.

        Raises ConfigError and ProviderError.
        """
        asked = await asyncio.to_thread(
            select_of_agent, settings, key, settings.every_agent[key], self._environ
        )
        voice = AgentVoice(key, settings, {**asked, "s2s": ()}, self._parts)
        try:
            async with asyncio.timeout(START_S):
                await _start_all(voice.starts)
            voice.open()
            yield voice.services
        except TimeoutError:
            raise ProviderNotConfigured("providers", f"not started within {START_S:g} s") from None
        finally:
            voice.dispose()

    # ── what leases ask for ──────────────────────────────────────────────────────────────────────────────

    def newest(self, key: str) -> AgentVoice:
        """The voice of the agent `key` as it is now, made when it is needed; the default agent's when it is
        missing."""
        if key not in self._asked:
            key = DEFAULT_AGENT
        voice = self._current.get(key)
        if voice is None:
            voice = self._current[key] = self._make(key, self._settings, self._asked)
            voice.open()
        return voice

    def hold(self, voice: AgentVoice, lease: "Lease") -> None:
        """`lease` uses `voice`."""
        voice.leases.add(lease)
        self._settle(voice)

    def give_back(self, voice: AgentVoice, lease: "Lease") -> None:
        """`lease` does not use `voice` any more."""
        voice.leases.discard(lease)
        self._settle(voice)

    def _settle(self, voice: AgentVoice) -> None:
        """Decides when `voice` is closed, as it is used now."""
        if voice.closed or self._closed:
            return
        if voice in self._retired:
            if not voice.leases:
                self._keep(voice)
                self._close_later(voice, LAST_TURN_S)
        elif voice.leases or voice.key == DEFAULT_AGENT:
            self._keep(voice)
        elif voice not in self._timers:
            self._close_later(voice, UNUSED_S)

    def _retire(self, voice: AgentVoice) -> None:
        self._keep(voice)
        self._retired.add(voice)
        self._close_later(voice, REPLACED_S)
        self._settle(voice)

    def _keep(self, voice: AgentVoice) -> None:
        if (timer := self._timers.pop(voice, None)) is not None:
            timer.cancel()

    def _close_later(self, voice: AgentVoice, seconds: float) -> None:
        self._timers[voice] = asyncio.get_running_loop().call_later(seconds, self._close, voice)

    def _close(self, voice: AgentVoice) -> None:
        self._keep(voice)
        self._retired.discard(voice)
        if self._current.get(voice.key) is voice:
            del self._current[voice.key]
        if voice.leases:
            _log.warning(
                "%d conversations still use replaced services of the agent %s, which are closed now",
                len(voice.leases),
                voice.key,
            )
        voice.dispose()

    # ── how they are made ────────────────────────────────────────────────────────────────────────────────

    def _make(self, key: str, settings: Settings, asked: Mapping[str, Selection]) -> AgentVoice:
        return AgentVoice(key, settings, asked[key], self._parts)

    def _shelves(self, closer: Closer) -> Shelves:
        environ, cache = self._environ, self._cache
        shared = (closer, self._events)
        return Shelves(
            stt=Shelf("stt", lambda own: build("stt", own, environ), lambda it: SttChain([it]), *shared),
            llm=Shelf("llm", lambda own: build("llm", own, environ), lambda it: LlmChain([it]), *shared),
            tts=Shelf(
                "tts", lambda own: build("tts", own, environ, cache), lambda it: TtsChain([it]), *shared
            ),
            # A service is connected to with the first utterance, whether it has been started or not.
            s2s=Shelf("s2s", lambda own: build("s2s", own, environ), lambda it: it, *shared),
            # Whoever asks it starts it.
            spare=Shelf("tts", lambda own: build("tts", own, environ), lambda it: it, *shared),
        )

    def _checked(self, settings: Settings) -> Mapping[str, Selection]:
        """The chains of all agents. Raises ConfigError and ProviderNotConfigured for one that can never work;
        the default agent's providers are started, which tells more."""
        asked = select_providers(settings, self._environ)
        for key in settings.every_agent:
            select_vision(settings, key, self._environ)
        for role in _CHECKED:
            for names, agents in different(asked, role).items():
                if names == asked[DEFAULT_AGENT][role]:
                    continue
                cures = [lacking(role, name, settings.providers, self._environ) for name in names]
                if all(cures):
                    told = "; ".join(cure for of_one in cures for cure in of_one)
                    who = f"asked by agent {', '.join(agents)}"
                    raise ProviderNotConfigured("+".join(names), f"{told} ({who})")
        return asked

    async def _open_speech_cache(self) -> SpeechCache | None:
        settings = self._settings
        if not settings.providers.cache_mb:
            return None
        cache = SpeechCache(settings.server.data_dir / "cache" / "speech", settings.providers.cache_mb << 20)
        self._stack.push_async_callback(cache.aclose)
        await cache.start()
        return cache

    def _keep_greetings(self, settings: Settings) -> None:
        if self._cache is not None:
            self._cache.always(fixed_phrases(settings.every_agent.values()))

    def _dispose_all(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        _dispose([*self._current.values(), *self._retired])


class Lease:
    """One conversation's hold on its agent's services. Close it with `release`.

    `on_change` is called when newer services are there.
    """

    def __init__(self, pool: VoicePool, key: str) -> None:
        self.on_change: Callable[[], None] | None = None
        self._pool = pool
        self._key = key
        self._voice: AgentVoice | None = pool.newest(key)
        pool.hold(self._voice, self)
        self._services = self._voice.services

    def current(self) -> VoiceServices:
        """The newest services, from now on those in use; the ones before are given back."""
        newest, held = self._pool.newest(self._key), self._voice
        if held is not None and newest is not held:
            self._pool.hold(newest, self)
            self._pool.give_back(held, self)
            self._voice = newest
        if held is not None:
            self._services = newest.services
        return self._services

    def changed(self) -> None:
        """Tells the conversation that newer services are there."""
        if self.on_change is not None:
            self.on_change()

    def release(self) -> None:
        """Gives the services back; safe to call twice."""
        voice, self._voice, self.on_change = self._voice, None, None
        if voice is not None:
            self._pool.give_back(voice, self)


async def _start_all(starts: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Starts all at the same time. Raises the first ProviderError."""
    try:
        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(_awaited(start), name="start a provider")
    except ExceptionGroup as failures:
        # The first tells enough: a person mends one thing at a time.
        raise failures.exceptions[0] from None


async def _awaited(start: Callable[[], Awaitable[None]]) -> None:
    await start()


def _dispose(voices: Iterable[AgentVoice]) -> None:
    for voice in voices:
        voice.dispose()
