"""System prompt of one conversation: the agent's template, filled in for each answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from mimi_mqtt.config.prompt import AgentFacts, DeviceFacts, Facts, PromptTemplate, UserFacts
from mimi_mqtt.voice.ports import Spawn
from mimi_mqtt.voice.services import VoiceServices

PATIENCE_S: Final = 0.5
"""Longest time that a first answer waits for the memory, in seconds."""


class SystemPrompt:
    """Prompt of one conversation.

    `timezone` None is this machine's; `remembers`: `recollect` tells of earlier conversations; `now` is for
    tests.
    """

    def __init__(
        self,
        template: PromptTemplate,
        *,
        agent: str,
        device: DeviceFacts,
        user: UserFacts,
        timezone: str | None = None,
        remembers: bool = False,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._template = template
        self._agent = AgentFacts(agent)
        self._device = device
        self._user = user
        zone = ZoneInfo(timezone) if timezone else None
        self._now = now or (lambda: datetime.now(zone) if zone else datetime.now().astimezone())
        self._memory = ""
        self._complete = asyncio.Event()
        if not remembers:
            self._complete.set()

    async def recollect(self, memory: Awaitable[str]) -> None:
        """Waits for the memory of earlier conversations, which is a part of the prompt from then on."""
        try:
            self._memory = await memory
        finally:
            self._complete.set()

    async def complete(self) -> None:
        """Returns when the memory is there, or after `PATIENCE_S`; usually at once, as reading it takes less
        than an utterance."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._complete.wait()
        except TimeoutError:
            self._complete.set()  # the next answer does not wait for it

    def text(self, language: str, *, emotion: str = "", speech: bool = False) -> str:
        """The prompt now, for an answer in `language` (a tag) to words that sounded like `emotion`; `speech`:
        for a model that speaks itself."""
        user = replace(self._user, emotion=emotion)
        return self._template.render(
            Facts(self._now(), language, self._device, user, self._agent, self._memory, speech)
        )


def introduce(
    services: VoiceServices, device: DeviceFacts, user: UserFacts, session_id: str, spawn: Spawn
) -> SystemPrompt:
    """The agent's prompt for a conversation of `user` at `device`; a task reads the memory for it."""
    memory = services.memory if services.prompt.uses_memory else None
    prompt = SystemPrompt(
        services.prompt,
        agent=services.agent.name,
        device=device,
        user=user,
        timezone=services.timezone,
        remembers=memory is not None,
    )
    if memory is not None:
        spawn(prompt.recollect(memory.recall(device.id, session_id)), "memory")
    return prompt
