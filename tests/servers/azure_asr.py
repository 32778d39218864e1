"""A local server that speaks Azure Speech's REST protocol for short audio."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.vendor import Asked, ErrorBody, VendorServer

KEY = "az-right"


class AzureErrorBody(ErrorBody):
    def render(self) -> bytes:
        return json.dumps({"error": {"code": str(self.fault.code), "message": self.fault.message}}).encode()


class AzureAsrServer(VendorServer):
    """Set what it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Mapping[str, Any] = {
            "RecognitionStatus": "Success",
            "Offset": 0,
            "Duration": 1_000_000,
            "NBest": [{"Confidence": 0.5, "Lexical": "hello world", "Display": "hello world"}],
        }
        self.body = bytearray()
        self.hears = asyncio.Event()
        """Set when samples come."""

    def routes(self) -> Sequence[Route]:
        path = "/speech/recognition/conversation/cognitiveservices/v1"
        return [Route(path, self._recognise, methods=["POST"])]

    async def _recognise(self, request: Request) -> Response:
        asked = Asked(request.url.path, dict(request.headers), dict(request.query_params))
        self.asked.append(asked)
        async for chunk in request.stream():
            self.body += chunk
            if len(self.body) > 44:
                self.hears.set()
        if (given := asked.headers.get("ocp-apim-subscription-key")) != KEY:
            error = {"code": "401", "message": f"Access denied due to invalid subscription key {given}."}
            return JSONResponse({"error": error}, 401)
        if response := await self.before_answer(AzureErrorBody):
            return response
        body = json.dumps(self.answer).encode()
        return self.stream([body[:9], body[9:]], "application/json")
