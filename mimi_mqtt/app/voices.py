"""Voices of the agents, as one part of the server: their providers, and the conversations made with them."""

import functools
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack

from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.app.records import Records
from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.fleet.agents import Agent
from mimi_mqtt.memory.recent import RecentTurns
from mimi_mqtt.providers.runtime.unloading import IdleUnloading
from mimi_mqtt.session.session import ConversationFactory, VoiceConversation
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.pool import VoicePool
from mimi_mqtt.voice.ports import ConversationSetup
from mimi_mqtt.voice.speech.phrases import greetings


class Voices:
    """The providers of all agents, the turns they remember, and the unloading of local models, after
    `idle_min` minutes without use; 0: never."""

    def __init__(
        self, settings: Settings, foundation: Foundation, records: Records, *, idle_min: Callable[[], int]
    ) -> None:
        self._recorder = records.recorder
        self.memory = RecentTurns(
            foundation.store,
            greetings=greetings(settings.every_agent.values()),
            timezone=settings.server.timezone,
        )
        self.pool = VoicePool(
            settings, foundation.environ, records.turns, self.memory, foundation.events,
            ledger=foundation.ledger,
        )  # fmt: skip
        self.unloading = IdleUnloading(idle_min)

    async def start(self, stack: AsyncExitStack, *, in_background: Collection[str]) -> None:
        """Starts the providers, which `stack` ends; those of the agents `in_background` may fail to start.
        Raises ConfigError and ProviderError."""
        stack.push_async_callback(self.pool.aclose)
        await self.pool.start(in_background=in_background)
        stack.push_async_callback(self.unloading.aclose)
        self.unloading.start()

    @property
    def answering(self) -> str:
        """The model that answers the default agent now, for a person: the language model, or the service
        for speech to speech."""
        services = self.pool.newest(DEFAULT_AGENT).services
        return services.llm.answering if services.s2s is None else services.s2s.name

    def converse(self, agent: Agent) -> ConversationFactory:
        """The factory of the agent's conversations, which are recorded where that is set."""
        lease = self.pool.lease(agent.key)
        make = functools.partial(Conversation, services=lease.current(), renewal=lease)

        def recorded(setup: ConversationSetup) -> VoiceConversation:
            if not self._recorder.wants(setup.device.id, agent.settings):
                return make(setup)
            return self._recorder.record(make(setup), setup)

        return recorded
