"""Text to speech by ElevenLabs, as PCM that is played while it is made.

Plain HTTP (`POST /v1/text-to-speech/{voice}/stream`): the sentence is known when it is asked for, so the
WebSocket, made for text that is still being written, would only add a handshake; and the SDK adds nothing
to one POST.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.http.audio import HttpAudio
from mimi_mqtt.providers.languages import primary_subtag
from mimi_mqtt.providers.runtime.resilience import Limits

OFFICIAL_URL = "https://api.elevenlabs.io"

# Slower or faster is refused.
_SLOWEST, _FASTEST = 0.7, 1.2

# Models that take the language as a parameter; the others hear it from the text and refuse the parameter.
_TOLD_THE_LANGUAGE = ("eleven_flash_v2_5", "eleven_turbo_v2_5")

# Of eleven_flash_v2_5, the model with the most.
_LANGUAGES = (
    "ar bg cs da de el en es fi fil fr hi hr hu id it ja ko ms nl no pl pt ro ru sk sv ta tr uk vi zh"
)


class ElevenLabsOptions(ProviderOptions):
    """Options of `providers.options.elevenlabs`."""

    environment: ClassVar[Mapping[str, str]] = {"api_key": "ELEVENLABS_API_KEY"}

    required: ClassVar[tuple[str, ...]] = ("api_key",)

    api_key: SecretStr | None = None
    """The key. Empty: the variable ELEVENLABS_API_KEY."""

    base_url: str = Field(OFFICIAL_URL, pattern=r"^https?://[^/]")
    """Address of the service; https://api.eu.residency.elevenlabs.io keeps data in the EU."""

    tts_model: str = "eleven_flash_v2_5"
    """Speech model; flash is the fastest."""

    tts_voice: str = "21m00Tcm4TlvDq8ikWAM"
    """Id of the voice, where assistant.voice is empty."""

    tts_stability: float | None = Field(None, ge=0, le=1)
    """0 is lively, 1 is even. Empty: the voice's own."""

    tts_similarity: float | None = Field(None, ge=0, le=1)
    """Similarity to the original voice. Empty: the voice's own."""

    tts_sample_rate: Literal[16_000, 22_050, 24_000] = 24_000
    """Sample rate that is asked for, in Hz."""


class ElevenLabs(TextToSpeech):
    """One streamed POST a sentence."""

    Options = ElevenLabsOptions
    capabilities = TtsCapabilities(streaming=True, languages=frozenset(_LANGUAGES.split()))

    def __init__(self, name: str, options: ElevenLabsOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        cures = {
            401: f"set ELEVENLABS_API_KEY or providers.options.{name}.api_key",
            404: f"see the voice id in assistant.voice or providers.options.{name}.tts_voice",
        }
        self._http = HttpAudio(name, limits, (options.api_key,), cures)

    async def start(self) -> None:
        """Makes the client. Raises ProviderNotConfigured without a key."""
        self._headers()
        await self._http.get()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        options = self._options
        name = quote(voice.voice or options.tts_voice, safe="")
        url = f"{options.base_url.rstrip('/')}/v1/text-to-speech/{name}/stream"
        query = {"output_format": f"pcm_{options.tts_sample_rate}"}
        body = json.dumps(self._body(text, voice), ensure_ascii=False).encode()
        speech = self._http.speech(url, self._headers(), body, options.tts_sample_rate, query)
        async with aclosing(speech) as chunks:
            async for chunk in chunks:
                yield chunk

    def _headers(self) -> Mapping[str, str]:
        if self._options.api_key is None:
            raise ProviderNotConfigured(
                self.name, f"no key: set ELEVENLABS_API_KEY or providers.options.{self.name}.api_key"
            )
        return {"xi-api-key": self._options.api_key.get_secret_value(), "Content-Type": "application/json"}

    def _body(self, text: str, voice: VoiceOptions) -> Mapping[str, object]:
        options = self._options
        body: dict[str, object] = {"text": text, "model_id": options.tts_model}
        if options.tts_model in _TOLD_THE_LANGUAGE:
            language = primary_subtag(voice.language)
            body["language_code"] = "no" if language == "nb" else language
        settings = {
            "stability": options.tts_stability,
            "similarity_boost": options.tts_similarity,
            "speed": None if voice.speed == 1.0 else min(max(voice.speed, _SLOWEST), _FASTEST),
        }
        if given := {key: value for key, value in settings.items() if value is not None}:
            body["voice_settings"] = given
        return body
