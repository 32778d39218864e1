"""MQTT connects a second with the password check, memory per idle device, and many hellos at once.

The server (gate, device directory, sessions, UDP) runs in this process on one core, the load in a process of
its own on another. The reference is an asyncio protocol that answers CONNECT, PUBLISH and PINGREQ with fixed
bytes, measured by turns in the same run: compare ratios, not machines.
"""

import argparse
import asyncio
import functools
import gc
import json
import logging
import os
import secrets
import socket
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from mimi_mqtt.cli.bench._gate_load import Order, Outcome, raise_descriptor_limit
from mimi_mqtt.config.settings import MqttSettings, SessionSettings, Settings, UdpSettings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.wire.mqtt import PINGRESP, encode_connack, encode_publish
from mimi_mqtt.wire.topics import device_topic

_PARALLEL = 100
_FEW = 500
_SPARE_DESCRIPTORS = 200
_LOAD_TIMEOUT_S = 60.0


def _count(low: int, high: int, text: str) -> int:
    value = int(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
    return value


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices, --connects and --runs, all bounded."""
    devices, connects, runs = (
        functools.partial(_count, *bounds) for bounds in ((10, 10_000), (100, 50_000), (1, 20))
    )
    parser.add_argument("--devices", type=devices, default=5_000, metavar="N", help="devices at once (5000)")
    parser.add_argument("--connects", type=connects, default=5_000, metavar="N", help="connects a run (5000)")
    parser.add_argument("--runs", type=runs, default=5, metavar="N", help="runs the medians are of (5)")


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs all parts. Times are the load's: from a device's first byte to its answer."""
    if raise_descriptor_limit() < args.devices + _SPARE_DESCRIPTORS:
        raise StartupError(
            f"{args.devices} devices need more open files than `ulimit -Hn` allows: --devices less"
        )
    # The load does not answer MCP, which thousands of sessions would tell.
    sessions_log = logging.getLogger("mimi_mqtt.session")
    level_before = sessions_log.level
    sessions_log.setLevel(logging.ERROR)
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    load_core: int | None = None
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[0]})
        load_core = cores[1]
    try:
        return asyncio.run(_measure(args, load_core))
    finally:
        os.sched_setaffinity(0, before)
        sessions_log.setLevel(level_before)


