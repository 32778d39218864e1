"""A local server that speaks Gemini's protocol, as far as it hears."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.vendor import ErrorBody, VendorServer, read_json

KEY = "gm-right"


class GeminiErrorBody(ErrorBody):
    def render(self) -> bytes:
        error = {"code": self.fault.code, "message": self.fault.message, "status": "UNAVAILABLE"}
        return json.dumps({"error": error}).encode()


class GeminiAsrServer(VendorServer):
    """Set what it hears (`words`), why it stops (`reason`), or all of its `chunks`."""

    def __init__(self) -> None:
        super().__init__()
        self.words: Sequence[str] = ("hello", " world")
        self.reason = "STOP"
        self.chunks: Sequence[Mapping[str, Any]] | None = None
        self.heard: list[bytes] = []

    def routes(self) -> Sequence[Route]:
        return [Route("/v1beta/models/{model}:streamGenerateContent", self._generate, methods=["POST"])]

    async def _generate(self, request: Request) -> Response:
        asked = await read_json(request)
        self.asked.append(asked)
        if (given := asked.headers.get("x-goog-api-key")) != KEY:
            error = {"code": 400, "message": f"API key not valid: {given}", "status": "INVALID_ARGUMENT"}
            return JSONResponse({"error": error}, 400)
        for content in asked.fields["contents"]:
            for part in content["parts"]:
                if "inlineData" in part:
                    self.heard.append(base64.urlsafe_b64decode(part["inlineData"]["data"]))
        if response := await self.before_answer(GeminiErrorBody):
            return response
        chunks = self.chunks
        if chunks is None:
            chunks = [candidate(word) for word in self.words] + [candidate("", self.reason)]
        events = [b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks]
        return self.stream(events, "text/event-stream")


def candidate(text: str, reason: str | None = None, *, thought: bool = False) -> dict[str, Any]:
    """One chunk of an answer."""
    part: dict[str, Any] = {"text": text} | ({"thought": True} if thought else {})
    first: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "index": 0}
    if reason is not None:
        first["finishReason"] = reason
    return {"candidates": [first], "modelVersion": "fake"}
