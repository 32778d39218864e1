"""Text to speech by the voices of Microsoft's Edge browser: no key; Microsoft may change or end it.

Through `edge-tts`, which keeps up with those changes; its answer is MP3, decoded as it comes.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from types import ModuleType
from typing import Any

from pydantic import Field

from mimi_mqtt.errors import ProviderBadAnswer, ProviderTimeout, ProviderUnavailable
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.http.audio import Mp3Decoder, load_av
from mimi_mqtt.providers.http.errors import status_error
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.azure.voices import LANGUAGES, rate_for, voice_for


class EdgeOptions(ProviderOptions):
    """Options of `providers.options.edge`."""

    tts_voice: str | None = Field(None, pattern=r"^[a-z]{2,}-[A-Z]{2,}-.+Neural$")
    """Voice, such as de-DE-KatjaNeural, where assistant.voice is empty. Empty: one for the language."""

    tts_pitch_hz: int = Field(0, ge=-100, le=100)
    """Pitch above the voice's own, in Hz."""

    proxy: str | None = Field(None, pattern=r"^https?://[^/]")
    """HTTP proxy on the way to Microsoft."""


class EdgeTextToSpeech(TextToSpeech):
    """One WebSocket a sentence, made and driven by `edge_tts.Communicate`."""

    Options = EdgeOptions
    packages = ("edge_tts", "av")
    extra = "edge"
    capabilities = TtsCapabilities(streaming=True, languages=LANGUAGES)

    def __init__(self, name: str, options: EdgeOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._packages: tuple[ModuleType, ModuleType] | None = None

    async def start(self) -> None:
        """Imports the packages. Raises ProviderNotConfigured."""
        await self._loaded()

    async def _loaded(self) -> tuple[ModuleType, ModuleType]:
        if self._packages is None:
            self._packages = await asyncio.to_thread(self._load)
        return self._packages

    def _load(self) -> tuple[ModuleType, ModuleType]:
        return load_package("edge_tts", self.name, self.extra), load_av(self.name, self.extra)

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        edge_tts, av = await self._loaded()
        decoder = Mp3Decoder(self.name, av)
        async with self._errors():
            request = self._request(edge_tts.Communicate, text, voice)
            async with aclosing(self._audio(request)) as pieces:
                async for piece in pieces:
                    for chunk in decoder.feed(piece):
                        yield chunk
            for chunk in decoder.finish():
                yield chunk

    def _request(self, communicate: Callable[..., Any], text: str, voice: VoiceOptions) -> Any:
        options = self._options
        name = voice.voice or options.tts_voice or voice_for(voice.language)
        patience = math.ceil(self.limits.timeout_s)  # only whole seconds are taken
        try:
            return communicate(
                text,
                name,
                rate=rate_for(voice.speed),
                pitch=f"{options.tts_pitch_hz:+d}Hz",
                proxy=options.proxy,
                connect_timeout=patience,
                receive_timeout=patience,
            )
        except ValueError:  # the name is no voice of Microsoft's
            return self._request(communicate, text, VoiceOptions(voice.language, None, voice.speed))

    async def _audio(self, request: Any) -> AsyncGenerator[bytes, None]:
        async with aclosing(request.stream()) as parts:
            async for part in parts:
                if part["type"] == "audio":
                    yield part["data"]
        # The package takes a closed connection for the end of the speech; only the real end, `turn.end`,
        # makes it add up the bytes of the request and set this back to 0.
        if request.state.get("chunk_audio_bytes"):
            raise ProviderUnavailable(self.name, "hung up in the middle of a sentence")

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        import aiohttp
        from edge_tts import exceptions

        newer = "Microsoft may have changed its service: pip install -U edge-tts"
        try:
            yield
        except exceptions.NoAudioReceived as error:
            raise ProviderUnavailable(self.name, "ended without speech; is there such a voice?") from error
        except exceptions.WebSocketError as error:
            raise ProviderUnavailable(self.name, "the connection broke") from error
        except exceptions.SkewAdjustmentError as error:
            raise status_error(self.name, 403, "", {}, {403: newer}) from error
        except exceptions.EdgeTTSException as error:
            kind = type(error).__name__
            raise ProviderBadAnswer(self.name, f"not understood by edge-tts ({kind}); {newer}") from error
        except aiohttp.ClientResponseError as error:
            headers = {key.lower(): value for key, value in (error.headers or {}).items()}
            raise status_error(self.name, error.status, error.message, headers, {403: newer}) from error
        except (TimeoutError, aiohttp.ServerTimeoutError) as error:
            raise ProviderTimeout(self.name, f"no answer within {self.limits.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            cause = type(error).__name__
            raise ProviderUnavailable(self.name, f"can't reach Microsoft ({cause})") from error
