"""Speech to text by a FunASR server: with two passes, quick text at once and better text at each pause.

Spoken to directly: there is no client library, and the protocol is two JSON messages around raw audio.
https://github.com/modelscope/FunASR/blob/main/runtime/docs/websocket_protocol.md
"""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal

from pydantic import BaseModel, Field, ValidationError
from websockets.asyncio.client import ClientConnection

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer, ProviderUnavailable
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.http.audio import blocks
from mimi_mqtt.providers.http.service import json_object
from mimi_mqtt.providers.http.streaming import sending
from mimi_mqtt.providers.http.websocket import open_socket, tls_for
from mimi_mqtt.providers.languages import joined, primary
from mimi_mqtt.providers.runtime.resilience import Limits

# A server decodes every so many messages, and takes each for so much audio.
_BLOCKS_A_CHUNK = 10
_FRAME_MS = 60

# SenseVoice models mark language, mood and events in the text: <|zh|><|HAPPY|><|Speech|>
_MARK = re.compile(r"<\|([^|>]*)\|>")
_SENSE_VOICE_LANGUAGES = frozenset({"zh", "en", "yue", "ja", "ko"})


class FunAsrOptions(ProviderOptions):
    """Options of `providers.options.funasr` for hearing."""

    url: str = Field("ws://localhost:10095", pattern=r"^wss?://[^/]")
    """Address of the server; wss:// where it has a certificate, as it has by default."""

    tls_verify: bool = True
    """True when the certificate must be valid. FunASR's own is not: false, in a network that you trust."""

    stt_mode: Literal["2pass", "online", "offline"] = "2pass"
    """Mode of the server: 2pass, or one of its two passes."""

    stt_chunk_frames: int = Field(10, ge=1, le=50)
    """Frames of 60 ms that the first pass decodes at a time."""

    stt_hotwords: dict[str, int] = Field(default_factory=dict)
    """Words to expect, with their weights, such as {MiMi: 20}."""

    stt_quiet_ms: int = Field(800, ge=50, le=5000)
    """Longest wait for a last word from servers that don't say that they are done, in ms."""


