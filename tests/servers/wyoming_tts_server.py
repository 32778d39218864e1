"""A local Wyoming service that speaks: the `wyoming` package's own server around a scripted voice."""

import asyncio
import socket
from functools import partial

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.server import AsyncEventHandler, AsyncTcpServer
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped

from tests.servers.vendor import Asked, Cut, FakeVendor, Fault, HungUp, Nonsense, Silence, Status

_BY = Attribution("nobody", "http://localhost")


def voice(name: str, *languages: str) -> TtsVoice:
    return TtsVoice(
        name=name, languages=list(languages), attribution=_BY, installed=True, description=None, version=None
    )


class _Server(AsyncTcpServer):
    """On a socket that is bound already."""

    async def listen(self, sock: socket.socket, make: type["_Voice"], vendor: "WyomingTtsServer") -> None:
        answer = partial(self._handler_callback, partial(make, vendor))
        self._server = await asyncio.start_server(answer, sock=sock)


class WyomingTtsServer(FakeVendor):
    """`streams`: it understands text in pieces, as newer services do. `parts` is what it says."""

    def __init__(self, *, streams: bool = False) -> None:
        super().__init__()
        self.streams = streams
        self.described = 0
        self.voices = [voice("en-amy", "en_US"), voice("de-eva", "de")]
        self.speaks = True
        self.rate, self.width, self.channels = 24_000, 2, 1
        self.parts = (b"\x01\x00\x02\x00", b"\x03\x00")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = _Server("127.0.0.1", self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._server.port}"

    async def start(self) -> None:
        await self._server.listen(self._socket, _Voice, self)

    async def aclose(self) -> None:
        self._closing.set()
        await self._server.stop()
        self._socket.close()

    def info(self) -> Info:
        program = TtsProgram(
            name="scripted",
            attribution=_BY,
            installed=True,
            description=None,
            version=None,
            voices=self.voices,
            supports_synthesize_streaming=self.streams,
        )
        return Info(tts=[program] if self.speaks else [])


class _Voice(AsyncEventHandler):
    """One connection."""

    def __init__(
        self, vendor: WyomingTtsServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        super().__init__(reader, writer)
        self._vendor = vendor
        self._pieces: SynthesizeStart | None = None
        self._text = ""
        self._said = 0
        self._fault: Fault | None = None

    async def handle_event(self, event: Event) -> bool:
        vendor = self._vendor
        if Describe.is_type(event.type):
            vendor.described += 1
            await self.write_event(vendor.info().event())
        elif Synthesize.is_type(event.type):
            whole = Synthesize.from_event(event)
            return await self._answer(event.type, whole.text, event)
        elif SynthesizeStart.is_type(event.type):
            self._pieces = SynthesizeStart.from_event(event)
            self._opening = event
        elif SynthesizeChunk.is_type(event.type):
            self._text += SynthesizeChunk.from_event(event).text
        elif SynthesizeStop.is_type(event.type):
            return await self._answer("synthesize-start", self._text, self._opening)
        return True

    async def _answer(self, kind: str, text: str, event: Event) -> bool:
        vendor = self._vendor
        vendor.asked.append(Asked(kind, {}, {"text": text, "voice": event.data.get("voice")}))
        self._fault = vendor.faults.popleft() if vendor.faults else None
        try:
            await self._speak()
        except HungUp:
            self.writer.transport.abort()
            return False
        return True

    async def _speak(self) -> None:
        vendor = self._vendor
        if isinstance(self._fault, Status):
            await self.write_event(Error(self._fault.message, "RuntimeError").event())
            return
        if isinstance(self._fault, Nonsense):
            self.writer.write(self._fault.body + b"\n")
            await vendor.hang()
            raise HungUp
        sound = (vendor.rate, vendor.width, vendor.channels)
        await self.write_event(AudioStart(*sound).event())
        for part in vendor.parts:
            match self._fault:
                case Cut(after) if self._said >= after:
                    raise HungUp
                case Silence(after) if self._said >= (after or 0):
                    await vendor.hang()
                    raise HungUp
            self._said += 1
            await self.write_event(AudioChunk(*sound, audio=part).event())
        await self.write_event(AudioStop().event())
        if vendor.streams:
            await self.write_event(SynthesizeStopped().event())
