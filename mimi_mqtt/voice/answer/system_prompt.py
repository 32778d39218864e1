"""What the model is told of itself and of whom it talks to: the agent's prompt, filled in for each answer."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from mimi_mqtt.config.prompt import AgentFacts, DeviceFacts, Facts, PromptTemplate, UserFacts

PATIENCE_S: Final = 0.5
"""The longest that a first answer waits for the memory, in seconds."""


class SystemPrompt:
    """One conversation's prompt. `timezone` None is this machine's; `remembers`: it is going to be told of
    earlier conversations, by `recollect`; `now` is for tests."""

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
        """Waits for what earlier conversations were about; prompts tell of it from then on."""
        try:
            self._memory = await memory
        finally:
            self._complete.set()

    async def complete(self) -> None:
        """Returns when the memory is there; it usually is, as people talk for longer than it takes."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._complete.wait()
        except TimeoutError:
            self._complete.set()  # the next answer does not wait for it

    def text(self, language: str, *, speech: bool = False) -> str:
        """The prompt now, for an answer in `language`, such as `en` or `zh-CN`; `speech`: for a model that
        speaks itself."""
        return self._template.render(
            Facts(self._now(), language, self._device, self._user, self._agent, self._memory, speech)
        )
