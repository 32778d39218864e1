"""Speech to text by Azure Speech: the audio is sent while it is spoken, in one request.

That is what people mean by Azure for speech; the transcription models of Azure OpenAI are reached as
`openai:azure` with a base_url of https://NAME.openai.azure.com/openai/v1. Plain HTTP, as Microsoft documents
it ("Speech to text REST API for short audio", up to 60 s): the SDK is a native library of its own.
"""

import struct
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import ClassVar, Literal

import httpx
from pydantic import BaseModel, Field, ValidationError

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer, ProviderUnavailable
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.http.audio import byte_chunks
from mimi_mqtt.providers.http.client import HttpClient
from mimi_mqtt.providers.http.errors import http_errors, readable, status_error
from mimi_mqtt.providers.languages import normalized, primary
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.azure.speech import AzureSpeechOptions, SpeechResource

_PATH = "/speech/recognition/conversation/cognitiveservices/v1"

# The service wants a locale: the one that is taken for a language alone.
_LOCALES: Mapping[str, str] = {
    "no": "nb-NO",
    "ar": "ar-SA",
    "ca": "ca-ES",
    "cs": "cs-CZ",
    "da": "da-DK",
    "el": "el-GR",
    "en": "en-US",
    "et": "et-EE",
    "fa": "fa-IR",
    "he": "he-IL",
    "hi": "hi-IN",
    "ja": "ja-JP",
    "ko": "ko-KR",
    "ms": "ms-MY",
    "nb": "nb-NO",
    "pt": "pt-BR",
    "sl": "sl-SI",
    "sr": "sr-RS",
    "sv": "sv-SE",
    "uk": "uk-UA",
    "vi": "vi-VN",
    "zh": "zh-CN",
    **{
        language: f"{language}-{language.upper()}"
        for language in ("bg", "de", "es", "fi", "fr", "hr", "hu", "id", "it", "lt", "lv", "nl", "pl", "ro")
    },
    **{language: f"{language}-{language.upper()}" for language in ("ru", "sk", "th", "tr")},
}

_NOTHING_SAID = frozenset({"NoMatch", "InitialSilenceTimeout", "BabbleTimeout"})


class AzureSttOptions(AzureSpeechOptions):
    """Options of `providers.options.azure` for hearing."""

    instead: ClassVar[Mapping[str, str]] = {"speech_region": "stt_url"}

    stt_url: str | None = Field(None, pattern=r"^https?://[^/]")
    """Address of the service where it isn't the region's, such as
    https://my-name.cognitiveservices.azure.com/stt."""

    stt_language: str = Field("en-US", pattern=r"^[a-z]{2,3}-[A-Za-z]{2,4}(-[A-Za-z]{2})?$")
    """Locale to listen for where the speaker's language is not known."""

    stt_profanity: Literal["masked", "removed", "raw"] = "raw"
    """Treatment of profanity."""


class _Phrase(BaseModel):
    Display: str
    Confidence: float | None = None


class _Answer(BaseModel):
    RecognitionStatus: str
    DisplayText: str | None = None
    NBest: list[_Phrase] = Field(default_factory=list)


class AzureSpeechToText(SpeechToText):
    """`POST` with a growing body; the text comes when the speaker is done."""

    Options = AzureSttOptions
    capabilities = SttCapabilities(streaming=True)

    def __init__(self, name: str, options: AzureSttOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._client = HttpClient(limits)
        self._resource = SpeechResource(name, options, "stt", options.stt_url)

    async def start(self) -> None:
        """Makes the client. Raises ProviderNotConfigured without a key or a region."""
        self._resource.url(_PATH)
        self._resource.key_header()
        await self._client.get()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _transcribe(
        self, audio: AsyncIterator[Pcm], language: str | None
    ) -> AsyncGenerator[Transcript, None]:
        client = await self._client.get()
        rate, url = self.capabilities.sample_rate, self._resource.url(_PATH)
        locale = locale_for(language, self._options.stt_language)
        headers = {
            **self._resource.key_header(),
            "Content-Type": f"audio/wav; codecs=audio/pcm; samplerate={rate}",
            "Accept": "application/json",
        }
        query = {"language": locale, "format": "detailed", "profanity": self._options.stt_profanity}
        async with http_errors(self.name, self.limits, httpx.URL(url).host):
            answer = await client.post(url, params=query, headers=headers, content=_growing_file(audio, rate))
        if not answer.is_success:
            message = readable(answer.content, (self._options.speech_key,))
            raise status_error(self.name, answer.status_code, message, answer.headers, self._resource.cures)
        yield self._transcript(answer.content, locale)

    def _transcript(self, body: bytes, locale: str) -> Transcript:
        try:
            answer = _Answer.model_validate_json(body)
        except ValidationError as error:
            raise ProviderBadAnswer(self.name, "the answer has an unknown shape") from error
        language = primary(locale)
        if answer.RecognitionStatus in _NOTHING_SAID:
            return Transcript("", final=True, language=language)
        if answer.RecognitionStatus == "Error":
            raise ProviderUnavailable(self.name, "failed to recognise")
        if answer.RecognitionStatus != "Success" or (not answer.NBest and answer.DisplayText is None):
            raise ProviderBadAnswer(self.name, f"answered with {answer.RecognitionStatus[:40]!r}")
        if not answer.NBest:
            return Transcript((answer.DisplayText or "").strip(), final=True, language=language)
        best = answer.NBest[0]
        return Transcript(best.Display.strip(), True, language, best.Confidence)


def locale_for(language: str | None, default: str) -> str:
    """The locale for a hint such as `pt`, `pt-BR` or `zh_TW`."""
    if not language:
        return default
    subtag, _, rest = normalized(language).partition("-")
    return f"{subtag}-{rest.upper()}" if len(rest) == 2 else _LOCALES.get(subtag, default)


async def _growing_file(audio: AsyncIterator[Pcm], rate: int) -> AsyncGenerator[bytes, None]:
    """A WAV file whose length is not known yet."""
    yield b"RIFF" + struct.pack("<I", 0) + b"WAVE"
    yield b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    yield b"data" + struct.pack("<I", 0)
    async for chunk in byte_chunks(audio):
        yield chunk
