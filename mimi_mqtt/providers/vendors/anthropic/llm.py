"""Language models of Anthropic, through the `anthropic` package: streaming, tools and images."""

import base64
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, SecretStr

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.chat import (
    ChatMessage,
    ChatOptions,
    LlmEvent,
    TextDelta,
    ToolCall,
    ToolSpec,
    Usage,
)
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.http.client import ClientProvider, LazyClient, trusted_certificates
from mimi_mqtt.providers.http.errors import readable, status_error
from mimi_mqtt.providers.runtime.lru import Lru
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.openai.compatible import parse_arguments

if TYPE_CHECKING:
    from anthropic import APIStatusError, AsyncAnthropic, AsyncStream
    from anthropic.types import (
        ContentBlockParam,
        ImageBlockParam,
        MessageParam,
        RawMessageStreamEvent,
        ThinkingConfigParam,
        ToolParam,
        ToolResultBlockParam,
    )

OFFICIAL_URL = "https://api.anthropic.com"

# A dialogue must begin with the user, also when the assistant spoke first.
_OPENING = "(The user has just woken you.)"


class AnthropicOptions(ProviderOptions):
    """Options of `providers.options.anthropic`."""

    environment: ClassVar[Mapping[str, str | tuple[str, ...]]] = {
        "api_key": "ANTHROPIC_API_KEY",
        "base_url": "ANTHROPIC_BASE_URL",
    }
    required: ClassVar[tuple[str, ...]] = ("api_key",)

    api_key: SecretStr | None = None
    """The key. Empty: the variable ANTHROPIC_API_KEY."""

    base_url: str = Field(OFFICIAL_URL, pattern=r"^https?://[^/]")
    """Address of the service, for a proxy or a compatible server."""

    llm_model: str = "claude-haiku-5-5"
    """Chat model."""

    llm_max_tokens: int = Field(1024, ge=1)
    """Longest answer with its thoughts, in tokens."""

    llm_thinking: Literal["disabled", "adaptive"] | None = "disabled"
    """Reasoning before the answer. Empty: the model's own default, which some models need."""

    llm_effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    """Thoroughness of the model. Empty: its own default."""

    llm_cache: bool = True
    """Have the prompt and the dialogue so far kept for the next turn, which then begins sooner."""


@dataclass(slots=True)
class _Answer:
    """One answer while it comes: its blocks by index, thoughts as they must be given back."""

    input_tokens: int = 0
    output_tokens: int = 0
    counted: bool = False
    ended: bool = False
    refused: bool = False
    spoke: bool = False
    calls: dict[int, tuple[str, str]] = field(default_factory=dict)
    arguments: dict[int, str] = field(default_factory=dict)
    thoughts: "dict[int, dict[str, str]]" = field(default_factory=dict)


class _Client(LazyClient["AsyncAnthropic"]):
    def __init__(self, name: str, options: AnthropicOptions, limits: Limits) -> None:
        super().__init__()
        self._name = name
        self._options = options
        self._limits = limits

    def _make(self) -> "AsyncAnthropic":
        demand(self._name, self._options)
        load_package("anthropic", self._name, "anthropic")
        import httpx2
        from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

        key = self._options.api_key
        client = AsyncAnthropic(
            api_key=None if key is None else key.get_secret_value(),
            base_url=self._options.base_url,
            timeout=self._limits.timeout_s,
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(verify=trusted_certificates(httpx2.create_ssl_context)),
        )
        _ = client.messages  # imported when first touched
        return client

    async def _close(self, made: "AsyncAnthropic") -> None:
        await made.close()


