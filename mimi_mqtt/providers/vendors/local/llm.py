"""The language model that a server on this machine offers, as soon as there is one: `local`."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from mimi_mqtt.errors import ProviderNotConfigured, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.catalog.advice import MODEL_COMMANDS
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.runtime.resilience import Limits, closing_parts
from mimi_mqtt.providers.vendors.local.discovery import FoundModel, environment, find
from mimi_mqtt.providers.vendors.openai.llm import OpenAiLanguageModel, OpenAiLlmOptions
from mimi_mqtt.supervision import SupervisedLoop

_log = logging.getLogger(__name__)

LOOKS_EVERY_S: Final = 30.0
"""Seconds between two looks for a server while none is known."""


class LocalLanguageModel(LanguageModel):
    """Asks the model that `discovery` found last; looks again while there is none, and after a failure.

    It is not `available` until one was found, so that a chain passes it over without delay.
    """

    packages = ("openai",)
    extra = "openai"

    def __init__(self, name: str, options: ProviderOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self.found: FoundModel | None = None
        """The model that is asked now."""
        self._asked: OpenAiLanguageModel | None = None
        self._looking = asyncio.Lock()
        self._loop = SupervisedLoop("search for a local language model", self._round, every_s=LOOKS_EVERY_S)

    @property
    def available(self) -> bool:
        """True while a model is known."""
        return self.found is not None

    @property
    def answering(self) -> str:
        """The model and its server; empty while there is none."""
        return "" if self.found is None else str(self.found)

    async def start(self) -> None:
        """Looks for a model, for a second at most, and goes on looking."""
        await self._look()
        self._loop.start()

    async def aclose(self) -> None:
        """Looks no more."""
        await self._loop.aclose()
        await self._forget()

    async def _round(self) -> None:
        if self.found is None:
            await self._look()

    async def _look(self) -> None:
        async with self._looking:
            if self.found is not None:
                return
            found = await find(environment())
            if found is not None:
                _log.info("language model: %s", found)
                options = OpenAiLlmOptions(base_url=found.base_url, llm_model=found.model)
                self._asked = OpenAiLanguageModel(found.server, options, self.limits)
                self.found = found

    async def _forget(self) -> None:
        asked, self._asked, self.found = self._asked, None, None
        if asked is not None:
            await asked.aclose()

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncGenerator[LlmEvent, None]:
        if self._asked is None:
            await self._look()
        if self._asked is None:
            raise ProviderNotConfigured(
                self.name,
                "no Ollama or LM Studio with a model that can call tools is here: "
                f"{MODEL_COMMANDS[0]}, then {MODEL_COMMANDS[1]}",
            )
        try:
            async with closing_parts(self._asked.chat(messages, tools, options)) as events:
                async for event in events:
                    yield event
        except (ProviderUnavailable, ProviderRefused):
            await self._forget()  # it was stopped, or the model was removed
            raise
