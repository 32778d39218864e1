"""Speech to text by any Wyoming server: faster-whisper, Vosk, speech-to-phrase and others.

Events and their framing are the `wyoming` package's. The connection is opened here, as the package's client
doesn't tell a server that hung up from one that talks nonsense. https://github.com/OHF-Voice/wyoming
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer, ProviderUnavailable
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.http.audio import byte_chunks
from mimi_mqtt.providers.http.streaming import sending
from mimi_mqtt.providers.languages import language_named, primary
from mimi_mqtt.providers.runtime.resilience import Limits

if TYPE_CHECKING:
    from wyoming.event import Event

_WIDTH_BYTES = 2
_CHANNELS = 1


class WyomingSttOptions(ProviderOptions):
    """Options of `providers.options.wyoming` for hearing."""

    stt_uri: str = Field("tcp://localhost:10300", pattern=r"^(tcp://[^/:]+:\d{1,5}/?|unix:///.+)$")
    """Address of the server, such as tcp://192.168.1.5:10300 or unix:///run/whisper.sock."""

    stt_model: str | None = None
    """Model to ask for, on servers that have several."""

    stt_words: tuple[str, ...] = ()
    """Words to expect: names of people, rooms and things; servers that can't use them ignore them."""

    stt_detects_language: bool = False
    """True when the server finds out which language is spoken when it isn't told, as wyoming-faster-whisper
    does with --language auto. false: it is told the conversation's language."""


class WyomingSpeechToText(SpeechToText):
    """Sends audio while the speaker speaks; passes on interim transcripts of servers that stream them."""

    Options = WyomingSttOptions
    packages = ("wyoming",)
    extra = "wyoming"
    capabilities = SttCapabilities(streaming=True)

    def __init__(self, name: str, options: WyomingSttOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self.capabilities = SttCapabilities(
            streaming=True, detects=None if options.stt_detects_language else frozenset()
        )

    async def start(self) -> None:
        """Loads the package. Raises ProviderNotConfigured without it."""
        await asyncio.to_thread(self._load)

    def _load(self) -> None:
        for module in ("wyoming.asr", "wyoming.audio", "wyoming.error", "wyoming.event"):
            load_package(module, self.name, self.extra)

    async def _transcribe(
        self, audio: AsyncIterator[Pcm], language: str | None
    ) -> AsyncGenerator[Transcript, None]:
        await self.start()
        hint = primary(language) if language else None
        text = ""
        async with (
            self._connected() as (reader, writer),
            sending(self._send(writer, audio, hint), writer.transport.abort),
        ):
            while True:
                event = await self._event(reader)
                match event.type:
                    case "transcript-start":
                        text = ""
                    case "transcript-chunk":
                        text += self._text(event)
                        yield Transcript(text.strip(), final=False)
                    case "transcript":
                        heard = language_named(event.data.get("language"))
                        yield Transcript(self._text(event).strip(), final=True, language=heard)
                    case "transcript-stop":
                        yield Transcript(text.strip(), final=True)
                    case "error":
                        raise ProviderUnavailable(self.name, f"failed: {self._text(event)[:200]}")

    def _text(self, event: "Event") -> str:
        text = event.data.get("text")
        if not isinstance(text, str):
            raise ProviderBadAnswer(self.name, f"a {event.type} without text")
        return text

    async def _send(self, writer: asyncio.StreamWriter, audio: AsyncIterator[Pcm], hint: str | None) -> None:
        from wyoming.asr import Transcribe
        from wyoming.audio import AudioChunk, AudioStart, AudioStop
        from wyoming.event import async_write_event

        words = [*self._options.stt_words] or None
        rate = self.capabilities.sample_rate
        transcribe = Transcribe(name=self._options.stt_model, language=hint, transcript_names=words)
        await async_write_event(transcribe.event(), writer)
        await async_write_event(AudioStart(rate, _WIDTH_BYTES, _CHANNELS).event(), writer)
        async for chunk in byte_chunks(audio):
            await async_write_event(AudioChunk(rate, _WIDTH_BYTES, _CHANNELS, chunk).event(), writer)
        await async_write_event(AudioStop().event(), writer)

    async def _event(self, reader: asyncio.StreamReader) -> "Event":
        """The next event. Raises ProviderError when there is none."""
        from wyoming.event import async_read_event

        try:
            event = await async_read_event(reader)
        except asyncio.IncompleteReadError as error:
            raise ProviderUnavailable(self.name, f"{self._options.stt_uri} hung up in the middle") from error
        except (AttributeError, TypeError, LookupError) as error:
            raise ProviderBadAnswer(self.name, f"{self._options.stt_uri} does not speak Wyoming") from error
        if event is None and reader.at_eof():
            raise ProviderUnavailable(self.name, f"{self._options.stt_uri} hung up in the middle")
        # The package checks no types.
        shape: object = None if event is None else (event.type, event.data)
        if event is None or not (isinstance(shape, tuple) and [*map(type, shape)] == [str, dict]):
            raise ProviderBadAnswer(self.name, f"{self._options.stt_uri} does not speak Wyoming")
        return event

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        uri = urlsplit(self._options.stt_uri)
        try:
            if uri.scheme == "unix":
                reader, writer = await asyncio.open_unix_connection(uri.path)
            else:
                reader, writer = await asyncio.open_connection(uri.hostname, uri.port)
            try:
                yield reader, writer
            finally:
                # Nothing is left to say; waiting for the other side would only hold up the answer.
                writer.close()
        except TimeoutError:
            raise
        except OSError as error:
            cause = error.strerror or type(error).__name__
            raise ProviderUnavailable(self.name, f"can't reach {self._options.stt_uri} ({cause})") from error
