"""A local server that speaks the Live API of Gemini: `BidiGenerateContent` over a WebSocket, always with TLS.

Wire format as Google has it: one JSON object a message with one kind of content in it; the service sends its
own in binary frames. https://ai.google.dev/api/live
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.servers.s2s_service import S2sService
from tests.servers.tls import server_context
from tests.servers.vendor import Call, Fault, HungUp, Status
from tests.servers.websocket_vendor import Line

KEY = "AIza-right"

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"

Message = Mapping[str, Any]


def speech(*samples: int, kind: str = "audio/pcm;rate=24000") -> dict[str, Any]:
    """A piece of spoken answer."""
    pcm = b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)
    blob = {"mimeType": kind, "data": base64.b64encode(pcm).decode()}
    return {"modelTurn": {"role": "model", "parts": [{"inlineData": blob}]}}


def content(**fields: Any) -> dict[str, Any]:
    return {"serverContent": fields}


def said(text: str) -> dict[str, Any]:
    """A further piece of what the service says, in words."""
    return content(outputTranscription={"text": text})


def heard(text: str) -> dict[str, Any]:
    """A further piece of what the service has heard."""
    return content(inputTranscription={"text": text})


def tool_call(*calls: Call) -> dict[str, Any]:
    functions = [{"id": call.id, "name": call.name, "args": json.loads(call.arguments)} for call in calls]
    return {"toolCall": {"functionCalls": functions}}


USAGE = {
    "promptTokenCount": 7,
    "responseTokenCount": 2,
    "totalTokenCount": 9,
    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}, {"modality": "TEXT", "tokenCount": 2}],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
}


def words_heard() -> Sequence[Message]:
    """The transcript of every utterance."""
    return heard("hello"), heard(" world")


ANSWER: Sequence[Message] = (
    content(**speech(1, 2)),
    said("good "),
    content(**speech(3)),
    said("day"),
    content(generationComplete=True),
)


@dataclass
class Session:
    """One connection: what was set up, what the service has in memory, and what it was told besides."""

    setup: dict[str, Any]
    memory: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    activities: list[bytes] = field(default_factory=list)
    """The audio of each activity, also of one that has not ended."""
    tool_responses: list[dict[str, Any]] = field(default_factory=list)
    interruptions: int = 0

    @property
    def heard(self) -> bytes:
        """The audio of all activities."""
        return b"".join(self.activities)


class GeminiLiveServer(S2sService):
    """Set `scripts` for other answers: lists of messages, in which an `asyncio.Event` is waited for.

    Faults are played per answer, but for HTTP errors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tls = server_context()
        self.sessions: list[Session] = []
        self.scripts: deque[Sequence[Message | asyncio.Event]] = deque()
        self.hears = words_heard()
        self.refuses: tuple[int, str] | None = None
        """With which code and reason it hangs up instead of beginning a session."""
        self.confirmation: Message = {"setupComplete": {"sessionId": "a-session"}}
        self.changed = asyncio.Event()
        """Set by each message of a client."""
        self.gone = asyncio.Event()
        """Set when a client has hung up."""
        self._talks: dict[ServerConnection, _Talk] = {}

    def error_body(self, fault: Status) -> bytes:
        return json.dumps({"error": {"code": fault.code, "message": fault.message}}).encode()

    def first_fault(self) -> Fault | None:
        return None

    async def say(self, message: Message) -> None:
        """Sends `message` on the latest connection, unasked."""
        await [*self._talks.values()][-1].send(message)

    async def close_with(self, code: int, reason: str) -> None:
        """Ends the latest connection the way the service does."""
        await [*self._talks][-1].close(code, reason)

    def note(self, session: Session) -> None:
        """Tells what `session` has set up and in memory in everybody's terms."""
        instruction = session.setup.get("systemInstruction", {})
        self.prompt = "".join(part["text"] for part in instruction.get("parts", ()))
        self.tools = [
            function["name"]
            for tool in session.setup.get("tools", ())
            for function in tool["functionDeclarations"]
        ]
        self.memory = [line for turn in session.memory for line in _lines(turn)]

    async def converse(self, line: Line) -> None:
        connection = line.connection
        if line.asked.path != PATH:
            return await connection.close(1008, f"unknown path {line.asked.path}")
        if line.asked.headers.get("x-goog-api-key") != KEY:
            return await connection.close(1007, "API key not valid. Please pass a valid API key.")
        setup = json.loads(await connection.recv())["setup"]
        if self.refuses is not None:
            return await connection.close(*self.refuses)
        session = Session(setup)
        self.sessions.append(session)
        self.note(session)
        talk = self._talks[connection] = _Talk(self, line, session)
        try:
            await talk.send(self.confirmation)
            async for message in connection:
                await talk.take(json.loads(message))
                self.note(session)
                self.changed.set()
        finally:
            del self._talks[connection]
            await talk.stop()
            self.gone.set()


def _lines(turn: Mapping[str, Any]) -> Iterator[str]:
    """A turn in memory, in everybody's terms."""
    if "audio" in turn:
        yield f"audio {len(turn['audio']) // 2}"
    for part in turn.get("parts", ()):
        if "functionResponse" in part:
            yield f"result {part['functionResponse']['response']['result']}"
        elif "text" in part:
            yield f"{'assistant' if turn['role'] == 'model' else 'user'} {part['text']}"


