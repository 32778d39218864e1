"""The language model that a server on this machine offers, as soon as there is one: `local`."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Literal

from mimi_mqtt.errors import ProviderNotConfigured, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.catalog.advice import MODEL_COMMANDS
from mimi_mqtt.providers.catalog.local_servers import FoundModel, environment, find
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.runtime.resilience import Limits, closing_parts
from mimi_mqtt.providers.vendors.openai.llm import OpenAiLanguageModel, OpenAiLlmOptions
from mimi_mqtt.supervision import SupervisedLoop, forget_cancellation

_log = logging.getLogger(__name__)

LOOKS_EVERY_S: Final = 30.0
"""Seconds between two looks for a server while none is known."""
START_WAIT_S: Final = 0.5
"""Longest time that a start waits for the first look, in seconds: a server on this machine answers sooner."""


class LocalLanguageModel(LanguageModel):
    """Asks the model that `discovery` found last; looks again while there is none, and after a failure.

    It is not `available` until one was found, so that a chain passes it over without delay.
    """

    packages = ("openai",)
    extra = "openai"

    def __init__(self, name: str, options: ProviderOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._asked: _Asked | None = None
        self._looking = asyncio.Lock()
        self._first_look: asyncio.Task[None] | None = None
        self._loop = SupervisedLoop("search for a local language model", self._round, every_s=LOOKS_EVERY_S)

    @property
    def available(self) -> bool:
        """True while a model is known."""
        return self._asked is not None

    @property
    def sees(self) -> bool:
        """As the model that was found."""
        return self._asked is not None and self._asked.sees

    @property
    def answering(self) -> str:
        """The model and its server; empty while there is none."""
        return "" if self._asked is None else str(self._asked.found)

    async def start(self) -> None:
        """Looks for a model, and after START_WAIT_S goes on looking in the background."""
        if self._first_look is None:
            self._first_look = asyncio.create_task(
                self._look(), name="first search for a local language model"
            )
            self._first_look.add_done_callback(forget_cancellation)
            self._loop.start()
        done, _ = await asyncio.wait({self._first_look}, timeout=START_WAIT_S)
        for look in done:
            look.result()

    async def aclose(self) -> None:
        """Looks no more."""
        await self._loop.aclose()
        look, self._first_look = self._first_look, None
        if look is not None:
            look.cancel()
            await asyncio.wait({look})
        await self._forget(self._asked)

    async def check(self) -> str:
        """Asks for one word; tells which model answered."""
        said = await super().check()
        return f"{self.answering} {said}"

    async def _round(self) -> None:
        if self._asked is None:
            await self._look()

    async def _look(self) -> None:
        async with self._looking:
            if self._asked is not None:
                return
            found = await find(environment())
            if found is not None:
                _log.info("language model: %s", found)
                self._asked = _Asked(found, self.limits)

    async def _forget(self, asked: "_Asked | None") -> None:
        """Asks `asked` no more, and looks for another; answers that it has begun go on."""
        if asked is not None and self._asked is asked:
            self._asked = None
            await asked.retire()

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncGenerator[LlmEvent, None]:
        if self._asked is None:
            await self._look()
        if (asked := self._asked) is None:
            raise ProviderNotConfigured(
                self.name,
                "no Ollama or LM Studio with a model that can call tools is here: "
                f"{MODEL_COMMANDS[0]}, then {MODEL_COMMANDS[1]}",
            )
        try:
            async with closing_parts(asked.answer(messages, tools, options)) as events:
                async for event in events:
                    yield event
        except (ProviderUnavailable, ProviderRefused):
            await self._forget(asked)  # it was stopped, or the model was removed
            raise


class _Asked:
    """The client of a found model. Its connections are closed when it is retired and its last answer ends."""

    def __init__(self, found: FoundModel, limits: Limits) -> None:
        self.found = found
        self._limits = limits
        self._model = self._client("none" if found.thinks else None)
        self._answers = 0
        self._retired = False

    def _client(self, effort: Literal["none"] | None) -> OpenAiLanguageModel:
        options = OpenAiLlmOptions(
            base_url=self.found.base_url, llm_model=self.found.model, llm_reasoning_effort=effort
        )
        return OpenAiLanguageModel(self.found.server, options, self._limits)

    @property
    def sees(self) -> bool:
        """True when the model sees pictures."""
        return self._model.sees

    async def retire(self) -> None:
        """No answer is begun any more."""
        self._retired = True
        await self._close_unused()

    async def answer(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncGenerator[LlmEvent, None]:
        """The model's answer. `LocalLanguageModel.chat` counts, bounds and repeats it, so that `chat` of the
        client, which would do so again, is not used."""
        self._answers += 1
        try:
            async with closing_parts(self._model._chat(messages, tools, options)) as events:
                async for event in events:
                    yield event
        finally:
            self._answers -= 1
            await self._close_unused()

    async def _close_unused(self) -> None:
        if self._retired and not self._answers:
            await self._model.aclose()
