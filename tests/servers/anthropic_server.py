"""A local server that speaks Anthropic's protocol: messages as server-sent events."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.vendor import Call, ErrorBody, VendorServer, read_json

KEY = "sk-ant-right"
TEXT: Mapping[str, Any] = {"type": "text", "text": ""}


class AnthropicErrorBody(ErrorBody):
    def render(self) -> bytes:
        error = {"type": self.fault.error_code or "api_error", "message": self.fault.message}
        return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()


class AnthropicServer(VendorServer):
    """Set what it answers: the `events` between the start and the end of a message."""

    def __init__(self) -> None:
        super().__init__()
        self.events: Sequence[Mapping[str, Any]] = block(
            0, {"type": "text", "text": ""}, *texts("good ", "day")
        )
        self.stop_reason = "end_turn"
        self.ends = True

    def answer_with_calls(self, *calls: Call) -> None:
        """As Anthropic streams them: a text before, then a block each with its arguments in pieces."""
        events: list[Mapping[str, Any]] = []
        for index, call in enumerate(calls):
            start = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            half = len(call.arguments) // 2
            pieces = ("", call.arguments[:half], call.arguments[half:])
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
            events += block(index, start, *deltas)
        self.events = events
        self.stop_reason = "tool_use"

    def routes(self) -> Sequence[Route]:
        return [Route("/v1/messages", self._messages, methods=["POST"])]

    async def _messages(self, request: Request) -> Response:
        asked = await read_json(request)
        self.asked.append(asked)
        # Older clients name their key in x-api-key, newer ones in Authorization.
        if KEY not in (asked.headers.get("x-api-key"), asked.headers.get("authorization", "")[7:]):
            error = {"type": "authentication_error", "message": "invalid x-api-key"}
            return JSONResponse({"type": "error", "error": error}, 401)
        if response := await self.before_answer(AnthropicErrorBody):
            return response
        usage = {"input_tokens": 4, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 2}
        message: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "fake",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**usage, "output_tokens": 1},
        }
        end: list[Mapping[str, Any]] = [
            {
                "type": "message_delta",
                "delta": {"stop_reason": self.stop_reason, "stop_sequence": None},
                "usage": {"output_tokens": 2},
            },
            {"type": "message_stop"},
        ]
        start = {"type": "message_start", "message": message}
        events = [start, {"type": "ping"}, *self.events, *(end if self.ends else ())]
        return self.stream([_event(event) for event in events], "text/event-stream")


def block(index: int, start: Mapping[str, Any], *deltas: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The events of one content block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def texts(*pieces: str) -> list[Mapping[str, Any]]:
    """The deltas of a text."""
    return [{"type": "text_delta", "text": piece} for piece in pieces]


def _event(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
