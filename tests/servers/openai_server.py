"""A local server that speaks OpenAI's protocol: transcriptions, chat completions and speech."""

import json
from collections.abc import Mapping, Sequence
from email.message import Message
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.vendor import Asked, Call, ErrorBody, VendorServer, read_json

KEY = "sk-right"


class OpenAiErrorBody(ErrorBody):
    def render(self) -> bytes:
        error = {"message": self.fault.message, "type": "error", "code": self.fault.error_code}
        return json.dumps({"error": error}).encode()


class OpenAiServer(VendorServer):
    """Set what it understands (`words`), answers (`deltas`, `usage`) and says (`speech`, `pieces`)."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.words: Sequence[str] = ("hello", " world")
        self.language, self.code = "english", "en"
        """Of the words, as Whisper and as gpt-transcribe call it."""
        self.segments: Sequence[Mapping[str, Any]] = ()
        """The segments in verbose answers."""
        self.refuses_verbose = False
        self.deltas: Sequence[Mapping[str, Any]] = ({"content": "good "}, {"content": "day"})
        self.usage: Mapping[str, int] | None = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        self.raw_chunks: Sequence[Mapping[str, Any]] | None = None
        self.speech: Sequence[bytes] = (b"\x01\x00\x02\x00\x03", b"\x00")
        self.speech_type = "audio/pcm"
        self.speech_headers: Mapping[str, str] = {}
        self.refuses_stream_options = False
        self.models: Sequence[str] = ("first-model",)
        self.key = KEY

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def answer_with_calls(self, *calls: Call) -> None:
        """As OpenAI streams them: id and name first, then the arguments in pieces."""
        deltas: list[Mapping[str, Any]] = []
        for index, call in enumerate(calls):
            function = {"name": call.name, "arguments": ""}
            deltas.append(_call({"index": index, "id": call.id, "type": "function", "function": function}))
            half = len(call.arguments) // 2
            for piece in (call.arguments[:half], call.arguments[half:]):
                deltas.append(_call({"index": index, "function": {"arguments": piece}}))
        self.deltas = deltas

    def routes(self) -> Sequence[Route]:
        return [
            Route("/v1/audio/transcriptions", self._transcriptions, methods=["POST"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/audio/speech", self._speech, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
        ]

    def _wrong_key(self, asked: Asked) -> Response | None:
        if asked.headers.get("authorization") == f"Bearer {self.key}":
            return None
        given = asked.headers.get("authorization", "").removeprefix("Bearer ")
        error = {"message": f"Incorrect API key provided: {given}", "code": "invalid_api_key"}
        return JSONResponse({"error": error}, 401)

    async def _models(self, request: Request) -> Response:
        asked = Asked(request.url.path, dict(request.headers), {})
        self.asked.append(asked)
        found = [{"id": name, "object": "model", "created": 0, "owned_by": "me"} for name in self.models]
        return self._wrong_key(asked) or JSONResponse({"object": "list", "data": found})

    async def _transcriptions(self, request: Request) -> Response:
        asked = await _read_form(request)
        self.asked.append(asked)
        if response := self._wrong_key(asked) or await self.before_answer(OpenAiErrorBody):
            return response
        if self.refuses_verbose and asked.fields.get("response_format") == "verbose_json":
            error = {"message": "verbose_json is not supported", "type": "invalid_request_error"}
            return JSONResponse({"error": error}, 400)
        text = "".join(self.words)
        if asked.fields.get("stream") != "true":
            told: dict[str, object] = {"text": text}
            if asked.fields.get("response_format") == "verbose_json":
                told |= {"task": "transcribe", "language": self.language, "duration": 1.0}
                told["segments"] = [*self.segments]
            answer = json.dumps(told).encode()
            return self.stream([answer[:9], answer[9:]], "application/json")
        events: list[Mapping[str, Any]] = [
            {"type": "transcript.text.delta", "delta": word} for word in self.words
        ]
        done: dict[str, Any] = {"type": "transcript.text.done", "text": text}
        if asked.fields.get("model", "").startswith("gpt-transcribe"):
            done["languages"] = [{"code": self.code}]
        events.append(done)
        return self.stream([_event(event) for event in events], "text/event-stream")

    async def _chat(self, request: Request) -> Response:
        asked = await read_json(request)
        self.asked.append(asked)
        if response := self._wrong_key(asked) or await self.before_answer(OpenAiErrorBody):
            return response
        if self.refuses_stream_options and "stream_options" in asked.fields:
            error = {"message": "Unrecognized request argument supplied: stream_options"}
            return JSONResponse({"error": error}, 400)
        chunks = self.raw_chunks
        if chunks is None:
            chunks = [_chunk([{"index": 0, "delta": delta}]) for delta in self.deltas]
            chunks.append(_chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
            if self.usage is not None and asked.fields.get("stream_options", {}).get("include_usage"):
                chunks.append(_chunk([]) | {"usage": self.usage})
        events = [_event(chunk) for chunk in chunks]
        return self.stream([*events, b"data: [DONE]\n\n"], "text/event-stream")

    async def _speech(self, request: Request) -> Response:
        asked = await read_json(request)
        self.asked.append(asked)
        if response := self._wrong_key(asked) or await self.before_answer(OpenAiErrorBody):
            return response
        response = self.stream(self.speech, self.speech_type)
        response.headers.update(self.speech_headers)
        return response


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _call(call: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"tool_calls": [call]}


def _chunk(choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "fake",
        "choices": list(choices),
    }


async def _read_form(request: Request) -> Asked:
    """A multipart form (RFC 7578): files apart from fields; a field `name[]` is a list."""
    boundary = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    asked = Asked(request.url.path, dict(request.headers), {})
    for part in (await request.body()).split(b"--" + boundary)[1:-1]:
        head, _, body = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        headers = Message()
        for line in head.decode().splitlines():
            name, _, value = line.partition(":")
            headers[name] = value.strip()
        field = str(headers.get_param("name", header="content-disposition"))
        if headers.get_filename():
            asked.files[field] = body
        elif field.endswith("[]"):
            asked.fields.setdefault(field, []).append(body.decode())
        else:
            asked.fields[field] = body.decode()
    return asked
