"""CPU per datagram from the socket to the decrypted, ordered frame; and many devices talking at once.

The server runs in this process on one core, the load in a process of its own on another. The reference is an
asyncio DatagramProtocol that only counts, under the same load in the same run: compare ratios, not machines.
"""

import argparse
import asyncio
import json
import secrets
import socket
import statistics
import sys
import time
from dataclasses import asdict, dataclass

from mimi_mqtt.audio.jitter_buffer import JitterBuffer
from mimi_mqtt.cli.bench._cores import server_on_one_core
from mimi_mqtt.cli.bench._udp_load import Load, Sent, speechlike
from mimi_mqtt.config.connections import UdpSettings
from mimi_mqtt.config.voice import ProviderSettings, VoiceSettings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.providers.catalog.registry import build
from mimi_mqtt.session.link import AudioRequest, AudioSink
from mimi_mqtt.transports.udp import UdpChannel, UdpServer
from mimi_mqtt.voice.hearing.pool import HearingPool
from mimi_mqtt.voice.hearing.stream import UplinkStream
from mimi_mqtt.voice.ports import AudioFormat, HeardFrame
from mimi_mqtt.wire.audio_packet import AudioCipher, nonce_template, pack_uplink

_FRAME_MS = 60
_SAMPLE_RATE = 16_000
_SESSIONS = 50
_WINDOW = 128  # packets; two of them fit an ordinary kernel's receive buffer
_QUIET_S = 0.3
_LOAD_TIMEOUT_S = 120.0


def _bounded(low: int, high: int) -> "type[int]":
    class Bounded(int):
        def __new__(cls, text: str) -> "Bounded":
            value = super().__new__(cls, text)
            if not low <= value <= high:
                raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
            return value

    return Bounded


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices, --seconds, --datagrams and --runs, all bounded."""
    parser.add_argument("--devices", type=_bounded(1, 2_000), default=300, help="talkers at once (300)")
    parser.add_argument("--seconds", type=_bounded(1, 60), default=10, help="how long they talk (10)")
    parser.add_argument(
        "--datagrams", type=_bounded(1_000, 500_000), default=40_000, help="datagrams in a run (40000)"
    )
    parser.add_argument("--runs", type=_bounded(1, 20), default=5, help="runs the medians are of (5)")


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs all parts; CPU is this process's own, in µs, all threads counted."""
    with server_on_one_core() as load_core:
        return asyncio.run(_measure(args, load_core))