async def _measure(args: argparse.Namespace, load_core: int | None) -> dict[str, object]:
    credentials = Credentials(secrets.token_bytes(32))
    ids = [f"02-00-00-00-{number >> 8:02x}-{number & 0xFF:02x}" for number in range(args.devices)]
    devices = [(device_id, credentials.mqtt_password(device_id, 1)) for device_id in ids]
    async with _load_process() as load, _server(credentials, ids) as port, _reference() as bare_port:
        await load.obey(Order("devices", devices=devices, core=load_core))
        for warm_port in (port, bare_port):
            await load.obey(Order("connect", warm_port, args.connects // 4, _PARALLEL))
        bytes_per_device, hellos, few = await _held(load, port, args.runs, args.devices)
        _, bare_hellos, _ = await _held(load, bare_port, args.runs, args.devices)
        rates: dict[int, list[float]] = {port: [], bare_port: []}
        for _ in range(args.runs):  # by turns, so that a disturbance of the machine meets both
            for either, found in rates.items():
                outcome = await load.obey(Order("connect", either, args.connects, _PARALLEL))
                _check(outcome.answered, args.connects, "connects")
                found.append(outcome.answered / outcome.seconds)
    rate, bare_rate = (statistics.median(found) for found in rates.values())
    p50, p99 = (statistics.median(getattr(hello, name) for hello in hellos) for name in ("p50_ms", "p99_ms"))
    bare_p99 = statistics.median(hello.p99_ms for hello in bare_hellos)
    return {
        "bench": "gate",
        "connects_per_s": round(rate),
        "reference_connects_per_s": round(bare_rate),
        "ratio_to_reference": round(rate / bare_rate, 2),
        "devices": args.devices,
        "bytes_per_idle_device": round(bytes_per_device),
        "hello_p50_ms": round(p50, 1),
        "hello_p99_ms": round(p99, 1),
        "reference_hello_p99_ms": round(bare_p99, 1),
        "hello_p99_ms_of_500": round(statistics.median(hello.p99_ms for hello in few), 1),
        "hellos_per_s": round(statistics.median(hello.answered / hello.seconds for hello in hellos)),
        "hellos_sent_within_ms": round(statistics.median(hello.send_seconds for hello in hellos) * 1000, 1),
        "one_core": load_core is not None,
        "runs": args.runs,
    }


async def _held(
    load: "_LoadProcess", port: int, runs: int, devices: int
) -> tuple[float, list[Outcome], list[Outcome]]:
    """Bytes of this process per connected device; each round of hellos of all of them, and of a few."""
    gc.collect()
    before = _resident_bytes()
    held = await load.obey(Order("hold", port))
    gc.collect()
    per_device = (_resident_bytes() - before) / max(1, held.answered)
    rounds: dict[int, list[Outcome]] = {devices: [], min(devices, _FEW): []}
    for count, found in rounds.items():
        for _ in range(runs):
            found.append(await load.obey(Order("hello", count=count)))
            _check(found[-1].answered, count, "hellos")
    await load.obey(Order("drop"))
    return per_device, rounds[devices], rounds[min(devices, _FEW)]


def _check(answered: int, asked: int, what: str) -> None:
    if answered != asked:
        raise StartupError(f"only {answered} of {asked} {what} were answered: the figures would mean nothing")


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _server(credentials: Credentials, ids: list[str]) -> AsyncIterator[int]:
    """The real parts that a connecting and greeting device meets; its port."""
    settings = Settings(
        mqtt=MqttSettings(max_connections=len(ids) + 1), session=SessionSettings(max_sessions=len(ids) + 1)
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
    udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp_socket.bind(("127.0.0.1", 0))
    udp_socket.setblocking(False)
    udp = UdpServer(UdpSettings())
    await udp.start(udp_socket)
    sessions = SessionManager(settings, directory, {"udp": udp}, _nobody_speaks)
    mqtt = MqttServer(settings.mqtt, directory, sessions)
    listening = _listening()
    await mqtt.start(listening)
    try:
        yield int(listening.getsockname()[1])
    finally:
        await sessions.aclose()
        await mqtt.aclose()
        await udp.aclose()


def _nobody_speaks(**_: object) -> NoReturn:
    raise StartupError("nobody speaks in this bench")


class _Bare(asyncio.Protocol):
    """The reference: the least an asyncio server can do."""

    __slots__ = ("_transport",)

    _connack = encode_connack(0)
    _answer = encode_publish(
        device_topic("02-00-00-00-00-00", "down"), b'{"type":"hello"' + b" " * 300 + b"}"
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        kind = data[0] >> 4
        self._transport.write(self._connack if kind == 1 else self._answer if kind == 3 else PINGRESP)


@asynccontextmanager
async def _reference() -> AsyncIterator[int]:
    listening = _listening()
    server = await asyncio.get_running_loop().create_server(_Bare, sock=listening, backlog=1024)
    try:
        yield int(listening.getsockname()[1])
    finally:
        server.close()


def _listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    sock.setblocking(False)
    return sock


class _LoadProcess:
    def __init__(self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        self._writer = writer
        self._reader = reader

    async def obey(self, order: Order) -> Outcome:
        """Waits until it is done, and for the server to have dealt with what it left."""
        self._writer.write(json.dumps(asdict(order)).encode() + b"\n")
        async with asyncio.timeout(_LOAD_TIMEOUT_S):
            answer = await self._reader.readline()
        if not answer:
            raise StartupError("the load process ended early")
        await asyncio.sleep(0.2)
        return Outcome(**json.loads(answer))


@asynccontextmanager
async def _load_process() -> AsyncIterator[_LoadProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt.cli.bench._gate_load",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if process.stdin is None or process.stdout is None:
        raise StartupError("the load process has no pipes")
    try:
        yield _LoadProcess(process.stdin, process.stdout)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
