"""Text to speech by OpenAI or a compatible server, as PCM that is played while it is made."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.http.audio import speech_from
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.openai.compatible import OpenAiOptions, OpenAiProvider

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class OpenAiTtsOptions(OpenAiOptions):
    """Options of `providers.options.openai` for speaking."""

    tts_model: str = "gpt-4o-mini-tts"
    """Speech model."""

    tts_voice: str = "coral"
    """Voice, where assistant.voice is empty."""

    tts_instructions: str = ""
    """How to speak, such as "warm and calm", for models that follow instructions."""

    tts_format: Literal["pcm", "wav"] = "pcm"
    """Format that is asked for; wav for servers that know no pcm."""

    tts_sample_rate: int = Field(24_000, ge=8_000, le=48_000)
    """Sample rate of pcm, in Hz: 24000 at OpenAI; a WAV file says its own."""


class OpenAiTextToSpeech(OpenAiProvider, TextToSpeech):
    """`POST /audio/speech` with a streamed answer."""

    Options = OpenAiTtsOptions
    capabilities = TtsCapabilities(streaming=True)

    def __init__(self, name: str, options: OpenAiTtsOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        client = await self._client.get()
        async with self._client.errors(), aclosing(self._bytes(client, text, voice)) as pieces:
            async for chunk in speech_from(self.name, self._options.tts_sample_rate, pieces):
                yield chunk

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
