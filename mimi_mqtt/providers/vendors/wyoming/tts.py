"""Text to speech by a Wyoming server, such as Piper's: events over TCP or a Unix socket.

The codec and the events are the `wyoming` package's. Its client is not used: it answers `None` for a closed
connection and for a broken event alike, which are different failures.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field

from mimi_mqtt.errors import ProviderBadAnswer, ProviderError, ProviderNotConfigured, ProviderUnavailable
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package, speaks
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.runtime.resilience import Limits

if TYPE_CHECKING:
    from wyoming.audio import AudioChunk
    from wyoming.event import Event
    from wyoming.info import TtsProgram
    from wyoming.tts import SynthesizeVoice

_log = logging.getLogger(__name__)

_GREETING_S: Final = 3.0
"""Wait for the server's description at the start, in seconds; it is asked for again at the first sentence."""


class WyomingTtsOptions(ProviderOptions):
    """Options of `providers.options.wyoming` for speaking."""

    tts_uri: str = Field("tcp://localhost:10200", pattern=r"^(tcp://[^/:]+:\d{1,5}/?|unix:///.+)$")
    """Address of the server, such as tcp://192.168.1.5:10200 or unix:///run/piper.sock."""

    tts_voice: str | None = None
    """Name of the voice, where assistant.voice is empty; other languages than its own are left to the next
    provider of the list. Empty: the voice that the server was started with."""

    tts_speaker: str | None = None
    """Speaker, for a named voice that has several."""


class WyomingTextToSpeech(TextToSpeech):
    """One connection a sentence; a server that can stream is asked to."""

    Options = WyomingTtsOptions
    packages = ("wyoming",)
    extra = "wyoming"

    def __init__(self, name: str, options: WyomingTtsOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self.capabilities = TtsCapabilities(streaming=True)
        self._options = options
        self._program: TtsProgram | None = None

    async def start(self) -> None:
        """Imports the package, and asks the server for its voices, which a chain chooses by; it may come up
        later. Raises ProviderNotConfigured.
        """
        await asyncio.to_thread(load_package, "wyoming.info", self.name, self.extra)
        try:
            async with asyncio.timeout(_GREETING_S), self._connected() as connection:
                self._program = await self._describe(connection)
        except (TimeoutError, OSError, ProviderUnavailable, ProviderBadAnswer) as error:
            _log.info("%s does not answer yet: %s", self.name, error)

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        await asyncio.to_thread(load_package, "wyoming.info", self.name, self.extra)
        async with self._connected() as connection:
            if self._program is None:
                self._program = await self._describe(connection)
            async for chunk in self._speech(connection, self._program, text, voice):
                yield chunk

    async def _describe(self, connection: "_Connection") -> "TtsProgram":
        """The server's description of its voices, requested once."""
        from wyoming.info import Describe, Info

        await connection.write(Describe().event())
        while not Info.is_type((event := await connection.read()).type):
            pass
        try:
            program = next(iter(Info.from_event(event).tts), None)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ProviderBadAnswer(self.name, "describes its voices in an unknown shape") from error
        if program is None:
            raise ProviderNotConfigured(self.name, "the Wyoming server at tts_uri does not speak")
        self.capabilities = TtsCapabilities(streaming=True, languages=self._languages(program))
        return program

    async def _speech(
        self, connection: "_Connection", program: "TtsProgram", text: str, voice: VoiceOptions
    ) -> AsyncIterator[SpeechChunk]:
        from wyoming.audio import AudioChunk, AudioStop
        from wyoming.error import Error
        from wyoming.tts import (
            Synthesize,
            SynthesizeChunk,
            SynthesizeStart,
            SynthesizeStop,
            SynthesizeStopped,
        )

        chosen = self._voice(program, voice)
        streams = program.supports_synthesize_streaming
        if streams:
            await connection.write(SynthesizeStart(voice=chosen).event())
            await connection.write(SynthesizeChunk(text=text).event())
            await connection.write(SynthesizeStop().event())
        else:
            await connection.write(Synthesize(text=text, voice=chosen).event())
        # A streaming server may send several audio streams, one for each sentence it finds.
        last = SynthesizeStopped if streams else AudioStop
        while not last.is_type((event := await connection.read()).type):
            if Error.is_type(event.type):
                raise ProviderUnavailable(self.name, f"the server failed: {Error.from_event(event).text}")
            if AudioChunk.is_type(event.type):
                yield self._chunk(AudioChunk.from_event(event))

    def _voice(self, program: "TtsProgram", voice: VoiceOptions) -> "SynthesizeVoice | None":
        """The voice that was asked for, if the server has it for the language; else None: the server's own.

        Servers call every voice that they could download installed: none is chosen for them.
        """
        from wyoming.tts import SynthesizeVoice

        able = {known.name: frozenset(known.languages) or None for known in program.voices}
        asked = (voice.voice, self._options.tts_voice)
        name = next(
            (name for name in asked if name and (not able or _fits(able, name, voice.language))), None
        )
        return SynthesizeVoice(name=name, speaker=self._options.tts_speaker) if name else None

    def _languages(self, program: "TtsProgram") -> frozenset[str] | None:
        """The languages of the voice of tts_voice, where the server has it; else of all voices."""
        own = [known for known in program.voices if known.name == self._options.tts_voice]
        spoken = frozenset(language for known in own or program.voices for language in known.languages)
        return spoken or None

    def _chunk(self, chunk: "AudioChunk") -> SpeechChunk:
        if chunk.width != 2 or chunk.channels != 1 or not 8_000 <= chunk.rate <= 48_000:
            raise ProviderBadAnswer(
                self.name,
                f"sent {chunk.width * 8}-bit audio with {chunk.channels} channels at {chunk.rate} Hz",
            )
        whole = len(chunk.audio) & ~1
        return SpeechChunk(np.frombuffer(chunk.audio[:whole], "<i2").astype(np.int16, copy=False), chunk.rate)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator["_Connection"]:
        address = urlsplit(self._options.tts_uri)
        if address.scheme == "unix":
            reader, writer = await asyncio.open_unix_connection(address.path)
        else:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            yield _Connection(self.name, reader, writer)
        except (ProviderError, OSError):
            self._program = None  # another server may answer next time
            raise
        finally:
            writer.close()


def _fits(able: Mapping[str, frozenset[str] | None], name: str, language: str) -> bool:
    """True when there is a voice `name` for `language`; `able` has the languages of each, None for any."""
    return name in able and speaks(able[name], language)


class _Connection:
    """One connection, event by event. Raises ProviderError kinds."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._name = name
        self._reader = reader
        self._writer = writer

    async def write(self, event: "Event") -> None:
        """Sends `event`."""
        from wyoming.event import async_write_event

        await async_write_event(event, self._writer)

    async def read(self) -> "Event":
        """The next event."""
        from wyoming.event import async_read_event

        try:
            event = await async_read_event(self._reader)
        except asyncio.IncompleteReadError as error:
            raise ProviderUnavailable(self._name, "hung up in the middle of an event") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ProviderBadAnswer(self._name, "sent something that is no Wyoming event") from error
        if event is None and self._reader.at_eof():
            raise ProviderUnavailable(self._name, "hung up")
        if event is None:
            raise ProviderBadAnswer(self._name, "sent something that is no Wyoming event")
        return event