async def _measure(args: argparse.Namespace, load_core: int | None) -> dict[str, object]:
    bench = _Bench(load_core)
    await bench.drained(args.datagrams // 4)
    await bench.counted(args.datagrams // 4)
    drained, counted = [], []
    for _ in range(args.runs):  # by turns, so that a disturbance of the machine meets both
        drained.append(await bench.drained(args.datagrams))
        counted.append(await bench.counted(args.datagrams))
    cost, reference = statistics.median(drained), statistics.median(counted)
    aes = statistics.median(_aes_alone() for _ in range(args.runs))
    paced = await bench.paced(args.devices, min(args.seconds, 5))
    talk = await bench.talk(args.devices, args.seconds)
    frames = args.devices * (args.seconds * 1000 // _FRAME_MS)
    return {
        "bench": "udp",
        "cpu_us_per_datagram": round(cost, 2),
        "reference_asyncio_us_per_datagram": round(reference, 2),
        "ratio_to_reference": round(cost / reference, 2),
        "reference_aes_us_per_datagram": round(aes, 2),
        "cpu_us_per_datagram_at_real_pace": round(paced, 2),
        "talkers": args.devices,
        "talk_s": args.seconds,
        "frames_sent": talk.sent,
        "frames_heard": talk.heard,
        "frames_lost": max(frames, talk.sent) - talk.heard,
        "cpu_us_per_heard_frame": round(talk.cpu_s / max(1, talk.heard) * 1e6, 1),
        "core_share": round(talk.cpu_s / talk.wall_s, 3),
        "longest_batch_ms": round(talk.longest_batch_s * 1000, 1),
        "heard_after_ms_p50": round(talk.delay_s[0] * 1000, 1),
        "heard_after_ms_p99": round(talk.delay_s[1] * 1000, 1),
        "load_late_ms": talk.load_late_ms,
        "one_core": load_core is not None,
        "runs": args.runs,
    }


def _aes_alone(packets: int = 20_000) -> float:
    """µs to decrypt one datagram of ordinary length, nothing else."""
    cipher, opus = AudioCipher(bytes(16)), speechlike(_FRAME_MS, 0.5)[1]
    datagram = cipher.encrypt(pack_uplink(nonce_template(1), 0, 1, len(opus)), opus)
    began = time.process_time()
    for _ in range(packets):
        cipher.decrypt(datagram)
    return (time.process_time() - began) / packets * 1e6


class _Counter:
    """Counts what arrived, grants the load its next window, and says when all of it is there."""

    def __init__(self, expected: int) -> None:
        self.count = 0
        self.complete = asyncio.Event()
        self._expected = expected
        self._grants: asyncio.StreamWriter | None = None

    def grant_to(self, grants: asyncio.StreamWriter) -> None:
        self._grants = grants

    def add(self, frames: int = 1) -> None:
        before, self.count = self.count, self.count + frames
        if self._grants is not None and self.count // _WINDOW > before // _WINDOW:
            self._grants.write(b"+")
        if self.count >= self._expected:
            self.complete.set()


class _Ordered:
    """A session that stops at the ordered frame."""

    def __init__(self, counter: _Counter) -> None:
        self._jitter = JitterBuffer[bytes](0.12)
        self._counter = counter

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        self._jitter.push(sequence, opus, now)
        self._counter.add(len(self._jitter.pop(now)))


class _Listening:
    """A session that hears: decoded frames with their voice probability, and how long each took."""

    def __init__(self, hearing: HearingPool, counter: _Counter, delays: list[float]) -> None:
        self._counter = counter
        self._delays = delays
        self._arrived: list[float] = []
        self._now = asyncio.get_running_loop().time
        jitter_ms = VoiceSettings().jitter_ms
        self._ear: UplinkStream = hearing.open(AudioFormat(_SAMPLE_RATE, _FRAME_MS), jitter_ms, self._heard)

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        self._arrived.append(now)
        self._ear.push(opus, sequence, now)

    def _heard(self, frame: HeardFrame) -> None:
        if not frame.lost:
            self._delays.append(self._now() - self._arrived.pop(0))
            self._counter.add()


class _Counting(asyncio.DatagramProtocol):
    """The reference: the least an asyncio server can do."""

    def __init__(self, counter: _Counter) -> None:
        self._counter = counter

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._counter.add()


@dataclass(frozen=True, slots=True)
class _Talk:
    """Results of many devices that talk."""

    sent: int
    heard: int
    cpu_s: float
    wall_s: float
    longest_batch_s: float
    delay_s: tuple[float, float]
    load_late_ms: float


class _Bench:
    """The parts, each with a server of its own and a load process."""

    def __init__(self, load_core: int | None) -> None:
        self._load_core = load_core

    async def drained(self, datagrams: int) -> float:
        """µs per datagram as fast as it goes, to the ordered frame."""
        counter = _Counter(datagrams)
        server = await _serve()
        channels = [_open(server, number, _Ordered(counter)) for number in range(_SESSIONS)]
        cpu, _, _ = await self._run(server.port, channels, counter, datagrams, _WINDOW)
        await server.aclose()
        return cpu / max(1, counter.count) * 1e6

    async def counted(self, datagrams: int) -> float:
        """µs per datagram of the reference."""
        counter, loop = _Counter(datagrams), asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Counting(counter), sock=_bound())
        port = transport.get_extra_info("sockname")[1]
        made_up = [(secrets.token_hex(16), nonce_template(number).hex()) for number in range(_SESSIONS)]
        cpu, _, _ = await self._run(port, made_up, counter, datagrams, _WINDOW)
        transport.close()
        return cpu / max(1, counter.count) * 1e6

    async def paced(self, devices: int, seconds: int) -> float:
        """µs per datagram at the talkers' real pace, to the ordered frame."""
        datagrams = devices * (seconds * 1000 // _FRAME_MS)
        counter = _Counter(datagrams)
        server = await _serve()
        channels = [_open(server, number, _Ordered(counter)) for number in range(devices)]
        cpu, _, _ = await self._run(server.port, channels, counter, datagrams, 0)
        await server.aclose()
        return cpu / max(1, counter.count) * 1e6

    async def talk(self, devices: int, seconds: int) -> _Talk:
        """Real pace, decoded and with voice detection."""
        datagrams = devices * (seconds * 1000 // _FRAME_MS)
        counter, delays = _Counter(datagrams), list[float]()
        vad = build("vad", ProviderSettings(), {})
        await vad.start()
        hearing = HearingPool(vad, VoiceSettings().audio_threads)
        server = await _serve()
        channels = [_open(server, number, _Listening(hearing, counter, delays)) for number in range(devices)]
        cpu, wall, sent = await self._run(server.port, channels, counter, datagrams, 0)
        longest = hearing.longest_batch_s
        await server.aclose()
        await hearing.aclose()
        await vad.aclose()
        delays.sort()
        percentiles = (delays[len(delays) // 2], delays[len(delays) * 99 // 100]) if delays else (0.0, 0.0)
        return _Talk(sent.packets, counter.count, cpu, wall, longest, percentiles, sent.late_ms)

    async def _run(
        self,
        port: int,
        sessions: list[tuple[str, str]],
        counter: _Counter,
        packets: int,
        window: int,
    ) -> tuple[float, float, Sent]:
        """CPU seconds of this process and wall seconds while the load sent `packets`, and its own word."""
        load = Load(port, sessions, packets, window, _FRAME_MS, self._load_core)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mimi_mqtt.cli.bench._udp_load",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        if process.stdin is None or process.stdout is None:
            raise StartupError("the load process has no pipes")
        try:
            async with asyncio.timeout(_LOAD_TIMEOUT_S):
                process.stdin.write(json.dumps(asdict(load)).encode() + b"\n")
                await process.stdout.readline()
                if window:
                    counter.grant_to(process.stdin)
                cpu, wall = time.process_time(), time.perf_counter()
                process.stdin.write(b"\n")
                answer = await process.stdout.readline()
                try:
                    async with asyncio.timeout(_QUIET_S):
                        await counter.complete.wait()
                except TimeoutError:
                    pass  # what has not come by now is lost, and reported as that
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return cpu, wall, Sent(**json.loads(answer))


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


async def _serve() -> UdpServer:
    server = UdpServer(UdpSettings(max_datagrams_per_s=1e9), lambda device_id: bytes(16))
    await server.start(_bound())
    return server


@dataclass(frozen=True, slots=True)
class _NoControl:
    """The control connection of a device that has none: the bench gives it its keys."""

    device_id: str
    transport: str = "mqtt"
    is_tester: bool = False
    local_host: str | None = None
    peer_host: str | None = None

    def send(self, payload: bytes) -> None:
        """Drops the message."""

    def undelivered(self) -> int:
        """Nothing was sent."""
        return 0

    def round_trip_ms(self) -> None:
        """Nothing is measured."""

    def unacknowledged(self) -> tuple[bytes, ...]:
        """Nothing was sent."""
        return ()

    def close(self, reason: str) -> None:
        """Does nothing."""


def _open(server: UdpServer, number: int, sink: AudioSink) -> tuple[str, str]:
    """A session's key and nonce, as its hello would tell them."""
    request = AudioRequest(
        f"device-{number}",
        secrets.token_hex(8),
        "127.0.0.1",
        _SAMPLE_RATE,
        _FRAME_MS,
    )
    channel: UdpChannel = server.open(_NoControl(request.device_id), request, sink)
    section = channel.describe()["udp"]
    return str(section["key"]), str(section["nonce"])
