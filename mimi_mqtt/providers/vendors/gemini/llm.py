"""Language models of Google, through `google-genai`: streaming, tools and images.

The SDK is used because its types carry what Gemini needs back unchanged: newer models sign a tool call with a
thought signature and refuse a dialogue in which it is missing.
"""

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from mimi_mqtt.errors import ProviderBadAnswer, ProviderRefused
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
from mimi_mqtt.providers.runtime.lru import Lru
from mimi_mqtt.providers.runtime.resilience import Limits, closing_parts
from mimi_mqtt.providers.vendors.gemini.client import (
    WITHHELD,
    GeminiOptions,
    GeminiProvider,
    ThinkingLevel,
    functions,
    thinking,
)

if TYPE_CHECKING:
    from google.genai.types import Content, GenerateContentConfig, GenerateContentResponse, Part

# Google's word for a call that it did not make itself, such as another vendor's earlier in the dialogue.
_FOREIGN_CALL = b"skip_thought_signature_validator"
# A dialogue begins with the user, also when the assistant spoke first.
_OPENING = "(The user has just woken you.)"
_WITHOUT_SIGNATURES = ("gemini-1", "gemini-2")

# Why an answer ended, when the model could not go on (FinishReason of the API).
_BROKEN = {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"}


class GeminiLlmOptions(GeminiOptions):
    """Options of `providers.options.gemini` for thinking."""

    llm_model: str = "gemini-3.5-flash-lite"
    """Chat model."""

    llm_temperature: float | None = Field(None, ge=0, le=2)
    """Sampling temperature. Empty: the model's own."""

    llm_max_tokens: int | None = Field(None, ge=1)
    """Longest answer with its thoughts, in tokens. Empty: the model's own."""

    llm_thinking_level: ThinkingLevel | None = None
    """The amount of thinking before an answer, from Gemini 3 on. Empty: the model's own default."""

    llm_thinking_budget: int | None = Field(None, ge=-1)
    """The same for Gemini 2.5, in tokens: 0 is none, -1 as the model likes. Empty: its own default."""


class GeminiLanguageModel(GeminiProvider, LanguageModel):
    """`POST /v1beta/models/{model}:streamGenerateContent` with server-sent events."""

    Options = GeminiLlmOptions

    def __init__(self, name: str, options: GeminiLlmOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._signatures = Lru[bytes]()

    @property
    def sees(self) -> bool:
        """Every model of Gemini does."""
        return True

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        client = await self._client.get()
        async with self._client.errors():
            answer = await client.models.generate_content_stream(
                model=self._options.llm_model,
                contents=self._contents(messages),
                config=self._config(messages, tools),
            )
            async with closing_parts(answer) as chunks:
                async for chunk in chunks:
                    for event in self._events(chunk):
                        yield event

    def _config(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> "GenerateContentConfig":
        from google.genai import types

        options = self._options
        return types.GenerateContentConfig(
            system_instruction=_instruction(messages),
            temperature=options.llm_temperature,
            max_output_tokens=options.llm_max_tokens,
            thinking_config=thinking(options.llm_thinking_level, options.llm_thinking_budget),
            tools=[types.Tool(function_declarations=functions(tools))] if tools else None,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )

    def _contents(self, messages: Sequence[ChatMessage]) -> "list[Content]":
        """The dialogue as Gemini has it: two roles in turns, the results of a round of calls in one."""
        from google.genai import types

        names = {call.id: call.name for message in messages for call in message.tool_calls}
        contents: list[Content] = []
        for message in messages:
            role = "model" if message.role == "assistant" else "user"
            parts = list(self._parts(message, names))
            if not parts:
                continue
            if contents and contents[-1].role == role and contents[-1].parts is not None:
                contents[-1].parts.extend(parts)
            else:
                contents.append(types.Content(role=role, parts=parts))
        if contents and contents[0].role == "model":
            contents.insert(0, types.Content(role="user", parts=[types.Part(text=_OPENING)]))
        return contents

    def _parts(self, message: ChatMessage, names: dict[str, str]) -> "Iterable[Part]":
        from google.genai import types

        if message.role == "system":
            return
        if message.role == "tool":
            yield types.Part(
                function_response=types.FunctionResponse(
                    id=message.tool_call_id,
                    name=names.get(message.tool_call_id, message.tool_call_id),
                    response={"result": message.content},
                )
            )
            return
        if message.content:
            yield types.Part(text=message.content)
        for image in message.images:
            yield types.Part(inline_data=types.Blob(data=image, mime_type="image/jpeg"))
        signatures = [self._signatures.get(call.id) for call in message.tool_calls]
        if signatures and not any(signatures) and not self._options.llm_model.startswith(_WITHOUT_SIGNATURES):
            signatures[0] = _FOREIGN_CALL
        for call, signature in zip(message.tool_calls, signatures, strict=True):
            function = types.FunctionCall(id=call.id, name=call.name, args=dict(call.arguments))
            yield types.Part(function_call=function, thought_signature=signature)

    def _events(self, chunk: "GenerateContentResponse") -> Iterable[LlmEvent]:
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
            raise ProviderRefused(
                self.name, f"blocked the question ({chunk.prompt_feedback.block_reason.value})"
            )
        candidate = chunk.candidates[0] if chunk.candidates else None
        content = None if candidate is None else candidate.content
        spoke = False
        for part in (content.parts if content is not None else None) or ():
            if part.text and not part.thought:
                spoke = True
                yield TextDelta(part.text)
            if part.function_call is not None:
                yield self._tool_call(part)
        reason = candidate.finish_reason if candidate is not None else None
        if reason is not None and reason.value in _BROKEN:
            raise ProviderBadAnswer(self.name, f"could not end its answer ({reason.value})")
        if reason is not None and reason.value in WITHHELD and not spoke:
            raise ProviderRefused(self.name, f"withheld its answer ({reason.value})")
        used = chunk.usage_metadata
        if used is not None:
            thoughts = used.thoughts_token_count or 0
            yield Usage(used.prompt_token_count or 0, (used.candidates_token_count or 0) + thoughts)

    def _tool_call(self, part: "Part") -> ToolCall:
        call = part.function_call
        if call is None or not call.name:
            raise ProviderBadAnswer(self.name, "a tool call has no name")
        call_id = call.id or f"call_{secrets.token_hex(8)}"
        if part.thought_signature:
            self._signatures.keep(call_id, part.thought_signature)
        return ToolCall(call_id, call.name, call.args or {})


def _instruction(messages: Sequence[ChatMessage]) -> str | None:
    return "\n\n".join(message.content for message in messages if message.role == "system") or None
