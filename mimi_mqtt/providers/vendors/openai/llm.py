"""Language models of OpenAI and of every service that speaks its protocol (`presets`).

Streamed chat completions with tools and images, through the `openai` package.
"""

import base64
import hashlib
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mimi_mqtt.errors import ProviderBadAnswer, ProviderNotConfigured, ProviderRefused
from mimi_mqtt.providers.catalog.presets import preset
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
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.openai.compatible import OpenAiOptions, OpenAiProvider, parse_arguments

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import (
        ChatCompletionChunk,
        ChatCompletionContentPartParam,
        ChatCompletionFunctionToolParam,
        ChatCompletionMessageFunctionToolCallParam,
        ChatCompletionMessageParam,
    )
    from openai.types.chat.chat_completion_message_function_tool_call_param import Function

logger = logging.getLogger(__name__)

# Families of models that see, by their names at their makers.
_SEES = re.compile(
    r"gpt-(?:4o|4\.|[5-9])|\bo[34]\b|vision|(?:^|[-_./0-9])vl(?:[-_.:]|$)|llava|pixtral|gemini|claude|gemma-?[3-9]"
    r"|grok-(?:[3-9]|vision)|llama-?(?:3\.2-vision|4)|minicpm-v|internvl|moondream|mistral-(?:small|medium)-?3|omni",
    re.IGNORECASE,
)

_THINK, _THOUGHT = "<think>", "</think>"


class OpenAiLlmOptions(OpenAiOptions):
    """Options of `providers.options.openai` for thinking."""

    llm_model: str = "gpt-5.4-mini"
    """Chat model; at Azure the name of its deployment. Empty: the first one that the server lists."""

    llm_temperature: float | None = Field(None, ge=0, le=2)
    """Sampling temperature. Empty: the model's own; models that reason refuse any other."""

    llm_max_tokens: int | None = Field(None, ge=1)
    """Longest answer, in tokens. Empty: the model's own."""

    llm_reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    """The amount of thinking before an answer. Empty: the model's own default."""

    llm_vision: bool | None = None
    """True when the model sees pictures. Empty: told by its name, such as gpt-5, qwen2.5-vl or llava."""

    llm_usage: bool = True
    """Ask for the token count; a server that refuses is not asked again."""

    llm_extra: dict[str, object] = Field(default_factory=dict)
    """Further fields of the request that only this server knows, such as {top_k: 20}."""


class OpenAiLanguageModel(OpenAiProvider, LanguageModel):
    """`POST /chat/completions` with server-sent events."""

    Options = OpenAiLlmOptions

    def __init__(self, name: str, options: OpenAiLlmOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._ask_usage = options.llm_usage
        self._found_model = ""
        found = preset(name)
        self._nine_char_ids = found.nine_char_ids
        # OpenAI renamed the parameter; most compatible servers know only the old name.
        self._new_names = found.client == "azure" or options.official

    @property
    def sees(self) -> bool:
        """As `llm_vision` says, else as the model's name tells."""
        options = self._options
        if options.llm_vision is not None:
            return options.llm_vision
        return _SEES.search(options.llm_model or self._found_model) is not None

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
        try:
            async with self._client.errors():
                return await self._request(client, messages, tools)
        except ProviderRefused as error:
            self._found_model = ""  # another one may be served by now
            if not self._ask_usage or "stream_options" not in str(error):
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
            model=options.llm_model or await self._first_model(client),
            messages=[self._message(message) for message in messages],
            tools=[_tool(tool) for tool in tools] or omit,
            temperature=omit if options.llm_temperature is None else options.llm_temperature,
            max_completion_tokens=longest if self._new_names else omit,
            max_tokens=omit if self._new_names else longest,
            reasoning_effort=options.llm_reasoning_effort or omit,
            stream=True,
            stream_options={"include_usage": True} if self._ask_usage else omit,
            extra_body=options.llm_extra or None,
        )

    async def _first_model(self, client: "AsyncOpenAI") -> str:
        """The first model of `GET /models` that is no embedding; asked for again after a refusal."""
        if not self._found_model:
            page = await client.models.list()
            names = [model.id for model in page.data if "embed" not in model.id.lower()]
            if not names:
                setting = f"providers.options.{self.name}.llm_model"
                raise ProviderNotConfigured(self.name, f"serves no model: load one there, or set {setting}")
            self._found_model = names[0]
            logger.info("%s serves %s", self.name, self._found_model)
        return self._found_model

    def _message(self, message: ChatMessage) -> "ChatCompletionMessageParam":
        match message.role:
            case "system":
                return {"role": "system", "content": message.content}
            case "user":
                return {"role": "user", "content": _content(message)}
            case "tool":
                call_id = self._call_id(message.tool_call_id)
                return {"role": "tool", "content": message.content, "tool_call_id": call_id}
            case "assistant":
                if not message.tool_calls:
                    return {"role": "assistant", "content": message.content}
                return {
                    "role": "assistant",
                    "content": message.content or None,
                    "tool_calls": [self._past_call(call) for call in message.tool_calls],
                }

    def _past_call(self, call: ToolCall) -> "ChatCompletionMessageFunctionToolCallParam":
        function: Function = {
            "name": call.name,
            "arguments": json.dumps(dict(call.arguments), ensure_ascii=False),
        }
        return {"id": self._call_id(call.id), "type": "function", "function": function}

    def _call_id(self, call_id: str) -> str:
        """`call_id`, or what stands for it where an id must be nine letters and digits."""
        if not self._nine_char_ids or re.fullmatch("[A-Za-z0-9]{9}", call_id):
            return call_id
        return hashlib.sha256(call_id.encode()).hexdigest()[:9]


def _content(message: ChatMessage) -> "str | list[ChatCompletionContentPartParam]":
    if not message.images:
        return message.content
    parts: list[ChatCompletionContentPartParam] = [
        {
            "type": "image_url",
            "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"},
        }
        for image in message.images
    ]
    return [{"type": "text", "text": message.content}, *parts] if message.content else parts


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
        """The part of `text`, and of the text held back, that belongs to the answer."""
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
        """The text held back at the end of the answer; an unfinished thought is dropped."""
        held, self._held = self._held, ""
        return "" if self._state == "thinking" else held
