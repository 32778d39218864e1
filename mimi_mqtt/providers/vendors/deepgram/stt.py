"""Speech to text by Deepgram's streaming WebSocket (Listen v1), with Deepgram's own endpointing.

Spoken to directly: the protocol is a handful of JSON messages, and the SDK's client would hold up the end of
an utterance by its close handshake. https://developers.deepgram.com/reference/speech-to-text/listen-streaming
"""

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import ClassVar
from urllib.parse import urlencode

from pydantic import BaseModel, Field, SecretStr, ValidationError
from websockets.asyncio.client import ClientConnection

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer, ProviderUnavailable
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.http.audio import byte_chunks
from mimi_mqtt.providers.http.service import json_object
from mimi_mqtt.providers.http.streaming import or_idle, sending
from mimi_mqtt.providers.http.websocket import open_socket, tls_for
from mimi_mqtt.providers.languages import joined, language_named, primary
from mimi_mqtt.providers.runtime.resilience import Limits

# Deepgram hangs up after 10 s without audio; it asks for a sign of life every 3 to 5 s.
_IDLE_S = 4.0
_KEEP_ALIVE = '{"type": "KeepAlive"}'
# `Finalize` is answered soonest, but only when there is audio left; `CloseStream` is always answered.
_END = ('{"type": "Finalize"}', '{"type": "CloseStream"}')

# What nova-3 tells apart (https://developers.deepgram.com/docs/nova-3-language-prompting).
_MULTILINGUAL = """
    af ar be bg bn bs ca cs da de el en es et fa fi fr gl gu he hi hr hu id it ja kn ko lt lv mk mr ms nl no
    pl pt ro ru sk sl sr sv ta te th tl tr uk vi xh zh zu
"""


class DeepgramSttOptions(ProviderOptions):
    """Options of `providers.options.deepgram` for hearing."""

    environment: ClassVar[Mapping[str, str]] = {"api_key": "DEEPGRAM_API_KEY"}
    required: ClassVar[tuple[str, ...]] = ("api_key",)

    api_key: SecretStr | None = None
    """The key. Empty: the variable DEEPGRAM_API_KEY."""

    base_url: str = Field("https://api.deepgram.com", pattern=r"^(https?|wss?)://[^/]")
    """Address of the service; https://api.eu.deepgram.com for Europe, or your own server's."""

    stt_model: str = "nova-3"
    """Transcription model."""

    stt_language: str = ""
    """Language of all utterances, such as de or multi. Empty: the speaker's; multi, which finds it out, where
    another may be spoken (nova-3)."""

    stt_endpointing_ms: int = Field(300, ge=0, le=10_000)
    """Silence after which Deepgram holds the speaker to be done, in ms; 0: it doesn't judge it."""

    stt_utterance_end_ms: int = Field(1000, ge=0, le=5000)
    """The same by the gap after the last word, for noisy places; at least 1000, or 0 for not at all."""

    stt_keyterms: tuple[str, ...] = ()
    """Words to expect: names of people, rooms and things (nova-3)."""


class _Alternative(BaseModel):
    transcript: str
    confidence: float | None = None
    languages: list[str] | None = None


class _Channel(BaseModel):
    alternatives: list[_Alternative]


class _Results(BaseModel):
    channel: _Channel
    is_final: bool = False
    speech_final: bool = False
    from_finalize: bool = False


