"""Apps of Dify (cloud or self-hosted): chat assistants, agents and chat flows, over plain HTTP and SSE.

Dify keeps the conversation itself, and chat flows keep variables in it, so each device has one there: it
begins with a dialogue that has no earlier turn, and is continued as long as its id is known. Where it is not
(after a restart, or a failure) the dialogue so far goes along with the question. The app has its own prompt
and its own tools; ours is the app's variable `system_prompt`, if it declares one.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import ClassVar

from pydantic import Field, SecretStr

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolSpec, Usage
from mimi_mqtt.providers.http.errors import readable
from mimi_mqtt.providers.http.hosted_agent import HostedAgent, HostedAgentOptions
from mimi_mqtt.providers.http.service import child, count_at, json_object, text_at
from mimi_mqtt.providers.runtime.resilience import Limits

_ANSWERS = ("message", "agent_message")


class DifyOptions(HostedAgentOptions):
    """Options of `providers.options.dify`."""

    environment: ClassVar[Mapping[str, str | tuple[str, ...]]] = {
        "api_key": "DIFY_API_KEY",
        "base_url": "DIFY_BASE_URL",
    }
    required: ClassVar[tuple[str, ...]] = ("api_key",)

    api_key: SecretStr | None = None
    """The app's key, such as app-…. Empty: the variable DIFY_API_KEY."""

    base_url: str = Field("https://api.dify.ai/v1", pattern=r"^https?://[^/]")
    """Address of the API, which ends with /v1."""

    llm_inputs: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Values of the app's own variables."""


class DifyApp(HostedAgent):
    """`POST /chat-messages` with server-sent events."""

    Options = DifyOptions

    cures: ClassVar[Mapping[int, str]] = {
        401: "set DIFY_API_KEY or {where}.api_key",
        404: "see base_url in {where}: it ends with /v1",
    }

    def __init__(self, name: str, options: DifyOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        demand(self.name, self._options)
        known = self._conversation(messages, options)
        if known is not None:
            try:
                async with aclosing(self._ask(known, messages, options)) as events:
                    async for event in events:
                        yield event
                return
            except ProviderError as error:
                # Whatever went wrong, the next try doesn't depend on it.
                self._conversations.forget(options.device_id)
                if not isinstance(error, ProviderRefused) or "conversation" not in str(error).lower():
                    raise
        async with aclosing(self._ask(None, messages, options)) as events:
            async for event in events:
                yield event

    async def _ask(
        self, conversation: str | None, messages: Sequence[ChatMessage], options: ChatOptions
    ) -> AsyncGenerator[LlmEvent, None]:
        prompt = "\n\n".join(message.content for message in messages if message.role == "system")
        body = {
            "query": _question(messages, with_history=conversation is None),
            "inputs": {"system_prompt": prompt, "language": options.language, **self._options.llm_inputs},
            "response_mode": "streaming",
            "conversation_id": conversation or "",
            "user": options.device_id or "mimi",
            "auto_generate_name": False,
        }
        ended = False
        async with (
            self._http.post("/chat-messages", body) as response,
            aclosing(self._http.events(response)) as events,
        ):
            async for event in events:
                if event.kind == "ping":
                    continue
                data = json_object(self.name, event.data)
                kind = text_at(data, "event")
                # From the first event on: an answer that is interrupted is part of the conversation too.
                self._keep_conversation(options, text_at(data, "conversation_id"))
                if kind in _ANSWERS and (text := text_at(data, "answer")):
                    yield TextDelta(text)
                elif kind == "message_replace":
                    raise ProviderRefused(self.name, "the app's moderation withheld the answer")
                elif kind == "error":
                    raise self._stream_error(data)
                elif kind == "workflow_finished" and text_at(data, "data", "status") == "failed":
                    reason = readable(text_at(data, "data", "error"), (self._options.api_key,))
                    raise ProviderUnavailable(self.name, f"the app's workflow failed: {reason}")
                elif kind == "message_end":
                    ended = True
                    used = child(data, "metadata", "usage")
                    if isinstance(used, dict):
                        yield Usage(count_at(used, "prompt_tokens"), count_at(used, "completion_tokens"))
        if not ended:
            raise ProviderBadAnswer(self.name, "the answer has no end")

    def _stream_error(self, data: Mapping[str, object]) -> ProviderError:
        """An error event within a stream that had begun well."""
        message = readable(text_at(data, "message"), (self._options.api_key,))
        status, code = count_at(data, "status"), text_at(data, "code")
        if status == 429 or "rate_limit" in code:
            return ProviderRateLimited(self.name, message)
        if 400 <= status < 500:
            return ProviderRefused(self.name, message)
        return ProviderUnavailable(self.name, message)


def _question(messages: Sequence[ChatMessage], *, with_history: bool) -> str:
    """The question; `with_history` after the dialogue before it, for which Dify has no field of its own."""
    question = messages[-1].content if messages else ""
    names = {"user": "User", "assistant": "Assistant"}
    said = [
        f"{names[message.role]}: {message.content}"
        for message in messages[:-1]
        if message.role in names and message.content
    ]
    if not with_history or not said:
        return question
    return "\n".join(["Our conversation so far:", *said, "", f"User: {question}"])
