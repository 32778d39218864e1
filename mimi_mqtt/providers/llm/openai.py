"""Language models of OpenAI or a compatible server, through streamed chat completions with tools."""

import json
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mimi_mqtt.errors import ProviderBadAnswer, ProviderRefused
from mimi_mqtt.providers.base import (
    ChatMessage,
    ChatOptions,
    LanguageModel,
    Limits,
    LlmEvent,
    TextDelta,
    ToolCall,
    ToolSpec,
    Usage,
)
from mimi_mqtt.providers.openai_compatible import OpenAiClient, OpenAiOptions, parse_arguments

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import (
        ChatCompletionChunk,
        ChatCompletionFunctionToolParam,
        ChatCompletionMessageFunctionToolCallParam,
        ChatCompletionMessageParam,
    )

logger = logging.getLogger(__name__)

_THINK, _THOUGHT = "<think>", "</think>"


class OpenAiLlmOptions(OpenAiOptions):
    """Options of `providers.options.openai` for thinking."""

    llm_model: str = "gpt-5.4-mini"
    """Chat model."""

    llm_temperature: float | None = Field(None, ge=0, le=2)
    """Sampling temperature. Empty: the model's own; models that reason refuse any other."""

    llm_max_tokens: int | None = Field(None, ge=1)
    """Longest answer, in tokens. Empty: the model's own."""

    llm_reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    """How long the model thinks before it answers. Empty: its own default."""

    llm_usage: bool = True
    """Ask for the token count; a server that refuses is not asked again."""


class OpenAiLanguageModel(LanguageModel):
    """`POST /chat/completions` with server-sent events."""

    Options = OpenAiLlmOptions

    def __init__(self, name: str, options: OpenAiLlmOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._client = OpenAiClient(name, options, limits)
        self._ask_usage = options.llm_usage

    async def start(self) -> None:
        """Makes the client. Raises ProviderNotConfigured."""
        await self._client.get()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        client = await self._client.get()
        thinking = ThinkingFilter()
        calls = ToolCallAssembler(self.name)
        async with self._client.errors():
            async with await self._open(client, messages, tools) as chunks:
                async for chunk in chunks:
                    if chunk.usage is not None:
                        yield Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                    for choice in chunk.choices or ():
                        if text := thinking.feed(choice.delta.content or choice.delta.refusal or ""):
                            yield TextDelta(text)
                        for call in choice.delta.tool_calls or ():
                            calls.add(call.model_dump(warnings=False))
            if text := thinking.flush():
                yield TextDelta(text)
            for tool_call in calls.finish():
                yield tool_call

    async def _open(
        self, client: "AsyncOpenAI", messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]
    ) -> "AsyncStream[ChatCompletionChunk]":
        if self._ask_usage:
            try:
                async with self._client.errors():
                    return await self._request(client, messages, tools)
            except ProviderRefused as error:
                if "stream_options" not in str(error):
                    raise
                logger.info("%s does not count tokens in streams; not asked again", self.name)
                self._ask_usage = False
        return await self._request(client, messages, tools)

    async def _request(
        self, client: "AsyncOpenAI", messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]
    ) -> "AsyncStream[ChatCompletionChunk]":
        from openai import omit

        options = self._options
        longest = options.llm_max_tokens or omit
        return await client.chat.completions.create(
            model=options.llm_model,
            messages=[_message(message) for message in messages],
            tools=[_tool(tool) for tool in tools] or omit,
            temperature=omit if options.llm_temperature is None else options.llm_temperature,
            # OpenAI renamed the parameter; most compatible servers know only the old name.
            max_completion_tokens=longest if options.official else omit,
            max_tokens=omit if options.official else longest,
            reasoning_effort=options.llm_reasoning_effort or omit,
            stream=True,
            stream_options={"include_usage": True} if self._ask_usage else omit,
        )


def _message(message: ChatMessage) -> "ChatCompletionMessageParam":
    match message.role:
        case "system":
            return {"role": "system", "content": message.content}
        case "user":
            return {"role": "user", "content": message.content}
        case "tool":
            return {"role": "tool", "content": message.content, "tool_call_id": message.tool_call_id}
        case "assistant":
            if not message.tool_calls:
                return {"role": "assistant", "content": message.content}
            return {
                "role": "assistant",
                "content": message.content or None,
                "tool_calls": [_past_call(call) for call in message.tool_calls],
            }


def _past_call(call: ToolCall) -> "ChatCompletionMessageFunctionToolCallParam":
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _tool(tool: ToolSpec) -> "ChatCompletionFunctionToolParam":
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


@dataclass(slots=True)
class _PartialCall:
    index: int | None
    id: str
    name: str = ""
    arguments: str = ""


class ToolCallAssembler:
    """Puts tool calls together from their deltas.

    OpenAI numbers the calls and sends id and name once. Compatible servers leave out the index, number every
    call 0, repeat id and name in each delta, leave out the id, or send the arguments as an object.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._calls: list[_PartialCall] = []

    def add(self, delta: dict[str, object]) -> None:
        """Takes one element of a chunk's `tool_calls`."""
        index = delta.get("index")
        index = index if isinstance(index, int) else None
        call_id = _text(delta.get("id"))
        function = delta.get("function")
        function = function if isinstance(function, dict) else {}
        name = _text(function.get("name"))
        call = self._find(index, call_id, name)
        if call is None:
            call = _PartialCall(index, call_id)
            self._calls.append(call)
        call.id = call.id or call_id
        call.name = call.name or name
        arguments = function.get("arguments")
        call.arguments += json.dumps(arguments) if isinstance(arguments, dict) else _text(arguments)

    def _find(self, index: int | None, call_id: str, name: str) -> _PartialCall | None:
        if index is None and not call_id:
            last = self._calls[-1] if self._calls else None
            return None if last is None or (name and last.name and last.arguments) else last
        for call in reversed(self._calls):
            if call_id and call.id:
                if call.id == call_id:
                    return call
            elif index is None or call.index == index:
                return call
        return None

    def finish(self) -> Iterable[ToolCall]:
        """The whole calls. Raises ProviderBadAnswer for one without a name or with broken arguments."""
        for call in self._calls:
            if not call.name:
                raise ProviderBadAnswer(self._provider, "a tool call has no name")
            arguments = parse_arguments(self._provider, call.arguments)
            yield ToolCall(call.id or f"call_{secrets.token_hex(8)}", call.name, arguments)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


class ThinkingFilter:
    """Drops the `<think>…</think>` that some models begin their answer with: it is not to be spoken."""

    def __init__(self) -> None:
        self._held = ""
        self._state: Literal["start", "thinking", "thought", "answer"] = "start"

    def feed(self, text: str) -> str:
        """What of `text`, and of what was held back, belongs to the answer."""
        if self._state == "answer":
            return text
        self._held += text
        if self._state == "start":
            beginning = self._held.lstrip()
            if _THINK.startswith(beginning):
                return ""
            self._state = "thinking" if beginning.startswith(_THINK) else "answer"
        if self._state == "thinking":
            _, closed, rest = self._held.partition(_THOUGHT)
            # Unclosed: enough is kept to recognise a tag that is cut in two.
            self._held = rest if closed else self._held[-len(_THOUGHT) :]
            if not closed:
                return ""
            self._state = "thought"
        if self._state == "thought":
            self._held = self._held.lstrip()
            if not self._held:
                return ""
            self._state = "answer"
        return self.flush()

    def flush(self) -> str:
        """What is held back when the answer ends; an unfinished thought is dropped."""
        held, self._held = self._held, ""
        return "" if self._state == "thinking" else held