class DeepgramSpeechToText(SpeechToText):
    """Results come while the speaker speaks; `endpoint` is Deepgram's `speech_final` or `UtteranceEnd`."""

    Options = DeepgramSttOptions
    capabilities = SttCapabilities(streaming=True)

    def __init__(self, name: str, options: DeepgramSttOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._finds_out = options.stt_language in ("", "multi") and options.stt_model.startswith("nova-3")
        self.capabilities = SttCapabilities(
            streaming=True, detects=frozenset(_MULTILINGUAL.split()) if self._finds_out else frozenset()
        )
        self._base = re.sub("^http", "ws", options.base_url.rstrip("/"))
        self._tls: ssl.SSLContext | None = None

    async def start(self) -> None:
        """Reads the certificates. Raises ProviderNotConfigured without a key."""
        demand(self.name, self._options)
        if self._tls is None:
            self._tls = await tls_for(self._base)

    def _url(self, language: str, likely: str = "") -> str:
        options = self._options
        query: dict[str, object] = {
            "model": options.stt_model,
            "encoding": "linear16",
            "sample_rate": self.capabilities.sample_rate,
            "channels": 1,
            "interim_results": "true",
            "smart_format": "true",
            "endpointing": options.stt_endpointing_ms or "false",
        }
        if language:
            query["language"] = language
        if likely:
            query["language_hint"] = likely
        if options.stt_utterance_end_ms:
            query["utterance_end_ms"] = options.stt_utterance_end_ms
        if options.stt_keyterms:
            query["keyterm"] = options.stt_keyterms
        return f"{self._base}/v1/listen?{urlencode(query, doseq=True)}"

    def _language(self, hint: str) -> str:
        if self._options.stt_language:
            return self._options.stt_language
        return hint or ("multi" if self._finds_out else "")

    def _transcribe(
        self, audio: AsyncIterator[Pcm], language: str | None
    ) -> AsyncGenerator[Transcript, None]:
        spoken = self._language(primary(language) if language else "")
        return self._listen(audio, self._url(spoken), "" if spoken == "multi" else spoken)

    def _detect(self, audio: AsyncIterator[Pcm], likely: str) -> AsyncGenerator[Transcript, None]:
        return self._listen(audio, self._url("multi", primary(likely)), "")

    async def _listen(
        self, audio: AsyncIterator[Pcm], url: str, spoken: str
    ) -> AsyncGenerator[Transcript, None]:
        cures = {
            401: f"set DEEPGRAM_API_KEY or providers.options.{self.name}.api_key",
            400: f"see stt_model and stt_language in providers.options.{self.name}",
        }
        await self.start()
        key = self._options.api_key
        heard = TranscriptBuilder(self.name, spoken)
        async with (
            open_socket(
                self.name,
                url,
                headers={"Authorization": f"Token {key.get_secret_value() if key else ''}"},
                secrets=[key],
                cures=cures,
                tls=self._tls,
            ) as connection,
            sending(_send(connection, audio, heard), connection.transport.abort),
        ):
            async for message in connection:
                if (transcript := heard.message(message)) is not None:
                    yield transcript
                    if transcript.final:
                        return
            if not heard.all_sent:
                raise ProviderUnavailable(self.name, "hung up in the middle")
            yield heard.final()


async def _send(connection: ClientConnection, audio: AsyncIterator[Pcm], heard: "TranscriptBuilder") -> None:
    async for chunk in or_idle(byte_chunks(audio), _IDLE_S):
        await connection.send(_KEEP_ALIVE if chunk is None else chunk)
    heard.all_sent = True
    for message in _END:
        await connection.send(message)


class TranscriptBuilder:
    """The transcript so far: final pieces, and one that may still change."""

    def __init__(self, name: str, spoken: str) -> None:
        self._name = name
        self._spoken = spoken
        self._pieces: list[str] = []
        self._confidences: list[float] = []
        self._changing = ""
        self._endpoint = False
        self._language: str | None = None
        self.all_sent = False

    def message(self, message: str | bytes) -> Transcript | None:
        """Takes a message; the new transcript, if it changed. Raises ProviderError."""
        value = json_object(self._name, message)
        match value.get("type"):
            case "Results":
                return self._results(value)
            case "UtteranceEnd":
                if self._endpoint or not (self._pieces or self._changing):
                    return None
                self._endpoint = True
                return self._interim()
            case "Metadata":
                return self.final() if self.all_sent else None
            case "Error":
                raise ProviderUnavailable(self._name, f"failed: {value.get('description', '')}"[:200])
            case str():
                return None
        raise ProviderBadAnswer(self._name, "a message without a type")

    def _results(self, value: Mapping[str, object]) -> Transcript | None:
        try:
            results = _Results.model_validate(value)
        except ValidationError as error:
            raise ProviderBadAnswer(self._name, "results of an unknown shape") from error
        before = self._interim()
        if results.channel.alternatives:
            best = results.channel.alternatives[0]
            self._changing = best.transcript.strip()
            if self._changing or results.speech_final:
                self._endpoint = results.speech_final
            if best.languages:
                self._language = language_named(best.languages[0])
            if results.is_final and self._changing:
                self._pieces.append(self._changing)
                self._changing = ""
                if best.confidence is not None:
                    self._confidences.append(best.confidence)
        if results.from_finalize and self.all_sent:
            return self.final()
        now = self._interim()
        return now if now != before else None

    def _text(self) -> str:
        return joined([*self._pieces, self._changing])

    def _interim(self) -> Transcript:
        return Transcript(self._text(), final=False, endpoint=self._endpoint)

    def final(self) -> Transcript:
        """The whole text."""
        confidence = sum(self._confidences) / len(self._confidences) if self._confidences else None
        return Transcript(self._text(), True, self._language or self._spoken or None, confidence)
