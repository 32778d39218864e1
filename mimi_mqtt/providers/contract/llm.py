"""The contract of language models."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import ClassVar

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.chat import (
    ChatMessage,
    ChatOptions,
    LlmEvent,
    TextDelta,
    ToolCall,
    ToolSpec,
    Usage,
)
from mimi_mqtt.providers.contract.provider import Provider
from mimi_mqtt.providers.runtime.resilience import closing_parts, resilient
from mimi_mqtt.providers.runtime.usage import count_tokens

MAX_ANSWER_CHARS = 100_000
"""Longest answer of a language model, arguments of tool calls excluded; more is a broken answer."""

MAX_TOOL_CALLS = 32
"""Most tool calls in one answer; more is a broken answer."""


class LanguageModel(Provider):
    """Text to text, with tools. Vendors implement `_chat`."""

    role = "llm"

    can_continue: ClassVar[bool] = True
    """True when it can continue an answer that another model began."""

    @property
    def available(self) -> bool:
        """False while it is known to have nothing to answer with: a chain then passes it over."""
        return True

    @property
    def sees(self) -> bool:
        """True when the images of a message reach the model. A chain asks nobody else about an image."""
        return False

    @property
    def answering(self) -> str:
        """The name of the model that answers now, for a person. Empty: there is none."""
        return self.name

    def chat(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolSpec] = (),
        options: ChatOptions | None = None,
    ) -> AsyncGenerator[LlmEvent, None]:
        """The answer as it comes.

        Tool calls are whole, and come after the text of the same answer; the caller runs them, appends their
        results and asks again. Raises ProviderError, also for an answer of nothing. A caller that
        stops early closes the iterator (`contextlib.aclosing`).
        """
        return resilient(
            partial(self._one_chat, messages, tools, options or ChatOptions()),
            role=self.role,
            name=self.name,
            limits=self.limits,
            has_side_effects=self.has_side_effects,
        )

    async def _one_chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        chars = 0
        calls: list[ToolCall] = []
        usage: Usage | None = None
        async with closing_parts(self._chat(messages, tools, options)) as events:
            async for event in events:
                match event:
                    case TextDelta(text):
                        chars += len(text)
                        if chars > MAX_ANSWER_CHARS:
                            raise ProviderBadAnswer(self.name, "the answer does not end")
                        if text:
                            yield event
                    case ToolCall():
                        calls.append(event)
                        if len(calls) > MAX_TOOL_CALLS:
                            raise ProviderBadAnswer(self.name, f"wants more than {MAX_TOOL_CALLS} tool calls")
                    case Usage():
                        usage = event
        if not chars and not calls:
            raise ProviderBadAnswer(self.name, "answered with nothing")
        for call in calls:
            yield call
        if usage is not None:
            count_tokens(self.name, usage.input_tokens, usage.output_tokens, self.price)
            yield usage

    @abstractmethod
    def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        """Yields the vendor's answer; raises ProviderError kinds, nothing else."""

    async def check(self) -> str:
        """Asks for one word."""
        ping = ChatMessage("user", "This is a test. Answer with the one word: pong")
        text = ""
        async with aclosing(self.chat([ping])) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    text += event.text
        return f"answered {text.strip()[:40]!r}"
