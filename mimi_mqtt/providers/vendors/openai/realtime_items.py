"""Messages and tools as OpenAI's Realtime API takes them."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mimi_mqtt.providers.contract.chat import ChatMessage, ToolSpec

if TYPE_CHECKING:
    from openai.types.realtime import (
        ConversationItemParam,
        RealtimeToolsConfigParam,
    )
    from openai.types.realtime.realtime_conversation_item_user_message_param import Content

_LONGEST_ID: Final = 32


def items(message: ChatMessage) -> "Iterator[ConversationItemParam]":
    """`message` as items of a conversation."""
    match message.role:
        case "tool":
            yield {
                "type": "function_call_output",
                "call_id": _call_id(message.tool_call_id),
                "output": message.content,
            }
        case "system":
            yield {
                "type": "message",
                "role": "system",
                "content": [{"type": "input_text", "text": message.content}],
            }
        case "user":
            yield {"type": "message", "role": "user", "content": [*_content(message)]}
        case "assistant":
            if message.content:
                yield {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": message.content}],
                }
            for call in message.tool_calls:
                yield {
                    "type": "function_call",
                    "call_id": _call_id(call.id),
                    "name": call.name,
                    "arguments": json.dumps(dict(call.arguments)),
                }


def _call_id(name: str) -> str:
    """`name`, which may be another service's and too long for this one."""
    return name if len(name) <= _LONGEST_ID else hashlib.sha256(name.encode()).hexdigest()[:_LONGEST_ID]


def _content(message: ChatMessage) -> "Iterator[Content]":
    yield {"type": "input_text", "text": message.content}
    for image in message.images:
        yield {
            "type": "input_image",
            "image_url": f"data:image/jpeg;base64,{base64.b64encode(image).decode()}",
        }


def tools(specs: Sequence[ToolSpec]) -> "RealtimeToolsConfigParam":
    """`specs` as the service wants them."""
    return [
        {
            "type": "function",
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
        }
        for spec in specs
    ]