class AnthropicLanguageModel(ClientProvider, LanguageModel):
    """`POST /v1/messages` with server-sent events."""

    Options = AnthropicOptions
    packages = ("anthropic",)
    extra = "anthropic"
    _client: _Client

    def __init__(self, name: str, options: AnthropicOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._client = _Client(name, options, limits)
        # Thoughts that came before a round of calls, by the first call's id: they go back with the results.
        self._thoughts = Lru[list[dict[str, str]]]()

    @property
    def sees(self) -> bool:
        """Every model of Anthropic does."""
        return True

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        client = await self._client.get()
        answer = _Answer()
        async with self._errors(), await self._open(client, messages, tools) as events:
            async for event in events:
                if text := self._take(answer, event):
                    yield TextDelta(text)
        for last in self._finish(answer):
            yield last

    async def _open(
        self, client: "AsyncAnthropic", messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]
    ) -> "AsyncStream[RawMessageStreamEvent]":
        from anthropic import omit

        options = self._options
        past = _past_tools(messages) if not tools else ()
        thinking: ThinkingConfigParam = {"type": "disabled"}
        if options.llm_thinking == "adaptive":
            thinking = {"type": "adaptive"}
        return await client.messages.create(
            model=options.llm_model,
            max_tokens=options.llm_max_tokens,
            system=_system(messages) or omit,
            messages=self._messages(messages),
            tools=[_tool(tool) for tool in (*tools, *past)] or omit,
            tool_choice={"type": "none"} if past else omit,
            thinking=omit if options.llm_thinking is None else thinking,
            output_config=omit if options.llm_effort is None else {"effort": options.llm_effort},
            cache_control={"type": "ephemeral"} if options.llm_cache else omit,
            stream=True,
        )

    def _take(self, answer: _Answer, event: "RawMessageStreamEvent") -> str:
        """The text that `event` adds to the answer; everything else is kept in `answer`."""
        match event.type:
            case "message_start":
                usage = event.message.usage
                cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
                answer.input_tokens, answer.counted = usage.input_tokens + cached, True
            case "content_block_start":
                block = event.content_block
                if block.type == "tool_use":
                    answer.calls[event.index] = (block.id, block.name)
                elif block.type == "thinking":
                    answer.thoughts[event.index] = {
                        "type": "thinking",
                        "thinking": block.thinking,
                        "signature": block.signature,
                    }
                elif block.type == "redacted_thinking":
                    answer.thoughts[event.index] = {"type": "redacted_thinking", "data": block.data}
                elif block.type == "text" and block.text:
                    answer.spoke = True
                    return block.text
            case "content_block_delta":
                delta = event.delta
                if delta.type == "text_delta":
                    answer.spoke = True
                    return delta.text
                if delta.type == "input_json_delta":
                    answer.arguments[event.index] = answer.arguments.get(event.index, "") + delta.partial_json
                elif delta.type == "thinking_delta":
                    answer.thoughts[event.index]["thinking"] += delta.thinking
                elif delta.type == "signature_delta":
                    answer.thoughts[event.index]["signature"] = delta.signature
            case "message_delta":
                answer.output_tokens = event.usage.output_tokens
                answer.refused = event.delta.stop_reason == "refusal"
            case "message_stop":
                answer.ended = True
        return ""

    def _finish(self, answer: _Answer) -> Iterable[LlmEvent]:
        if answer.refused and not answer.spoke:
            raise ProviderRefused(self.name, "the model declines to answer")
        if answer.counted and not answer.ended:
            raise ProviderUnavailable(self.name, "the answer broke off")
        calls = []
        for index, (call_id, name) in answer.calls.items():
            arguments = parse_arguments(self.name, answer.arguments.get(index, ""))
            calls.append(ToolCall(call_id, name, arguments))
        if calls and answer.thoughts:
            self._thoughts.keep(calls[0].id, list(answer.thoughts.values()))
        yield from calls
        if answer.counted:
            yield Usage(answer.input_tokens, answer.output_tokens)

    def _messages(self, messages: Sequence[ChatMessage]) -> "list[MessageParam]":
        """The dialogue as Anthropic has it: two roles in turns, all results of a round in one message."""
        dialogue: list[MessageParam] = []
        blocks: list[ContentBlockParam] = []
        for message in messages:
            role = "assistant" if message.role == "assistant" else "user"
            new = list(self._blocks(message))
            if not new:
                continue
            if dialogue and dialogue[-1]["role"] == role:
                blocks.extend(new)
            else:
                blocks = new
                turn: MessageParam = {"role": "user", "content": blocks}
                if role == "assistant":
                    turn = {"role": "assistant", "content": blocks}
                dialogue.append(turn)
        if dialogue and dialogue[0]["role"] == "assistant":
            dialogue.insert(0, {"role": "user", "content": _OPENING})
        return dialogue

    def _blocks(self, message: ChatMessage) -> "Iterable[ContentBlockParam]":
        if message.role == "system":
            return
        if message.role == "tool":
            result: ToolResultBlockParam = {
                "type": "tool_result",
                "tool_use_id": _call_id(message.tool_call_id),
                "content": message.content,
            }
            yield result
            return
        if message.tool_calls:
            for thought in self._thoughts.get(message.tool_calls[0].id) or ():
                yield _thought(thought)
        for image in message.images:
            yield _image(image)
        if message.content.strip():  # an empty text is refused
            yield {"type": "text", "text": message.content}
        for call in message.tool_calls:
            yield {
                "type": "tool_use",
                "id": _call_id(call.id),
                "name": call.name,
                "input": dict(call.arguments),
            }

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Turns what the SDK raises inside into ProviderError kinds."""
        import httpx2
        from anthropic import APIConnectionError, APIError, APIStatusError, APITimeoutError

        try:
            yield
        except (APITimeoutError, httpx2.TimeoutException) as error:
            raise ProviderTimeout(self.name, f"no answer within {self.limits.timeout_s:g} s") from error
        except (APIConnectionError, httpx2.TransportError) as error:
            cause = type(error.__cause__ or error).__name__
            where = self._options.base_url
            raise ProviderUnavailable(self.name, f"can't reach {where}, or it hung up ({cause})") from error
        except APIStatusError as error:
            raise self._status_error(error) from error
        except (APIError, ValueError, AttributeError, TypeError, LookupError) as error:
            # The SDK doesn't validate: a field that is missing or of another type shows up on use.
            # The text of such an error may hold what was said.
            raise ProviderBadAnswer(
                self.name, f"the answer has an unknown shape ({type(error).__name__})"
            ) from error

    def _status_error(self, error: "APIStatusError") -> ProviderError:
        body = json.dumps(error.body) if isinstance(error.body, dict) else str(error.body or "")
        message = readable(body, (self._options.api_key,))
        where = f"providers.options.{self.name}"
        if error.status_code < 400:  # an error event within a stream that had begun well
            kind = error.type or ""
            if kind == "rate_limit_error":
                return ProviderRateLimited(self.name, message)
            if kind in ("invalid_request_error", "authentication_error", "permission_error"):
                return ProviderRefused(self.name, message)
            return ProviderUnavailable(self.name, message or "the answer broke off")
        cures = {
            401: f"set ANTHROPIC_API_KEY or {where}.api_key",
            403: "the key may not do this",
            404: f"see the model names and base_url in {where}",
        }
        return status_error(self.name, error.status_code, message, error.response.headers, cures)


def _system(messages: Sequence[ChatMessage]) -> str:
    return "\n\n".join(message.content for message in messages if message.role == "system")


def _tool(tool: ToolSpec) -> "ToolParam":
    schema = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {"name": tool.name, "description": tool.description, "input_schema": schema}


def _past_tools(messages: Sequence[ChatMessage]) -> tuple[ToolSpec, ...]:
    """Definitions of the tools that the dialogue mentions: without them it is refused."""
    names = dict.fromkeys(call.name for message in messages for call in message.tool_calls)
    return tuple(ToolSpec(name, "", {}) for name in names)


def _call_id(call_id: str) -> str:
    """Another vendor's id, in the characters that are allowed here."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", call_id)


def _image(image: bytes) -> "ImageBlockParam":
    data = base64.b64encode(image).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": data}}


def _thought(thought: Mapping[str, str]) -> "ContentBlockParam":
    if thought["type"] == "redacted_thinking":
        return {"type": "redacted_thinking", "data": thought["data"]}
    return {"type": "thinking", "thinking": thought["thinking"], "signature": thought["signature"]}
