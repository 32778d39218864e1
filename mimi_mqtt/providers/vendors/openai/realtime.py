"""Speech to speech by OpenAI's Realtime API (its general version), and servers that speak it.

Over a WebSocket by the `openai` package. Audio is PCM of 24 kHz both ways.
https://platform.openai.com/docs/guides/realtime
"""

import asyncio
import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal, cast

from pydantic import Field

from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.catalog.requirements import variables
from mimi_mqtt.providers.http.errors import websocket_errors
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.providers.runtime.realtime.provider import (
    Opening,
    S2sCapabilities,
    SpeechDuplex,
    SpeechToSpeech,
)
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.openai.compatible import OFFICIAL_URL, OpenAiClient, OpenAiOptions
from mimi_mqtt.providers.vendors.openai.realtime_duplex import OpenAiDuplex
from mimi_mqtt.providers.vendors.openai.realtime_items import tools
from mimi_mqtt.providers.vendors.openai.realtime_uplink import RATE
from mimi_mqtt.providers.vendors.openai.realtime_wire import Wire

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.realtime import (
        AudioTranscriptionParam,
        RealtimeAudioConfigInputParam,
        RealtimeAudioInputTurnDetectionParam,
        RealtimeSessionCreateRequestParam,
    )
    from openai.types.websocket_connection_options import WebSocketConnectionOptions

_MAX_MESSAGE_BYTES: Final = 1 << 20  # 16 s of speech in one message; OpenAI sends fractions of a second
_CLOSE_S: Final = 1.0  # longest wait for the closing handshake, in the background
_SLOWEST, _FASTEST = 0.25, 1.5  # session.audio.output.speed


class OpenAiRealtimeOptions(OpenAiOptions):
    """Options of `providers.options.openai_realtime`."""

    model: str = Field("gpt-realtime-2.1", min_length=1)
    """Model that hears, thinks and speaks."""

    transcription_model: str = Field("gpt-transcribe", min_length=1)
    """Model that writes down what the user said, for display and history; the answer doesn't wait for it."""

    voice: str = "marin"
    """Voice, where assistant.voice is empty."""

    noise_reduction: Literal["near_field", "far_field", "off"] = "far_field"
    """Kind of microphone: near the mouth, or across the room."""

    end_detection: Literal["semantic_vad", "server_vad"] = "semantic_vad"
    """Detector of the end of an utterance when voice.endpointing is vendor: by the words, or by silence."""

    end_eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    """Speed of semantic_vad's decision that the speaker is done."""

    end_silence_ms: int = Field(500, ge=100, le=5000)
    """Silence that ends an utterance for server_vad, in ms."""

    reasoning_effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None
    """The amount of thinking before an answer. Empty: the model's own default; not every model knows it."""

    max_output_tokens: int | None = Field(None, ge=1, le=4096)
    """Longest answer, in tokens. Empty: the model's own."""


class OpenAiRealtime(SpeechToSpeech):
    """One WebSocket a conversation: /realtime."""

    Options = OpenAiRealtimeOptions
    packages = ("openai",)
    extra = "openai"
    capabilities = S2sCapabilities(input_rate=RATE, endpoints=True)

    def __init__(self, name: str, options: OpenAiRealtimeOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._client = OpenAiClient(name, options, limits)
        self._url = re.sub("^http", "ws", (options.base_url or OFFICIAL_URL).rstrip("/")) + "/realtime"

    async def start(self) -> None:
        """Makes the client. Raises ProviderNotConfigured."""
        await asyncio.to_thread(_load, await self._client.get())

    async def aclose(self) -> None:
        """Closes the client; open conversations are their owners'."""
        await self._client.aclose()

    async def _connect(self, opening: Opening) -> SpeechDuplex:
        client = await self._client.get()
        # The SDK hands all of these on to websockets' `connect`, though its type names only some.
        bounds = {"max_size": _MAX_MESSAGE_BYTES, "compression": None, "close_timeout": _CLOSE_S}
        connecting = client.realtime.connect(
            model=self._options.model,
            websocket_connection_options=cast("WebSocketConnectionOptions", bounds),
        )
        with websocket_errors(self.name, self._url, secrets=[self._options.api_key], cures=self._cures()):
            connection = await connecting.enter()
        wire = Wire(self.name, self._url, connection, self._options.api_key)
        try:
            await self._set_up(wire, opening)
            duplex = OpenAiDuplex(self.name, wire)
            await duplex.send_messages(opening.history)
        except BaseException:
            await wire.aclose()
            raise
        return duplex

    async def _set_up(self, wire: Wire, opening: Opening) -> None:
        """Sends the settings of the conversation; returns when the service has confirmed them."""
        await wire.send({"type": "session.update", "event_id": "setup", "session": self._session(opening)})
        async for event in wire.receive():
            if event.type == "session.updated":
                return
            if event.type == "error":
                raise wire.error(event.error.type, event.error.code, event.error.message)
        raise ProviderUnavailable(self.name, "hung up before the conversation began")

    def _session(self, opening: Opening) -> "RealtimeSessionCreateRequestParam":
        options = self._options
        session: RealtimeSessionCreateRequestParam = {
            "type": "realtime",
            "instructions": opening.prompt,
            "tools": tools(opening.tools),
            "tool_choice": "auto",
            "output_modalities": ["audio"],
            "audio": {
                "input": self._input(opening),
                "output": {
                    "format": {"type": "audio/pcm", "rate": RATE},
                    "voice": opening.voice or options.voice,
                    "speed": min(max(opening.speed, _SLOWEST), _FASTEST),
                },
            },
        }
        if options.max_output_tokens is not None:
            session["max_output_tokens"] = options.max_output_tokens
        if options.reasoning_effort is not None:
            session["reasoning"] = {"effort": options.reasoning_effort}
        return session

    def _input(self, opening: Opening) -> "RealtimeAudioConfigInputParam":
        options = self._options
        transcription: AudioTranscriptionParam = {"model": options.transcription_model}
        if language := primary(opening.language):
            # This model takes a list of languages where the others take one.
            if options.transcription_model.startswith("gpt-transcribe"):
                transcription["languages"] = [language]
            else:
                transcription["language"] = language
        heard: RealtimeAudioConfigInputParam = {
            "format": {"type": "audio/pcm", "rate": RATE},
            "transcription": transcription,
            "turn_detection": self._turn_detection() if opening.end_by_vendor else None,
        }
        if options.noise_reduction != "off":
            heard["noise_reduction"] = {"type": options.noise_reduction}
        return heard

    def _turn_detection(self) -> "RealtimeAudioInputTurnDetectionParam":
        """The turn detection: it marks ends, and never starts or interrupts an answer."""
        options = self._options
        if options.end_detection == "server_vad":
            return {
                "type": "server_vad",
                "silence_duration_ms": options.end_silence_ms,
                "create_response": False,
                "interrupt_response": False,
            }
        return {
            "type": "semantic_vad",
            "eagerness": options.end_eagerness,
            "create_response": False,
            "interrupt_response": False,
        }

    def _cures(self) -> Mapping[int, str]:
        where = f"providers.options.{self.name}"
        named = variables(self.name, type(self._options)).get("api_key", ())
        return {
            401: f"set {' or '.join((*named, f'{where}.api_key'))}",
            403: "the key may not do this",
            404: f"see model and base_url in {where}",
        }


def _load(client: "AsyncOpenAI") -> None:
    """The SDK imports these when they are first touched, which would hold up the event loop."""
    _ = client.realtime
    import_module("websockets.asyncio.client")
