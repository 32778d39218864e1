"""A local speech-to-text server made of the `wyoming` package's own server code."""

import asyncio
import json
from collections.abc import Sequence

from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.server import AsyncEventHandler, AsyncTcpServer

from tests.servers.vendor import Asked, Cut, FakeVendor, Fault, Nonsense, Silence, Status


class WyomingAsrServer(FakeVendor):
    """Set what it hears (`words`), in which `language`, and whether it streams its transcript."""

    def __init__(self, *, streams: bool = True) -> None:
        super().__init__()
        self.streams = streams
        self.words: Sequence[str] = ("hello", " world")
        self.language: str | None = None
        self.audio = bytearray()
        self.starts: list[AudioStart] = []
        self.hears = asyncio.Event()
        """Set when audio comes."""
        self._server: _Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._server = _Server("127.0.0.1", 0)
        await self._server.start(lambda reader, writer: _Handler(self, reader, writer))
        self._port = self._server.bound_port

    async def aclose(self) -> None:
        self._closing.set()
        if self._server is not None:
            await self._server.stop()


class _Server(AsyncTcpServer):
    @property
    def bound_port(self) -> int:
        assert isinstance(self._server, asyncio.Server)
        port: int = self._server.sockets[0].getsockname()[1]
        return port


class _Handler(AsyncEventHandler):
    """One connection."""

    def __init__(
        self, vendor: WyomingAsrServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        super().__init__(reader, writer)
        self._vendor = vendor
        self._fault: Fault | None = None
        self._said = 0

    async def handle_event(self, event: Event) -> bool:
        vendor = self._vendor
        if Transcribe.is_type(event.type):
            vendor.asked.append(Asked("transcribe", {}, dict(event.data)))
            self._fault = vendor.faults.popleft() if vendor.faults else None
        elif AudioStart.is_type(event.type):
            vendor.starts.append(AudioStart.from_event(event))
            if vendor.streams:
                await self.write_event(TranscriptStart().event())
        elif AudioChunk.is_type(event.type):
            vendor.audio += AudioChunk.from_event(event).audio
            vendor.hears.set()
            if vendor.streams and not self._said:
                return await self._say(TranscriptChunk(vendor.words[0]).event())
        elif AudioStop.is_type(event.type):
            return await self._answer()
        return True

    async def _answer(self) -> bool:
        vendor = self._vendor
        transcript = Transcript("".join(vendor.words), language=vendor.language).event()
        if not vendor.streams:
            line = json.dumps(transcript.to_dict()).encode() + b"\n"
            return await self._say(line[:9]) and await self._say(line[9:]) and False
        for word in vendor.words[1:]:
            if not await self._say(TranscriptChunk(word).event()):
                return False
        return await self._say(transcript) and await self._say(TranscriptStop().event()) and False

    async def _say(self, event: Event | bytes) -> bool:
        """True to go on after `event`; plays the fault in its place."""
        match self._fault:
            case Status() as fault:
                await self.write_event(Error(fault.message, str(fault.code)).event())
                return False
            case Nonsense(body):
                self.writer.write(body + b"\n")
                await self._vendor.hang()
                return False
            case Cut(after) if self._said >= after:
                self.writer.transport.abort()
                return False
            case Silence(after) if self._said >= (after or 0):
                await self._vendor.hang()
                return False
        self._said += 1
        if isinstance(event, bytes):
            self.writer.write(event)
            await self.writer.drain()
        else:
            await self.write_event(event)
        return True
