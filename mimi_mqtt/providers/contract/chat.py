"""Input and output of language models: messages, tools and the parts of an answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it: `name` of letters, digits, `_` and `-`; `parameters` is a JSON schema.

    `read_only`: calling it changes nothing, so that its results may be thrown away.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool called."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a dialogue; a `tool` message answers the call `tool_call_id`.

    `images` are JPEG files that the user shows; a model that can't see is not given any.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A further piece of the answer's text; `language` where it is not the one that was asked for."""

    text: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request; those of audio are included in the totals."""

    input_tokens: int
    output_tokens: int
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0


LlmEvent = TextDelta | ToolCall | Usage


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """Circumstances of a request: the language to answer in, the time zone, the device."""

    language: str = "en"
    timezone: str | None = None
    device_id: str = ""
