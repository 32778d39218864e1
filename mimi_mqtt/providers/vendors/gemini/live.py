"""Speech to speech by Gemini's Live API, through `google-genai`: `BidiGenerateContent` over a WebSocket.

Our own endpointing decides, so automatic activity detection is off: where it is on, the service also answers
by itself, and marking an end without answering is not among what it can do.

The Live API forgets nothing that it was sent, and believes all that it has sent to be heard. So an utterance
that was not meant for it, and an answer that was interrupted, cost a new connection that begins with the
history as it really was. It is made while the user speaks the next utterance, whose audio waits for it; a
short noise costs nothing, as the first HOLD_S of an utterance are held back until more of it comes.
Resuming a session by its handle would bring back speech that was not heard; a connection that the service is
about to close (`goAway`) is given up between two turns, and the next one begins with the history as well.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.providers.http.errors import readable, websocket_errors
from mimi_mqtt.providers.runtime.realtime.provider import (
    Opening,
    S2sCapabilities,
    SpeechDuplex,
    SpeechToSpeech,
)
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.gemini.client import (
    OFFICIAL_URL,
    GeminiOptions,
    GeminiProvider,
    ThinkingLevel,
    cures,
    functions,
    pace,
    thinking,
)
from mimi_mqtt.providers.vendors.gemini.live_duplex import INPUT_RATE, GeminiDuplex, contents

if TYPE_CHECKING:
    from google.genai.types import LiveConnectConfig, Tool

# What older models lack: prompts and tools that change on the way, and calls that they need be told to wait
# for. Those of the generation before that take the history without being told to wait for it.
_OLD = ("gemini-2", "gemini-live-2", "gemini-3.1")
_OLDEST = ("gemini-2", "gemini-live-2")

# RFC 6455, section 7.4.1, as the service uses them: a bad request or key, an unknown model, anything else.
_INVALID = 1007
_POLICY_VIOLATION = 1008
_WITHOUT_QUOTA = ("quota", "resource_exhausted", "rate limit", "too many")


class GeminiLiveOptions(GeminiOptions):
    """Options of `providers.options.gemini_live`."""

    base_url: str = Field(OFFICIAL_URL, pattern=r"^https://[^/]")
    """Address of the service, where it isn't Google's own; always encrypted. The variable SSL_CERT_FILE names
    the authority behind a certificate that isn't a public one."""

    model: str = "gemini-3.8-live"
    """Live model. With those before gemini-3.8-live each change of the prompt needs a new connection."""

    voice: str = "Kore"
    """Voice, where assistant.voice is empty."""

    language_code: str | None = None
    """Language to speak, such as de-DE, for models that need it. Empty: the model detects it."""

    temperature: float | None = Field(None, ge=0, le=2)
    """Sampling temperature. Empty: the model's own."""

    thinking_level: ThinkingLevel | None = None
    """The amount of thinking before an answer, where it can be set (not gemini-3.8-live)."""

    thinking_budget: int | None = Field(None, ge=-1)
    """The same for Gemini 2.5, in tokens: 0 is none, -1 as the model likes. Empty: its own default."""


