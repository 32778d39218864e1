"""Local servers that speak as Azure Speech, ElevenLabs and Gemini do, over HTTP."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.vendor import Asked, ErrorBody, HungUp, Status, VendorServer, read_json

AZURE_KEY = "azure-right"
ELEVENLABS_KEY = "el-right"
GEMINI_KEY = "gm-right"

# The samples 1, 2, 3, cut within a sample.
SPEECH: Sequence[bytes] = (b"\x01\x00\x02\x00\x03", b"\x00")

_SSML = "{http://www.w3.org/2001/10/synthesis}"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


class TextErrorBody(ErrorBody):
    """Azure's errors are a line of text, or nothing."""

    def render(self) -> bytes:
        return self.fault.message.encode()


class AzureSpeechServer(VendorServer):
    """Text to speech, REST version 1."""

    def routes(self) -> Sequence[Route]:
        return [Route("/cognitiveservices/v1", self._speak, methods=["POST"])]

    async def _speak(self, request: Request) -> Response:
        headers = dict(request.headers)
        asked = Asked(request.url.path, headers, {"ssml": (await request.body()).decode()})
        self.asked.append(asked)
        if headers.get("ocp-apim-subscription-key") != AZURE_KEY:
            return Response("Access denied", 401)
        if headers.get("content-type") != "application/ssml+xml" or not headers.get("user-agent"):
            return Response(status_code=415)
        if headers.get("x-microsoft-outputformat") != "raw-24khz-16bit-mono-pcm":
            return Response("Unsupported output format", 400)
        if response := await self.before_answer(TextErrorBody):
            return response
        root = ElementTree.fromstring(asked.fields["ssml"])
        voices = root.findall(f"{_SSML}voice")
        if root.tag != f"{_SSML}speak" or not root.get(_XML_LANG) or len(voices) != 1:
            return Response("Bad SSML", 400)
        prosody = voices[0].find(f".//{_SSML}prosody")
        asked.fields |= {
            "voice": voices[0].get("name"),
            "text": "".join(voices[0].itertext()),
            "rate": None if prosody is None else prosody.get("rate"),
        }
        return self.stream(SPEECH, "audio/basic")


class ElevenLabsErrorBody(ErrorBody):
    def render(self) -> bytes:
        return json.dumps({"detail": {"status": "error", "message": self.fault.message}}).encode()


class ElevenLabsServer(VendorServer):
    """Streamed text to speech, version 1. `dies_after`: from that request on it hangs up."""

    def __init__(self) -> None:
        super().__init__()
        self.speech = SPEECH
        self.dies_after: int | None = None

    def routes(self) -> Sequence[Route]:
        return [Route("/v1/text-to-speech/{voice}/stream", self._speak, methods=["POST"])]

    async def _speak(self, request: Request) -> Response:
        asked = await read_json(request)
        asked.fields |= {"voice": request.path_params["voice"], **request.query_params}
        self.asked.append(asked)
        if self.dies_after is not None and len(self.asked) > self.dies_after:
            raise HungUp
        given = asked.headers.get("xi-api-key", "")
        if given != ELEVENLABS_KEY:
            wrong = Status(401, f"Invalid API key {given}")
            return Response(ElevenLabsErrorBody(wrong).render(), 401, media_type="application/json")
        if not asked.fields.get("text") or asked.fields.get("output_format") != "pcm_24000":
            return JSONResponse({"detail": [{"loc": ["body"], "msg": "field required"}]}, 422)
        if response := await self.before_answer(ElevenLabsErrorBody):
            return response
        return self.stream(self.speech, "audio/pcm")


class GeminiErrorBody(ErrorBody):
    def render(self) -> bytes:
        fault = self.fault
        return json.dumps(
            {"error": {"code": fault.code, "message": fault.message, "status": "FAILED"}}
        ).encode()


class GeminiSpeechServer(VendorServer):
    """`streamGenerateContent` of a speech model, as server-sent events."""

    def __init__(self) -> None:
        super().__init__()
        self.mime_type = "audio/l16; rate=24000; channels=1"

    def routes(self) -> Sequence[Route]:
        return [Route("/v1beta/models/{call}", self._generate, methods=["POST"])]

    async def _generate(self, request: Request) -> Response:
        asked = await read_json(request)
        asked.fields["call"] = request.path_params["call"]
        self.asked.append(asked)
        given = asked.headers.get("x-goog-api-key", "")
        if given != GEMINI_KEY:
            wrong = {"code": 400, "message": f"API key not valid: {given}", "status": "INVALID_ARGUMENT"}
            return JSONResponse({"error": wrong}, 400)
        config = asked.fields.get("generationConfig", {})
        if config.get("responseModalities") != ["AUDIO"] or request.query_params.get("alt") != "sse":
            return JSONResponse({"error": {"code": 400, "message": "text is not supported"}}, 400)
        if response := await self.before_answer(GeminiErrorBody):
            return response
        events = [_event(self._part(piece)) for piece in SPEECH]
        events.append(_event({"candidates": [{"content": {}, "finishReason": "STOP", "index": 0}]}))
        return self.stream(events, "text/event-stream")

    def _part(self, piece: bytes) -> Mapping[str, Any]:
        data = {"mimeType": self.mime_type, "data": base64.b64encode(piece).decode()}
        content = {"role": "model", "parts": [{"inlineData": data}]}
        return {"candidates": [{"content": content, "index": 0}]}


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"