class FunAsr(SpeechToText):
    """Texts of the first pass are interim; those of the second replace them."""

    Options = FunAsrOptions
    # Servers with other models take no notice of a language, so that nothing is lost with them.
    capabilities = SttCapabilities(streaming=True, detects=_SENSE_VOICE_LANGUAGES)

    def __init__(self, name: str, options: FunAsrOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._tls: ssl.SSLContext | None = None

    async def start(self) -> None:
        """Reads the certificates."""
        if self._tls is None:
            self._tls = await tls_for(self._options.url, verify=self._options.tls_verify)

    async def _transcribe(
        self, audio: AsyncIterator[Pcm], language: str | None
    ) -> AsyncGenerator[Transcript, None]:
        await self.start()
        hint = primary(language) if language else None
        heard = TranscriptBuilder(self.name, self._options.stt_mode)
        wait = _Wait(self._options.stt_quiet_ms / 1000)
        async with (
            open_socket(self.name, self._options.url, subprotocols=["binary"], tls=self._tls) as connection,
            sending(self._send(connection, audio, hint, heard, wait), connection.transport.abort),
        ):
            shown = ""
            while not heard.complete:
                message = await wait.message(connection, bounded=heard.all_said)
                if message is None:
                    break
                heard.message(message)
                if heard.text != shown and not heard.complete:
                    shown = heard.text
                    yield Transcript(shown, final=False)
            yield Transcript(heard.text, final=True, language=heard.language)

    async def _send(
        self,
        connection: ClientConnection,
        audio: AsyncIterator[Pcm],
        hint: str | None,
        heard: "TranscriptBuilder",
        wait: "_Wait",
    ) -> None:
        rate, frames = self.capabilities.sample_rate, self._options.stt_chunk_frames
        hotwords = json.dumps(self._options.stt_hotwords, ensure_ascii=False)
        start = {
            "mode": self._options.stt_mode,
            # What the first pass looks back on, decodes, and looks ahead on.
            "chunk_size": [5, frames, 5],
            "chunk_interval": _BLOCKS_A_CHUNK,
            "encoder_chunk_look_back": 4,
            "decoder_chunk_look_back": 1,
            "wav_name": "mimi",
            "wav_format": "pcm",
            "audio_fs": rate,
            "is_speaking": True,
            "hotwords": hotwords if self._options.stt_hotwords else "",
            "itn": True,
            "svs_lang": hint if hint in _SENSE_VOICE_LANGUAGES else "auto",
            "svs_itn": True,
        }
        await connection.send(json.dumps(start, ensure_ascii=False))
        block = rate * _FRAME_MS * frames // _BLOCKS_A_CHUNK // 1000
        async for piece in blocks(audio, block):
            await connection.send(piece)
        heard.ended = True
        # `is_end` makes newer servers say that they are done; older ones ignore it.
        await connection.send(json.dumps({"is_speaking": False, "is_end": True}))
        if heard.all_said:
            wait.begin()


class _Wait:
    """Bounds the wait for messages: unbounded while one must come, `quiet_s` seconds while one only may."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._deadline: asyncio.Timeout | None = None

    def begin(self) -> None:
        """Bounds the wait from now on: a message may come, or not."""
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._quiet_s)

    async def message(self, connection: ClientConnection, *, bounded: bool) -> str | bytes | None:
        """The next message; None on time-out."""
        try:
            async with asyncio.timeout(self._quiet_s if bounded else None) as self._deadline:
                return await connection.recv()
        except TimeoutError:
            return None
        finally:
            self._deadline = None


class _Message(BaseModel):
    mode: str = ""
    text: str = ""
    is_final: bool = False
    is_end: bool = False
    error: str = ""


class TranscriptBuilder:
    """The transcript so far: the second pass's pieces, and the first pass's text after them."""

    def __init__(self, name: str, mode: str) -> None:
        self._name = name
        self._mode = mode
        self._pieces: list[str] = []
        self._quick = ""
        self._usual: bool | None = None
        self.language: str | None = None
        self.ended = False
        self.complete = False

    @property
    def text(self) -> str:
        """The whole text."""
        return joined([*self._pieces, self._quick])

    @property
    def all_said(self) -> bool:
        """True when no more results may come: the server sends none for a silence at the end."""
        return (
            self.ended
            and bool(self._pieces if self._mode == "2pass" else self._quick)
            and not (self._mode == "2pass" and self._quick)
        )

    def message(self, text: str | bytes) -> None:
        """Takes a message. Raises ProviderError."""
        value = json_object(self._name, text)
        try:
            message = _Message.model_validate(value)
        except ValidationError as error:
            raise ProviderBadAnswer(self._name, "a message of an unknown shape") from error
        if message.error:
            raise ProviderUnavailable(self._name, f"failed: {message.error[:200]}")
        if message.is_end:
            self.complete = True
            return
        if "text" not in value or not message.mode:
            raise ProviderBadAnswer(self._name, "a message without mode and text")
        said = self._unmarked(message.text)
        if message.mode.endswith("online"):
            self._quick = joined([self._quick, said])
        else:
            self._pieces.append(said)
            self._quick = ""
        self._judge(message)

    def _judge(self, message: _Message) -> None:
        """True when that was the last one. `is_final` means the end with servers in C++, and with those in
        Python that the speaker still speaks; with both it changes at the end."""
        quick = message.mode == "2pass-online"  # which is never the last
        if self._usual is None and (quick or not self.ended):
            self._usual = message.is_final
        if not self.ended or quick:
            return
        if self._mode == "offline":
            self.complete = True
        else:
            self.complete = message.is_final != (self._usual or False)

    def _unmarked(self, text: str) -> str:
        for mark in _MARK.findall(text):
            if mark in _SENSE_VOICE_LANGUAGES:
                self.language = mark
        return _MARK.sub("", text).strip()
