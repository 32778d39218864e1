"""A local server that speaks OpenAI's Realtime protocol (its general version) and minds how it is used."""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from websockets.http11 import Response

from tests.servers.openai_server import KEY
from tests.servers.s2s_service import S2sService
from tests.servers.vendor import Asked, HungUp, Status
from tests.servers.websocket_vendor import Line, answer

RATE = 24_000
_LEAST_BYTES = RATE // 10 * 2

USAGE = {
    "total_tokens": 150,
    "input_tokens": 100,
    "output_tokens": 50,
    "input_token_details": {"text_tokens": 20, "audio_tokens": 80, "image_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 10, "audio_tokens": 40},
}


class OpenAiRealtimeServer(S2sService):
    """`events` is what the latest connection was sent, without its audio; `problems` what it did wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Mapping[str, Any]] = []
        self.session: Mapping[str, Any] = {}
        self.got = asyncio.Event()
        self.says_metadata = True
        self.names_events = True
        self.speech: Sequence[str] | None = None
        """The pieces of speech in base64; otherwise the samples 1, 2, 3, split within the second."""
        self.ending: Mapping[str, Any] = {"status": "completed"}
        self.words_fail = False
        self.at_end: Sequence[Mapping[str, Any]] = ()
        """Said after each commit, as it is."""
        self.refuses_setup = ""
        """The code with which a session.update is refused."""
        self.busy = False
        """True: another answer is always under way."""
        self.begins = asyncio.Event()
        """Clear it to hold the beginning of answers back."""
        self.begins.set()
        self.left = asyncio.Event()
        """Set when a connection has ended."""
        self._conversation: _Conversation | None = None

    @property
    def kinds(self) -> list[str]:
        """The types of `events`, in order."""
        return [str(event["type"]) for event in self.events]

    async def told(self, kind: str) -> Mapping[str, Any]:
        """The first event of `kind`, once it is there."""
        while kind not in self.kinds:
            self.got.clear()
            await self.got.wait()
        return next(event for event in self.events if event["type"] == kind)

    @property
    def conversation(self) -> "_Conversation":
        """The latest connection's."""
        assert self._conversation is not None
        return self._conversation

    async def say(self, event: Mapping[str, Any]) -> None:
        """Says something of its own accord."""
        await self.conversation.send(event)

    async def detect(self, what: str) -> None:
        """The voice detection hears that speech has `started` or `stopped`."""
        await self.say(
            {"type": f"input_audio_buffer.speech_{what}", "item_id": self.conversation.coming_item}
        )

    async def detect_item(self, text: str) -> None:
        """The voice detection makes an item of what was heard, which is written down as `text`."""
        await self.conversation.commit_detected(text)

    def forget(self) -> None:
        """Loses all items."""
        self.conversation.items.clear()

    def refusal(self, asked: Asked) -> Response | None:
        place = urlsplit(asked.path)
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            error = {"error": {"message": f"Incorrect API key: {asked.headers.get('authorization')}"}}
            return answer(401, json.dumps(error).encode())
        if place.path != "/v1/realtime" or not parse_qs(place.query).get("model"):
            return answer(404, b'{"error": {"message": "no such place"}}')
        return None

    def error_body(self, fault: Status) -> bytes:
        return json.dumps(
            {"error": {"message": fault.message, "type": "x", "code": fault.error_code}}
        ).encode()

    async def converse(self, line: Line) -> None:
        self.events, self.memory = [], []
        self._conversation = _Conversation(self, line)
        try:
            await self._conversation.run()
        finally:
            self.left.set()


class _Conversation:
    """One connection."""

    def __init__(self, server: OpenAiRealtimeServer, line: Line) -> None:
        self._server = server
        self._line = line
        self._numbers = count(1)
        self._buffer = bytearray()
        self.items: dict[str, str] = {}
        self._lengths_ms: dict[str, float] = {}
        self._response: asyncio.Task[None] | None = None
        self._response_id = ""
        self._background: set[asyncio.Task[None]] = set()
        self._hung_up = False
        self.coming_item = "item_detected_1"

    async def run(self) -> None:
        await self.send({"type": "session.created", "session": {"type": "realtime", "id": "sess_1"}})
        try:
            async for message in self._line.connection:
                event = json.loads(message)
                if event["type"] != "input_audio_buffer.append":
                    self._server.events.append(event)
                elif self._server.kinds[-1:] != ["input_audio_buffer.append"]:
                    self._server.events.append({"type": event["type"]})
                await self._take(event)
                self._server.got.set()
                if self._hung_up:
                    raise HungUp
        finally:
            for task in [*self._background, *([self._response] if self._response else [])]:
                task.cancel()

    async def send(self, event: Mapping[str, Any]) -> None:
        """Says something that faults don't touch."""
        await self._line.connection.send(json.dumps({"event_id": f"event_{next(self._numbers)}", **event}))

    async def _error(self, event: Mapping[str, Any], code: str, kind: str = "invalid_request_error") -> None:
        blamed = event.get("event_id") if self._server.names_events else None
        error = {"type": kind, "code": code, "message": f"it was {code}", "param": None, "event_id": blamed}
        await self.send({"type": "error", "error": error})

    def _remember(self) -> None:
        self._server.memory = [*self.items.values()]

    async def _take(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                session = event["session"]
                if self._server.refuses_setup:
                    await self._error(event, self._server.refuses_setup)
                    return
                assert session["type"] == "realtime"
                self._server.session = {**self._server.session, **session}
                self._server.prompt = session["instructions"]
                self._server.tools = [tool["name"] for tool in session["tools"]]
                await self.send({"type": "session.updated", "session": session})
            case "input_audio_buffer.append":
                self._buffer += base64.b64decode(event["audio"], validate=True)
            case "input_audio_buffer.clear":
                self._buffer.clear()
                await self.send({"type": "input_audio_buffer.cleared"})
            case "input_audio_buffer.commit":
                await self._commit(event)
            case "conversation.item.create":
                await self._create(event["item"])
            case "conversation.item.delete":
                if self.items.pop(event["item_id"], None) is None:
                    await self._error(event, "item_delete_invalid_item_id")
                else:
                    self._remember()
                    await self.send({"type": "conversation.item.deleted", "item_id": event["item_id"]})
            case "conversation.item.truncate":
                await self._truncate(event)
            case "response.create":
                await self._answer(event)
            case "response.cancel":
                await self._cancel(event)
            case unknown:
                raise AssertionError(unknown)

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────────

    async def _commit(self, event: Mapping[str, Any]) -> None:
        if len(self._buffer) < _LEAST_BYTES:
            await self._error(event, "input_audio_buffer_commit_empty")
            return
        item = f"item_{next(self._numbers)}"
        samples = np.frombuffer(bytes(self._buffer), "<i2")
        self.items[item] = f"audio {np.count_nonzero(samples)}"
        self._remember()
        self._buffer.clear()
        await self.send({"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": None})
        added = {"id": item, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        await self.send({"type": "conversation.item.added", "item": added})
        for extra in self._server.at_end:
            await self.send(extra)
        task = asyncio.create_task(self._transcribe(item))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def commit_detected(self, text: str) -> None:
        """Makes an item of the speech that the voice detection has found."""
        item = self.coming_item
        self.coming_item = f"item_detected_{next(self._numbers)}"
        self.items[item] = f"audio detected {text}"
        self._remember()
        self._buffer.clear()
        await self.send({"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": None})
        kind = "conversation.item.input_audio_transcription.completed"
        usage = {"type": "duration", "seconds": 1.0}
        await self.send(
            {"type": kind, "item_id": item, "content_index": 0, "transcript": text, "usage": usage}
        )

    async def _transcribe(self, item: str) -> None:
        await self._server.words.wait()
        kind = "conversation.item.input_audio_transcription"
        about = {"item_id": item, "content_index": 0}
        if self._server.words_fail:
            error = {"type": "server_error", "code": "audio_unintelligible", "message": "unintelligible"}
            await self.send({"type": f"{kind}.failed", **about, "error": error})
            return
        await self.send({"type": f"{kind}.delta", **about, "delta": "hello"})
        usage = {"type": "duration", "seconds": 1.0}
        await self.send({"type": f"{kind}.completed", **about, "transcript": "hello world", "usage": usage})

    async def _create(self, item: Mapping[str, Any]) -> None:
        name = f"item_{next(self._numbers)}"
        match item["type"]:
            case "message":
                text = "".join(part.get("text", "[image]") for part in item["content"])
                self.items[name] = f"{item['role']} {text}"
            case "function_call":
                self.items[name] = f"call {item['name']} {item['arguments']}"
            case "function_call_output":
                self.items[name] = f"result {item['output']}"
        self._remember()
        await self.send({"type": "conversation.item.added", "item": {**item, "id": name}})

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, event: Mapping[str, Any]) -> None:
        asked = event["response"]
        if self._server.busy or (self._response is not None and not self._response.done()):
            await self._error(event, "conversation_already_has_active_response")
            return
        self._response_id = f"resp_{next(self._numbers)}"
        self._response = asyncio.create_task(self._respond(self._response_id, asked))

    async def _respond(self, response: str, asked: Mapping[str, Any]) -> None:
        try:
            await self._respond_well(response, asked)
        except HungUp:
            self._hung_up = True
            self._line.connection.transport.abort()

    async def _respond_well(self, response: str, asked: Mapping[str, Any]) -> None:
        server, say = self._server, self._line.say
        await server.begins.wait()
        about: dict[str, Any] = {"id": response, "object": "realtime.response", "usage": None, "output": []}
        if server.says_metadata:
            about["metadata"] = asked.get("metadata")
        await say(
            {"type": "response.created", "event_id": "e", "response": {**about, "status": "in_progress"}}
        )
        recital = asked.get("conversation") == "none"
        given = any(held.startswith("result") for held in self.items.values())
        if server.calls and not given and not recital:
            for call in server.calls:
                made = {
                    "id": f"item_{next(self._numbers)}",
                    "type": "function_call",
                    "status": "completed",
                    "call_id": call.id,
                    "name": call.name,
                    "arguments": call.arguments,
                }
                self.items[made["id"]] = f"call {call.name} {call.arguments}"
                await say(_part("response.output_item.done", response, item=made))
        else:
            await self._speak(response, recital)
        self._remember()
        await say(
            {"type": "response.done", "event_id": "e", "response": {**about, **server.ending, "usage": USAGE}}
        )

    async def _speak(self, response: str, recital: bool) -> None:
        server, say = self._server, self._line.say
        item = f"item_{next(self._numbers)}"
        said: dict[str, Any] = {"id": item, "type": "message", "role": "assistant", "content": []}
        if not recital:
            self.items[item] = "assistant good day"
        where = {"item_id": item, "content_index": 0}
        await say(_part("response.output_item.added", response, item={**said, "status": "in_progress"}))
        words = ("good ", "day")
        speech = np.array([1, 2, 3], "<i2").tobytes()
        pieces = server.speech or [base64.b64encode(half).decode() for half in (speech[:3], speech[3:])]
        for number, piece in enumerate(pieces):
            if number < len(words):
                word = _part("response.output_audio_transcript.delta", response, delta=words[number], **where)
                await say(word)
            await say(_part("response.output_audio.delta", response, delta=piece, **where))
            self._lengths_ms[item] = self._lengths_ms.get(item, 0) + len(piece) * 0.75 / 2 / RATE * 1000
            server.talking.set()
            if server.talks_on:
                await asyncio.Event().wait()
        await say(_part("response.output_audio.done", response, **where))
        await say(_part("response.output_item.done", response, item={**said, "status": "completed"}))

    async def _cancel(self, event: Mapping[str, Any]) -> None:
        task, self._response = self._response, None
        if task is None or task.done() or event.get("response_id") not in (None, self._response_id):
            self._response = task
            await self._error(event, "response_cancel_not_active")
            return
        task.cancel()
        await asyncio.wait([task])
        self._remember()
        details = {"type": "cancelled", "reason": "client_cancelled"}
        done = {"id": self._response_id, "status": "cancelled", "status_details": details, "usage": USAGE}
        # What was on its way comes all the same.
        await self.send(
            _part("response.output_audio_transcript.delta", self._response_id, delta="stale", item_id="x")
        )
        await self.send({"type": "response.done", "response": {**done, "output": []}})
        self._server.stopped.set()

    async def _truncate(self, event: Mapping[str, Any]) -> None:
        item, end = event["item_id"], event["audio_end_ms"]
        if item not in self.items or end > self._lengths_ms.get(item, 0):
            await self._error(event, "item_truncate_invalid")
            return
        self.items[item] = f"assistant cut at {end} ms"
        self._remember()
        await self.send({"type": "conversation.item.truncated", "item_id": item, "audio_end_ms": end})


def _part(kind: str, response: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "event_id": "e", "response_id": response, "output_index": 0, **fields}