class _Talk:
    """Serves one connection after its setup."""

    def __init__(self, vendor: GeminiLiveServer, line: Line, session: Session) -> None:
        self._vendor = vendor
        self._line = line
        self._session = session
        self._generating: asyncio.Task[None] | None = None
        self._active = False
        # The SDK writes what lies deeper in snake case, which Google takes for the same.
        self._seeding = bool(session.setup.get("historyConfig", {}).get("initial_history_in_client_content"))
        self._calls: set[str] = set()
        self._spoken = ""

    async def send(self, message: Message) -> None:
        await self._line.connection.send(json.dumps(message).encode())

    async def take(self, message: dict[str, Any]) -> None:
        ((kind, body),) = message.items()
        match kind:
            case "client_content":
                await self._take_content(body)
            case "realtime_input":
                await self._take_input(body)
            case "tool_response":
                await self._take_results(body["functionResponses"])
            case "contextUpdate":
                self._session.updates.append(body)
            case _:
                await self._refuse(f"Unknown name {kind}")

    async def _take_content(self, body: dict[str, Any]) -> None:
        await self.interrupt()
        self._session.memory += body.get("turns", [])
        if body.get("turnComplete"):
            seeding, self._seeding = self._seeding, False
            if not seeding:
                self._generate()

    async def _take_input(self, body: dict[str, Any]) -> None:
        if self._seeding:
            return await self._refuse("Request contains an invalid argument.")
        match [*body]:
            case ["activityStart"] if not self._active:
                self._active = True
                self._session.activities.append(b"")
                await self.interrupt()
            case ["audio"] if self._active:
                self._session.activities[-1] += base64.urlsafe_b64decode(body["audio"]["data"])
            case ["activityEnd"] if self._active:
                self._active = False
                self._session.memory.append({"role": "user", "audio": self._session.activities[-1]})
                self._generate(hears=True)
            case _:
                await self._refuse("Request contains an invalid argument.")

    async def _take_results(self, responses: Sequence[dict[str, Any]]) -> None:
        ids = {response["id"] for response in responses}
        if not ids <= self._calls:
            return await self._refuse("Request contains an invalid argument.")
        self._session.tool_responses += responses
        parts = [{"functionResponse": response} for response in responses]
        self._session.memory.append({"role": "user", "parts": parts})
        self._calls -= ids
        if not self._calls:
            self._generate()

    async def _refuse(self, why: str) -> None:
        await self._line.connection.close(1007, why)

    def _generate(self, *, hears: bool = False) -> None:
        vendor = self._vendor
        fault = vendor.faults.popleft() if vendor.faults else None
        line = Line(vendor, self._line.connection, self._line.asked, fault)
        script: Sequence[Message | asyncio.Event] = ANSWER
        if vendor.scripts:
            script = vendor.scripts.popleft()
        elif vendor.calls:
            script, vendor.calls = [tool_call(*vendor.calls)], ()
        self._generating = asyncio.create_task(self._play(line, script, hears))

    async def _play(self, line: Line, script: Sequence[Message | asyncio.Event], hears: bool) -> None:
        try:
            for number, part in enumerate(script):
                if isinstance(part, asyncio.Event):
                    await part.wait()
                    continue
                await self._say(line, part)
                if hears and number == 0 and self._vendor.words.is_set():
                    hears = False
                    await self._tell_words()
                while self._vendor.talks_on:
                    await self._say(line, ANSWER[0])
                    await asyncio.sleep(0)
            self._remember_spoken()
            if not self._calls:
                await self.send({**content(turnComplete=True), "usageMetadata": USAGE})
            if hears:
                await self._vendor.words.wait()
                await self._tell_words()
        except HungUp:
            self._line.connection.transport.abort()
        except ConnectionClosed:
            self._vendor.stopped.set()  # who asked is gone

    async def _say(self, line: Line, part: Message) -> None:
        self._spoken += part.get("serverContent", {}).get("outputTranscription", {}).get("text", "")
        self._calls |= {
            call["id"] for call in part.get("toolCall", {}).get("functionCalls", ()) if "id" in call
        }
        await line.send(json.dumps(part).encode())
        self._vendor.talking.set()

    async def _tell_words(self) -> None:
        for message in self._vendor.hears:
            await self.send(message)

    def _remember_spoken(self) -> None:
        if self._spoken:
            self._session.memory.append({"role": "model", "parts": [{"text": self._spoken}]})
            self._spoken = ""
            self._vendor.note(self._session)

    async def interrupt(self) -> None:
        """Interrupts, for new input, an answer that is being made and calls that are being waited for."""
        cancelled, self._calls = self._calls, set()
        if cancelled:
            await self.send({"toolCallCancellation": {"ids": sorted(cancelled)}})
        if self._generating is None or self._generating.done():
            return
        await self.stop()
        self._remember_spoken()
        self._vendor.stopped.set()
        self._session.interruptions += 1
        await self.send(content(interrupted=True))
        await self.send({**content(turnComplete=True), "usageMetadata": USAGE})

    async def stop(self) -> None:
        if self._generating is not None:
            self._generating.cancel()
            await asyncio.wait([self._generating])
            self._generating = None
