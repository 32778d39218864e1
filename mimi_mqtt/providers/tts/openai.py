"""Text to speech by OpenAI or a compatible server, as PCM that is played while it is made."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.base import (
    Limits,
    SpeechChunk,
    TextToSpeech,
    TtsCapabilities,
    VoiceOptions,
)
from mimi_mqtt.providers.openai_compatible import OpenAiClient, OpenAiOptions

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_MAX_HEADER_BYTES = 4096
_UNKNOWN_LENGTH = 0x7FFF_0000


class OpenAiTtsOptions(OpenAiOptions):
    """Options of `providers.options.openai` for speaking."""

    tts_model: str = "gpt-4o-mini-tts"
    """Speech model."""

    tts_voice: str = "coral"
    """Voice, where assistant.voice is empty."""

    tts_instructions: str = ""
    """How to speak, such as "warm and calm", for models that follow instructions."""

    tts_format: Literal["pcm", "wav"] = "pcm"
    """What is asked for; wav for servers that know no pcm."""

    tts_sample_rate: int = Field(24_000, ge=8_000, le=48_000)
    """Sample rate of pcm, in Hz: 24000 at OpenAI; a WAV file says its own."""


class OpenAiTextToSpeech(TextToSpeech):
    """`POST /audio/speech` with a streamed answer."""

    Options = OpenAiTtsOptions
    capabilities = TtsCapabilities(streaming=True)

    def __init__(self, name: str, options: OpenAiTtsOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._client = OpenAiClient(name, options, limits)

    async def start(self) -> None:
        """Makes the client. Raises ProviderNotConfigured."""
        await self._client.get()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        client = await self._client.get()
        samples = SampleReader(self.name, self._options.tts_sample_rate)
        async with self._client.errors():
            async with aclosing(self._bytes(client, text, voice)) as pieces:
                async for piece in pieces:
                    if (chunk := samples.feed(piece)) is not None:
                        yield chunk
            samples.finish()

    async def _bytes(
        self, client: "AsyncOpenAI", text: str, voice: VoiceOptions
    ) -> AsyncGenerator[bytes, None]:
        from openai import omit

        async with client.audio.speech.with_streaming_response.create(
            model=self._options.tts_model,
            input=text,
            voice=voice.voice or self._options.tts_voice,
            instructions=self._options.tts_instructions or omit,
            response_format=self._options.tts_format,
            speed=omit if voice.speed == 1.0 else voice.speed,
        ) as response:
            kind = response.headers.get("content-type", "")
            if kind.startswith(("text/", "application/json")):
                raise ProviderBadAnswer(self.name, f"answered {kind} instead of audio")
            async for piece in response.iter_bytes():
                yield piece


class SampleReader:
    """Cuts a stream of bytes into samples, which may lie across pieces; reads a WAV header, if any."""

    def __init__(self, provider: str, sample_rate: int) -> None:
        self._provider = provider
        self._rate = sample_rate
        self._held = b""
        self._in_header = True
        self._left: int | None = None

    def feed(self, piece: bytes) -> SpeechChunk | None:
        """The samples that are whole now, if any. Raises ProviderBadAnswer for a WAV file of another kind."""
        self._held += piece
        if self._in_header and not self._read_header():
            return None
        if self._left is not None:
            self._held = self._held[: self._left]
        whole = len(self._held) & ~1
        if not whole:
            return None
        if self._left is not None:
            self._left -= whole
        pcm = np.frombuffer(self._held[:whole], "<i2").astype(np.int16, copy=False)
        self._held = self._held[whole:]
        return SpeechChunk(pcm, self._rate)

    def finish(self) -> None:
        """Raises ProviderBadAnswer when the audio ended within its header."""
        if self._in_header and self._held:
            raise ProviderBadAnswer(self._provider, "the audio ended within its header")

    def _read_header(self) -> bool:
        """Whether the header, if any, is over."""
        if len(self._held) < 4:
            return False
        if not self._held.startswith(b"RIFF"):
            self._in_header = False
            return True
        position = 12
        while position + 8 <= len(self._held):
            kind, size = self._held[position : position + 4], self._held[position + 4 : position + 8]
            body = position + 8
            length = int.from_bytes(size, "little")
            if kind == b"data":
                self._held = self._held[body:]
                self._in_header = False
                # Servers that make speech while they send it don't know its length, and say 0 or a lot.
                self._left = length if 0 < length < _UNKNOWN_LENGTH else None
                return True
            if kind == b"fmt " and body + 16 <= len(self._held):
                self._read_format(self._held[body : body + 16])
            position = body + length + length % 2
        if len(self._held) > _MAX_HEADER_BYTES:
            raise ProviderBadAnswer(self._provider, "the WAV header does not end")
        return False

    def _read_format(self, fields: bytes) -> None:
        channels = int.from_bytes(fields[2:4], "little")
        self._rate = int.from_bytes(fields[4:8], "little")
        bits = int.from_bytes(fields[14:16], "little")
        if channels != 1 or bits != 16 or not 8_000 <= self._rate <= 48_000:
            raise ProviderBadAnswer(
                self._provider, f"sent {bits}-bit audio with {channels} channels at {self._rate} Hz"
            )
