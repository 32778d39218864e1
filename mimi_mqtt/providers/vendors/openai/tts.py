"""Text to speech by OpenAI or a compatible server, as PCM that is played while it is made."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.http.audio import speech_from, told_rate
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.openai.compatible import OpenAiOptions, OpenAiProvider

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai._response import AsyncStreamedBinaryAPIResponse

_OPENAI_RATE: Final = 24_000


class OpenAiTtsOptions(OpenAiOptions):
    """Options of `providers.options.openai` for speaking."""

    tts_model: str = "gpt-4o-mini-tts"
    """Speech model."""

    tts_voice: str = "coral"
    """Voice, where assistant.voice is empty."""

    tts_instructions: str = ""
    """The manner of speaking, such as "warm and calm", for models that follow instructions."""

    tts_format: Literal["auto", "pcm", "wav"] = "auto"
    """Format that is asked for. auto: pcm of OpenAI itself and where tts_sample_rate is set, else wav, which
    says its own rate."""

    tts_sample_rate: int | None = Field(None, ge=8_000, le=48_000)
    """Sample rate of pcm, in Hz, where the server does not tell it. Empty: 24000, as OpenAI has it."""

    @property
    def format(self) -> Literal["pcm", "wav"]:
        """The format that is asked for."""
        if self.tts_format != "auto":
            return self.tts_format
        return "pcm" if self.official or self.tts_sample_rate is not None else "wav"


class OpenAiTextToSpeech(OpenAiProvider, TextToSpeech):
    """`POST /audio/speech` with a streamed answer."""

    Options = OpenAiTtsOptions
    capabilities = TtsCapabilities(streaming=True)

    def __init__(self, name: str, options: OpenAiTtsOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        client = await self._client.get()
        async with self._client.errors(), self._asked(client, text, voice) as response:
            kind = response.headers.get("content-type", "")
            if kind.startswith(("text/", "application/json")):
                raise ProviderBadAnswer(self.name, f"answered {kind} instead of audio")
            rate = told_rate(self.name, response.headers, self._options.tts_sample_rate or _OPENAI_RATE)
            async for chunk in speech_from(self.name, rate, response.iter_bytes()):
                yield chunk

    def _asked(
        self, client: "AsyncOpenAI", text: str, voice: VoiceOptions
    ) -> "AbstractAsyncContextManager[AsyncStreamedBinaryAPIResponse]":
        from openai import omit

        return client.audio.speech.with_streaming_response.create(
            model=self._options.tts_model,
            input=text,
            voice=voice.voice or self._options.tts_voice,
            instructions=self._options.tts_instructions or omit,
            response_format=self._options.format,
            speed=omit if voice.speed == 1.0 else voice.speed,
        )
