"""A local server that speaks Dify's protocol: chat messages as server-sent events."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.vendor import ErrorBody, VendorServer, read_json

KEY = "app-right"


class DifyErrorBody(ErrorBody):
    def render(self) -> bytes:
        code = self.fault.error_code or "bad_request"
        return json.dumps({"code": code, "message": self.fault.message, "status": self.fault.code}).encode()


class DifyServer(VendorServer):
    """Set what it answers (`events`); `conversations` are those that it still knows."""

    def __init__(self) -> None:
        super().__init__()
        self.conversations: set[str] = set()
        self.events: Sequence[Mapping[str, Any]] = (
            {"event": "message", "answer": "good "},
            {"event": "message", "answer": "day"},
            {"event": "message_end", "metadata": {"usage": {"prompt_tokens": 7, "completion_tokens": 2}}},
        )

    def routes(self) -> Sequence[Route]:
        return [Route("/v1/chat-messages", self._chat, methods=["POST"])]

    async def _chat(self, request: Request) -> Response:
        asked = await read_json(request)
        self.asked.append(asked)
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            body = {"code": "unauthorized", "message": "Access token is invalid", "status": 401}
            return JSONResponse(body, 401)
        if response := await self.before_answer(DifyErrorBody):
            return response
        conversation = asked.fields["conversation_id"]
        if conversation and conversation not in self.conversations:
            body = {"code": "not_found", "message": "Conversation Not Exists.", "status": 404}
            return JSONResponse(body, 404)
        conversation = conversation or f"conversation-{len(self.conversations) + 1}"
        self.conversations.add(conversation)
        # Dify pings with an event of its own kind; everything else has its kind within.
        parts = [
            f"data: {json.dumps({**event, 'conversation_id': conversation})}\n\n" for event in self.events
        ]
        parts[0] = "event: ping\n\n" + parts[0]
        return self.stream([part.encode() for part in parts], "text/event-stream")
