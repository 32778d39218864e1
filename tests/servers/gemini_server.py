"""A local server that speaks the protocol of Gemini's language models: `streamGenerateContent`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.vendor import Call, ErrorBody, VendorServer, read_json

KEY = "AIza-right"


class GeminiErrorBody(ErrorBody):
    def render(self) -> bytes:
        error: dict[str, Any] = {
            "code": self.fault.code,
            "message": self.fault.message,
            "status": "INVALID_ARGUMENT",
        }
        if self.fault.error_code is not None:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": kind, "retryDelay": self.fault.error_code}]
        return json.dumps({"error": error}).encode()


class GeminiServer(VendorServer):
    """Set what it answers: `parts`, each in a chunk of its own, or whole `chunks` as JSON text."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: Sequence[Mapping[str, Any]] = ({"text": "good "}, {"text": "day"})
        self.chunks: Sequence[str] | None = None

    def answer_with_calls(self, *calls: Call) -> None:
        self.chunks = [
            '{"candidates": [{"content": {"role": "model", "parts": [{"functionCall": {"id": '
            f'"{call.id}", "name": "{call.name}", "args": {call.arguments}}}}}]}}}}]}}'
            for call in calls
        ]

    def routes(self) -> Sequence[Route]:
        return [Route("/v1beta/models/{model}:streamGenerateContent", self._chat, methods=["POST"])]

    async def _chat(self, request: Request) -> Response:
        asked = await read_json(request)
        self.asked.append(asked)
        if asked.headers.get("x-goog-api-key") != KEY:
            message = "API key not valid. Please pass a valid API key."
            error = {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}
            return JSONResponse({"error": error}, 400)
        if response := await self.before_answer(GeminiErrorBody):
            return response
        chunks = self.chunks
        if chunks is None:
            chunks = [chunk(part) for part in self.parts]
            # As Gemini does: the counts grow with each chunk, the last ones hold.
            used = {"promptTokenCount": 7, "candidatesTokenCount": 1, "thoughtsTokenCount": 1}
            chunks.append(chunk({"text": ""}, finishReason="STOP", usage=used))
        events = [f"data: {text}\r\n\r\n".encode() for text in chunks]
        return self.stream(events, "text/event-stream")


def chunk(part: Mapping[str, Any], usage: Mapping[str, int] | None = None, **more: Any) -> str:
    """One chunk of an answer as Gemini writes it."""
    candidate = {"content": {"role": "model", "parts": [part]}, "index": 0, **more}
    return json.dumps(
        {
            "candidates": [candidate],
            "usageMetadata": usage or {"promptTokenCount": 7, "totalTokenCount": 7},
            "modelVersion": "fake",
        }
    )