class GeminiLive(GeminiProvider, SpeechToSpeech):
    """One connection a conversation, or several: after interruptions, and about every ten minutes."""

    Options = GeminiLiveOptions
    capabilities = S2sCapabilities(input_rate=INPUT_RATE, endpoints=False)
    # Closed without a handshake: nothing more is needed of it. Time-outs are the caller's.
    websocket: ClassVar[Mapping[str, object]] = {
        "open_timeout": None,
        "close_timeout": 0,
        "compression": None,
    }

    def __init__(self, name: str, options: GeminiLiveOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options

    async def _connect(self, opening: Opening) -> SpeechDuplex:
        client = await self._client.get()
        model = self._options.model
        async with self._errors(), AsyncExitStack() as opened:
            history = contents(opening.history)
            waits = bool(history) and not model.startswith(_OLDEST)
            session = await opened.enter_async_context(
                client.live.connect(model=model, config=self._config(opening, waits_for_history=waits))
            )
            if session.setup_complete is None:
                raise ProviderBadAnswer(self.name, "did not confirm the set-up")
            if history:
                await session.send_client_content(turns=[*history], turn_complete=waits)
            changes = None if model.startswith(_OLD) else self._changes
            duplex = GeminiDuplex(self.name, session, opened.pop_all(), self._errors, changes)
        return duplex

    def _config(self, opening: Opening, *, waits_for_history: bool) -> "LiveConnectConfig":
        from google.genai import types

        options = self._options
        voice = types.PrebuiltVoiceConfig(voice_name=opening.voice or options.voice)
        return types.LiveConnectConfig(
            response_modalities=[types.Modality.AUDIO],
            system_instruction=_instruction(opening),
            tools=self._tools(opening.tools),
            temperature=options.temperature,
            thinking_config=thinking(options.thinking_level, options.thinking_budget),
            speech_config=types.SpeechConfig(
                voice_config=types.VoiceConfig(prebuilt_voice_config=voice),
                language_code=options.language_code,
            ),
            input_audio_transcription=types.AudioTranscriptionConfig(
                language_codes=None if options.model.startswith(_OLDEST) else [opening.language]
            ),
            output_audio_transcription=types.AudioTranscriptionConfig(),
            realtime_input_config=types.RealtimeInputConfig(
                automatic_activity_detection=types.AutomaticActivityDetection(disabled=True)
            ),
            # Without it, a quarter of an hour of audio fills the memory and ends the connection.
            context_window_compression=types.ContextWindowCompressionConfig(
                sliding_window=types.SlidingWindow()
            ),
            history_config=types.HistoryConfig(initial_history_in_client_content=True)
            if waits_for_history
            else None,
        )

    def _tools(self, tools: tuple[ToolSpec, ...]) -> "list[Tool] | None":
        """The declaration of a tool as blocking: newer models would talk on, and again with the result."""
        from google.genai import types

        declared = functions(tools)
        if not self._options.model.startswith(_OLD):
            for function in declared:
                function.behavior = types.Behavior.BLOCKING
        return [types.Tool(function_declarations=declared)] if declared else None

    def _changes(self, opening: Opening) -> "tuple[str | None, list[Tool]]":
        return _instruction(opening), self._tools(opening.tools) or []

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Turns what the SDK and its WebSocket raise inside into ProviderError kinds."""
        from google.genai.errors import APIError
        from websockets.exceptions import ConnectionClosed

        options = self._options
        async with self._client.errors():
            with websocket_errors(
                self.name, options.base_url, secrets=(options.api_key,), cures=cures(self.name)
            ):
                try:
                    try:
                        yield
                    except APIError as error:
                        # What the SDK makes of the end of a connection, when it waits for a message.
                        if isinstance(error.__context__, ConnectionClosed):
                            raise error.__context__ from None
                        raise
                except ConnectionClosed as error:
                    if error.rcvd is None:
                        raise
                    raise self._closed(error.rcvd.code, error.rcvd.reason) from error

    def _closed(self, code: int, reason: str) -> ProviderError:
        """The error that a close with `code` and `reason` stands for."""
        said = readable(reason, (self._options.api_key,)).rstrip(".")
        lower = said.lower()
        if any(word in lower for word in _WITHOUT_QUOTA):
            return ProviderRateLimited(self.name, f"too many requests: {said}")
        if "api key" in lower:
            return ProviderRefused(self.name, f"refused: {said}; {cures(self.name)[401]}")
        if code in (_INVALID, _POLICY_VIOLATION):
            return ProviderRefused(self.name, f"refused: {said or code}")
        return ProviderUnavailable(self.name, f"hung up ({code} {said})".replace(" )", ")"))


def _instruction(opening: Opening) -> str | None:
    style = pace(opening.speed)
    return (
        "\n\n".join(filter(None, (opening.prompt, f"Your way of speaking is {style}." if style else "")))
        or None
    )
