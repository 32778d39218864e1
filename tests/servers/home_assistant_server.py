"""A local server that speaks Home Assistant's conversation API."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.servers.vendor import ErrorBody, VendorServer, read_json

TOKEN = "eyJ.long-lived.right"


class HomeAssistantErrorBody(ErrorBody):
    def render(self) -> bytes:
        return json.dumps({"message": self.fault.message}).encode()


class HomeAssistantServer(VendorServer):
    """Set what it says (`speech`), its kind (`response_type`), and what it could not do (`failed`)."""

    def __init__(self) -> None:
        super().__init__()
        self.speech: Mapping[str, Any] = {"plain": {"speech": "good day", "extra_data": None}}
        self.response_type = "query_answer"
        self.failed: Sequence[Mapping[str, str]] = ()

    def routes(self) -> Sequence[Route]:
        return [Route("/api/conversation/process", self._process, methods=["POST"])]

    async def _process(self, request: Request) -> Response:
        asked = await read_json(request)
        self.asked.append(asked)
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return PlainTextResponse("401: Unauthorized", 401)
        if response := await self.before_answer(HomeAssistantErrorBody):
            return response
        answer = {
            "response": {
                "speech": self.speech,
                "card": {},
                "language": asked.fields.get("language", "en"),
                "response_type": self.response_type,
                "data": {"targets": [], "success": [], "failed": [*self.failed]},
            },
            "conversation_id": asked.fields.get("conversation_id", f"01J{len(self.asked)}"),
            "continue_conversation": False,
        }
        data = json.dumps(answer).encode()
        return self.stream([data[:9], data[9:]], "application/json")
