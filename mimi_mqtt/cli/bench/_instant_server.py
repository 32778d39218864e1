"""A server for benches: all is real but the providers, which answer at once."""

import functools
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.bench._devices import directory_of
from mimi_mqtt.config.prompt import PromptTemplate
from mimi_mqtt.config.settings import SessionSettings, Settings
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.hearing.pool import HearingPool
from mimi_mqtt.voice.ports import TurnLog
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.speech.encoder import SpeechEncoders

_TTS_RATE = 22_050
_SENTENCE = "This is one sentence of a reply. "


@dataclass(frozen=True, slots=True)
class InstantServer:
    """The running parts; `port` is the MQTT port."""

    port: int
    sessions: SessionManager
    udp: UdpServer
    mqtt: MqttServer


class _LoudnessVad(VoiceActivityDetector):
    def open(self) -> VadStream:
        return VadStream()

    def probabilities(self, batch: Sequence[tuple[VadStream, Pcm]]) -> list[float]:
        return [float(np.abs(pcm).mean() > 500) for _, pcm in batch]


class _InstantStt(SpeechToText):
    capabilities = SttCapabilities(streaming=False)

    async def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        async for _ in audio:
            pass
        yield Transcript("a question", final=True)


class _InstantLlm(LanguageModel):
    sentences = 1

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        for _ in range(self.sentences):
            yield TextDelta(_SENTENCE)


class _InstantTts(TextToSpeech):
    """A second for each sentence."""

    capabilities = TtsCapabilities(streaming=True)
    _noise = np.random.default_rng(5).normal(0, 4000, _TTS_RATE).astype(np.int16)

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        yield SpeechChunk(self._noise, _TTS_RATE)


@asynccontextmanager
async def instant_server(
    credentials: Credentials,
    ids: Sequence[str],
    log: TurnLog,
    *,
    reply_s: int = 1,
    reattach_s: float | None = None,
) -> AsyncIterator[InstantServer]:
    """Serves the devices `ids` on free ports of 127.0.0.1; each reply takes `reply_s` seconds to speak.

    Finished turns go to `log`; `reattach_s` is `session.reattach_s`, None for its default.
    """
    session = SessionSettings(max_sessions=len(ids) + 1)
    if reattach_s is not None:
        session = session.model_copy(update={"reattach_s": reattach_s})
    settings = Settings(session=session, voice=VoiceSettings(end_silence_ms=300))
    directory = directory_of(ids, credentials, settings)
    made = (ProviderOptions(), Limits())
    llm = _InstantLlm("instant", *made)
    llm.sentences = reply_s
    hearing = HearingPool(_LoudnessVad("loudness", *made), settings.voice.audio_threads)
    voice = settings.voice
    services = VoiceServices(
        stt=_InstantStt("instant", *made),
        llm=llm,
        tts=_InstantTts("instant", *made),
        hearing=hearing,
        encoders=SpeechEncoders(voice.opus_bitrate, voice.opus_complexity, voice.audio_threads),
        log=log,
        voice=voice,
        agent=settings.assistant,
        prompt=PromptTemplate(settings.assistant.prompt),
        session=settings.session,
    )

    udp = UdpServer(settings.udp, directory.master_key)
    await udp.start(bound_socket(socket.SOCK_DGRAM))
    converse = functools.partial(Conversation, services=services)
    agents = AgentCatalog(AgentsInForce(settings.every_agent))
    sessions = SessionManager(settings, directory, {"udp": udp}, agents, lambda agent: converse)
    mqtt = MqttServer(settings.mqtt, directory, sessions)
    listening = bound_socket(socket.SOCK_STREAM)
    listening.listen(1024)
    await mqtt.start(listening)
    try:
        yield InstantServer(int(listening.getsockname()[1]), sessions, udp, mqtt)
    finally:
        await sessions.aclose()
        await mqtt.aclose()
        await udp.aclose()
        await hearing.aclose()
        services.encoders.close()


def bound_socket(kind: socket.SocketKind) -> socket.socket:
    """A non-blocking socket on a free port of 127.0.0.1."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock
