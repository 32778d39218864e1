"""What the server adds to a turn with instant providers, and how evenly the downlink flows.

The whole way from the socket is real: gate, UDP, hearing, conversation, Opus, play-out. Recogniser, model,
voice and voice detector answer at once. The server runs in this process on one core; the devices, which note
when what arrived, in a process of their own on another. The reference is one asyncio timer a stream, measured
by turns in the same run: compare with it, not with other machines.
"""

import argparse
import asyncio
import functools
import json
import logging
import os
import secrets
import socket
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.playout_clock import LEAD_GAIN
from mimi_mqtt.cli.bench._cores import server_on_one_core
from mimi_mqtt.cli.bench._turn_load import FRAME_MS, Heard, Order
from mimi_mqtt.config.prompt import PromptTemplate
from mimi_mqtt.config.settings import SessionSettings, Settings, VoiceSettings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.agents import AgentCatalog, ProvisionedAgents
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.store.conversations import TurnRecord
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.hearing.pool import HearingPool
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.speech.encoder import SpeechEncoders

_TTS_RATE = 22_050
_SENTENCE = "This is one sentence of a reply. "
_OPENING_FRAMES = SessionSettings().playout_ahead_frames * LEAD_GAIN
_SETTLE_FRAMES = _OPENING_FRAMES + 7
_LOAD_TIMEOUT_S = 300.0
_MAX_ANSWER_BYTES = 1 << 26


def _count(low: int, high: int, text: str) -> int:
    value = int(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
    return value


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices, --turns, --speakers, --seconds and --runs, all bounded."""
    for name, low, high, default, meaning in (
        ("--devices", 1, 200, 10, "devices that take turns"),
        ("--turns", 1, 200, 10, "turns of each"),
        ("--speakers", 1, 500, 100, "sessions that speak at once"),
        ("--seconds", 2, 60, 10, "how long they speak"),
        ("--runs", 1, 20, 3, "runs the medians are of"),
    ):
        parser.add_argument(
            name, type=functools.partial(_count, low, high), default=default, metavar="N",
            help=f"{meaning} ({default})",
        )  # fmt: skip


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs all parts; all times in ms."""
    log = logging.getLogger("mimi_mqtt")
    level_before = log.level
    log.setLevel(logging.ERROR)
    try:
        with server_on_one_core() as load_core:
            return asyncio.run(_measure(args, load_core))
    finally:
        log.setLevel(level_before)


async def _measure(args: argparse.Namespace, load_core: int | None) -> dict[str, object]:
    starts: list[list[float]] = []
    first: list[list[float]] = []
    opening: list[list[float]] = []
    spacing: list[list[float]] = []
    reference: list[list[float]] = []
    underruns = 0
    for _ in range(args.runs):
        decided, heard = await _run(args.devices, args.turns + 1, 1, load_core)
        starts.append(decided)
        first.append([ms - SessionSettings().guard_gap_ms for ms in heard.first_audio_ms])
        _, heard = await _run(args.speakers, 1, args.seconds, load_core)
        underruns += heard.underruns
        opening.append(heard.opening_ms)
        spacing.append([abs(ms - FRAME_MS) for ms in heard.interval_ms])
        bare = await _reference(args.speakers, args.seconds, load_core)  # by turns: disturbances meet both
        reference.append([abs(ms - FRAME_MS) for ms in bare.interval_ms])
    return {
        "bench": "turn",
        "endpoint_to_tts_start_ms_p50": _median_of(starts, 50),
        "endpoint_to_tts_start_ms_p99": _median_of(starts, 99),
        "tts_start_to_audio_minus_gap_ms_p50": _median_of(first, 50),
        "tts_start_to_audio_minus_gap_ms_p99": _median_of(first, 99),
        "opening_spacing_ms": _median_of(opening, 50),
        "opening_spacing_ms_p1": _median_of(opening, 1),
        "spacing_error_ms_p50": _median_of(spacing, 50),
        "spacing_error_ms_p99": _median_of(spacing, 99),
        "reference_spacing_error_ms_p99": _median_of(reference, 99),
        "underruns": underruns,
        "turns": sum(map(len, first)),
        "speakers": args.speakers,
        "intervals": sum(map(len, spacing)),
        "one_core": load_core is not None,
        "runs": args.runs,
    }


def _median_of(runs: Sequence[Sequence[float]], percent: int) -> float:
    """The median over the runs of one percentile."""
    return round(statistics.median(sorted(run)[(len(run) - 1) * percent // 100] for run in runs), 2)


async def _run(devices: int, turns: int, reply_s: int, load_core: int | None) -> tuple[list[float], Heard]:
    """From endpoint to `tts start` of each turn but the devices' first, as the server knows it; what they
    heard."""
    credentials = Credentials(secrets.token_bytes(32))
    ids = [f"02-00-00-00-{number >> 8:02x}-{number & 0xFF:02x}" for number in range(devices)]
    warm_up = min(1, turns - 1)
    log = _TurnTimes(warm_up)
    async with _server(credentials, ids, reply_s, log) as port:
        passwords = [(device_id, credentials.mqtt_password(device_id, 1)) for device_id in ids]
        order = Order(_OPENING_FRAMES, _SETTLE_FRAMES, load_core, port, passwords, turns, warm_up)
        async with _load_process(order) as answer:
            heard = Heard(**json.loads(await answer()))
    if heard.unanswered or len(log.ms) < heard.turns:
        raise StartupError(f"{heard.unanswered} turns were not answered: the figures would mean nothing")
    return log.ms, heard


async def _reference(streams: int, seconds: int, load_core: int | None) -> Heard:
    """The least a server can do: an asyncio task with an absolute clock for each stream."""
    loop = asyncio.get_running_loop()

    async def pace(port: int, begin: float) -> None:
        for number in range(seconds * 1000 // FRAME_MS):
            await asyncio.sleep(begin + number * FRAME_MS / 1000 - loop.time())
            sock.sendto(bytes(200), ("127.0.0.1", port))

    async with _load_process(Order(_OPENING_FRAMES, _SETTLE_FRAMES, load_core, reference=streams)) as answer:
        ports = json.loads(await answer())
        sock = _bound(socket.SOCK_DGRAM)
        async with asyncio.TaskGroup() as tasks:
            for number, port in enumerate(ports):
                tasks.create_task(pace(port, loop.time() + 0.1 + number * FRAME_MS / 1000 / streams))
        sock.close()
        return Heard(**json.loads(await answer()))


@asynccontextmanager
async def _load_process(order: Order) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Starts the load; what is yielded reads one line of its answer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt.cli.bench._turn_load",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_MAX_ANSWER_BYTES,
    )  # fmt: skip
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise StartupError("the load process has no pipes")

    async def answer() -> bytes:
        async with asyncio.timeout(_LOAD_TIMEOUT_S):
            line = await stdout.readline()
        if not line:
            raise StartupError("the load process ended early")
        return line

    try:
        stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        yield answer
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# ── the server, real but for its providers ───────────────────────────────────────────────────────────────


class _TurnTimes:
    """A turn log that keeps how long it took from the endpoint to `tts start`."""

    def __init__(self, warm_up: int) -> None:
        self._warm_up = warm_up
        self.ms: list[float] = []

    def add_turn(self, record: TurnRecord) -> None:
        if record.number > self._warm_up and "speech" in record.timings_ms:
            self.ms.append(record.timings_ms["speech"] - record.timings_ms["endpoint"])


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
async def _server(
    credentials: Credentials, ids: Sequence[str], reply_s: int, log: _TurnTimes
) -> AsyncIterator[int]:
    """Everything a talking device meets; its MQTT port."""
    settings = Settings(
        session=SessionSettings(max_sessions=len(ids) + 1), voice=VoiceSettings(end_silence_ms=300)
    )
    directory = DeviceDirectory(Store(f"sqlite:///{os.devnull}"), credentials, settings.accounts)
    now = datetime.now(UTC)
    for revision, device_id in enumerate(ids, 1):
        directory.apply(
            Device(
                id=device_id, client_id="bench", revision=revision, created_at=now, updated_at=now,
                last_seen_at=now,
            )
        )  # fmt: skip
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

    def master_key(device_id: str) -> bytes | None:
        device = directory.get(device_id)
        return device.udp_key if device is not None else None

    udp = UdpServer(settings.udp, master_key)
    await udp.start(_bound(socket.SOCK_DGRAM))
    converse = functools.partial(Conversation, services=services)
    agents = AgentCatalog(ProvisionedAgents(settings.every_agent))
    sessions = SessionManager(settings, directory, {"udp": udp}, agents, lambda agent: converse)
    mqtt = MqttServer(settings.mqtt, directory, sessions)
    listening = _bound(socket.SOCK_STREAM)
    listening.listen(1024)
    await mqtt.start(listening)
    try:
        yield int(listening.getsockname()[1])
    finally:
        await sessions.aclose()
        await mqtt.aclose()
        await udp.aclose()
        await hearing.aclose()
        services.encoders.close()


def _bound(kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock
