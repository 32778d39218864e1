"""Text to speech by Azure Speech: SSML in, raw samples out as they are made.

Plain HTTP, as Microsoft documents it ("Text to speech REST API"): the SDK is a native library of its own for
what is one POST.
"""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import ClassVar, Literal
from xml.sax.saxutils import escape, quoteattr

from pydantic import Field

from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.http.audio import HttpAudio
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.azure.speech import AzureSpeechOptions, SpeechResource
from mimi_mqtt.providers.vendors.azure.voices import LANGUAGES, rate_for, voice_for

_PATH = "/cognitiveservices/v1"

# Characters that XML 1.0 (section 2.2) does not allow, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class AzureTtsOptions(AzureSpeechOptions):
    """Options of `providers.options.azure` for speaking."""

    instead: ClassVar[Mapping[str, str]] = {"speech_region": "tts_url"}

    tts_url: str | None = Field(None, pattern=r"^https?://[^/]")
    """Address of the service where it isn't the region's, such as
    https://my-name.cognitiveservices.azure.com/tts."""

    tts_voice: str | None = None
    """Voice, such as de-DE-KatjaNeural, where assistant.voice is empty. Empty: one for the language."""

    tts_style: str | None = None
    """Speaking style for voices that have it, such as cheerful."""

    tts_sample_rate: Literal[16_000, 24_000, 48_000] = 24_000
    """Sample rate that is asked for, in Hz."""


class AzureTextToSpeech(TextToSpeech):
    """`POST /cognitiveservices/v1` with a streamed answer."""

    Options = AzureTtsOptions
    capabilities = TtsCapabilities(streaming=True, languages=LANGUAGES)

    def __init__(self, name: str, options: AzureTtsOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._resource = SpeechResource(name, options, "tts", options.tts_url)
        self._http = HttpAudio(name, limits, (options.speech_key,), self._resource.cures)

    async def start(self) -> None:
        """Makes the client. Raises ProviderNotConfigured without a key or a region."""
        self._resource.url(_PATH)
        self._headers()
        await self._http.get()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        name = voice.voice or self._options.tts_voice or voice_for(voice.language)
        body = ssml(text, name, voice.speed, self._options.tts_style).encode()
        rate = self._options.tts_sample_rate
        speech = self._http.speech(self._resource.url(_PATH), self._headers(), body, rate)
        async with aclosing(speech) as chunks:
            async for chunk in chunks:
                yield chunk

    def _headers(self) -> Mapping[str, str]:
        return {
            **self._resource.key_header(),
            "Content-Type": "application/ssml+xml",
            "X-Microsoft-OutputFormat": f"raw-{self._options.tts_sample_rate // 1000}khz-16bit-mono-pcm",
            "User-Agent": "mimi-mqtt",
        }


def ssml(text: str, voice: str, speed: float, style: str | None = None) -> str:
    """The document that speaks `text`: whatever is in it is said, never understood as markup."""
    locale = "-".join(voice.split("-")[:2])
    spoken = escape(_NOT_XML.sub(" ", text))
    if speed != 1.0:
        spoken = f"<prosody rate={quoteattr(rate_for(speed))}>{spoken}</prosody>"
    if style:
        spoken = f"<mstts:express-as style={quoteattr(style)}>{spoken}</mstts:express-as>"
    return (
        '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
        f'xmlns:mstts="http://www.w3.org/2001/mstts" xml:lang={quoteattr(locale)}>'
        f"<voice name={quoteattr(voice)}>{spoken}</voice></speak>"
    )
