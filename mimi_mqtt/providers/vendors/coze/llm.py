"""Bots of Coze (coze.com or coze.cn), over plain HTTP and SSE.

The dialogue goes along with each question, so that the bot knows what was really heard, also after a restart
or another provider's answer; Coze is told to keep none of it. The bot has its own prompt and its own plugins.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
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

# Codes of Coze's own that mean to slow down; 5000 and its kind are failures of the service.
_RATE_LIMITS = {4009, 4013, 4019}
_FAILURES = range(5000, 6000)


class CozeOptions(HostedAgentOptions):
    """Options of `providers.options.coze`."""

    environment: ClassVar[Mapping[str, str | tuple[str, ...]]] = {
        "api_key": "COZE_API_TOKEN",
        "bot_id": "COZE_BOT_ID",
        "base_url": "COZE_BASE_URL",
    }
    required: ClassVar[tuple[str, ...]] = ("api_key", "bot_id")

    api_key: SecretStr | None = None
    """The access token, such as pat_…. Empty: the variable COZE_API_TOKEN."""

    bot_id: str | None = None
    """The published bot. Empty: the variable COZE_BOT_ID."""

    base_url: str = Field("https://api.coze.com", pattern=r"^https?://[^/]")
    """Address of the API; https://api.coze.cn for bots made in China."""

    llm_variables: dict[str, str] = Field(default_factory=dict)
    """Values of the variables in the bot's prompt."""


class CozeBot(HostedAgent):
    """`POST /v3/chat` with server-sent events."""

    Options = CozeOptions

    cures: ClassVar[Mapping[int, str]] = {401: "set COZE_API_TOKEN or {where}.api_key"}

    def __init__(self, name: str, options: CozeOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        demand(self.name, self._options)
        body = {
            "bot_id": self._options.bot_id,
            "user_id": options.device_id or "mimi",
            "stream": True,
            "auto_save_history": False,
            "additional_messages": [_message(message) for message in messages if _said(message)],
            "custom_variables": self._options.llm_variables,
        }
        ended = False
        async with self._http.post("/v3/chat", body) as response:
            if "json" in response.headers.get("content-type", ""):
                # A refusal with status 200: an object in place of the stream.
                raise self._refusal(await self._http.json(response))
            async with aclosing(self._http.events(response)) as events:
                async for event in events:
                    if event.kind == "done":
                        ended = True
                        break
                    for part in self._take(event.kind, json_object(self.name, event.data)):
                        yield part
        if not ended:
            raise ProviderBadAnswer(self.name, "the answer has no end")

    def _take(self, kind: str, data: Mapping[str, object]) -> Iterable[LlmEvent]:
        match kind:
            case "conversation.message.delta":
                if text_at(data, "type") == "answer" and text_at(data, "content_type") in ("text", ""):
                    yield TextDelta(text_at(data, "content"))
            case "conversation.chat.completed":
                used = child(data, "usage")
                if isinstance(used, dict):
                    yield Usage(count_at(used, "input_count"), count_at(used, "output_count"))
            case "conversation.chat.failed":
                raise self._failure(count_at(data, "last_error", "code"), text_at(data, "last_error", "msg"))
            case "conversation.chat.requires_action":
                raise ProviderRefused(
                    self.name, "the bot waits for a plugin on this machine: remove it there"
                )
            case "error":
                raise self._failure(count_at(data, "code"), text_at(data, "msg"))

    def _refusal(self, data: Mapping[str, object]) -> ProviderError:
        code = count_at(data, "code")
        if not code:
            return ProviderBadAnswer(self.name, "answered with JSON in place of a stream")
        return self._failure(code, text_at(data, "msg"))

    def _failure(self, code: int, message: str) -> ProviderError:
        said = f"{readable(message, (self._options.api_key,))} (code {code})"
        if code in _RATE_LIMITS:
            return ProviderRateLimited(self.name, f"too many requests: {said}")
        if code in _FAILURES or not code:
            return ProviderUnavailable(self.name, said)
        where = f"providers.options.{self.name}"
        return ProviderRefused(self.name, f"{said}; see api_key and bot_id in {where}")


def _said(message: ChatMessage) -> bool:
    return message.role in ("user", "assistant") and bool(message.content)


def _message(message: ChatMessage) -> Mapping[str, str]:
    kind = "question" if message.role == "user" else "answer"
    return {"role": message.role, "type": kind, "content": message.content, "content_type": "text"}
