"""A local server that speaks Coze's protocol: chats as server-sent events, some refusals with status 200."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.vendor import ErrorBody, VendorServer, read_json

KEY = "pat_right"
BOT = "7300000000000000001"


class CozeErrorBody(ErrorBody):
    def render(self) -> bytes:
        return json.dumps({"code": 4000, "msg": self.fault.message}).encode()


class CozeServer(VendorServer):
    """Set what it answers: `events`, each a kind with its data; or a `refusal` in their place."""

    def __init__(self) -> None:
        super().__init__()
        self.events: Sequence[tuple[str, object]] = (
            delta("good "),
            delta("day"),
            ("conversation.message.completed", answer("good day")),
            ("conversation.message.completed", {**answer("{}"), "type": "verbose"}),
            (
                "conversation.chat.completed",
                {"status": "completed", "usage": {"token_count": 9, "input_count": 7, "output_count": 2}},
            ),
            ("done", "[DONE]"),
        )
        self.refusal: Mapping[str, Any] | None = None

    def routes(self) -> Sequence[Route]:
        return [Route("/v3/chat", self._chat, methods=["POST"])]

    async def _chat(self, request: Request) -> Response:
        asked = await read_json(request)
        self.asked.append(asked)
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"code": 4100, "msg": "authentication is invalid"}, 401)
        if response := await self.before_answer(CozeErrorBody):
            return response
        if asked.fields["bot_id"] != BOT:
            return JSONResponse({"code": 4200, "msg": "Requested resource bot_id does not exist"})
        if self.refusal is not None:
            return JSONResponse(self.refusal)
        events = [("conversation.chat.created", {"status": "created"}), *self.events]
        # The first event that says something ends the first part.
        parts = [f"event:{kind}\ndata:{json.dumps(data)}\n\n".encode() for kind, data in events]
        return self.stream([parts[0] + parts[1], *parts[2:]], "text/event-stream")


def answer(text: str) -> Mapping[str, str]:
    """A message of the bot."""
    return {"id": "1", "role": "assistant", "type": "answer", "content": text, "content_type": "text"}


def delta(text: str) -> tuple[str, object]:
    """A further piece of the answer."""
    return "conversation.message.delta", answer(text)
