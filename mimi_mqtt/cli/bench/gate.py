"""MQTT connects a second with the password check, memory per idle device, and many hellos at once.

The server (gate, device directory, sessions, UDP) runs in this process on one core, the load in a process of
its own on another. The reference is an asyncio protocol that answers CONNECT, PUBLISH and PINGREQ with fixed
bytes, measured by turns in the same run: compare ratios, not machines.
"""

import argparse
import asyncio
import gc
import os
import secrets
import socket
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

from mimi_mqtt.cli.bench._cores import server_on_one_core
from mimi_mqtt.cli.bench._devices import directory_of
from mimi_mqtt.cli.bench._gate_load import Order, Outcome, raise_descriptor_limit
from mimi_mqtt.cli.bench._load_process import Obedient, obedient_load
from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench._reference import listening, reference
from mimi_mqtt.cli.serve import spare_collections
from mimi_mqtt.config.connections import MqttSettings, UdpSettings
from mimi_mqtt.config.settings import SessionSettings, Settings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.voice.ports import ConversationSetup
from mimi_mqtt.wire.mqtt import PINGRESP, encode_connack, encode_publish
from mimi_mqtt.wire.topics import device_topic

_PARALLEL = 100
_FEW = 500
_SPARE_DESCRIPTORS = 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices, --connects and --runs, all bounded."""
    bounded(
        parser,
        ("--devices", 10, 10_000, 5_000, "devices at once"),
        ("--connects", 100, 50_000, 5_000, "connects a run"),
        ("--runs", 1, 20, 5, "runs the medians are of"),
    )


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs all parts. Times are the load's: from a device's first byte to its answer."""
    if raise_descriptor_limit() < args.devices + _SPARE_DESCRIPTORS:
        raise StartupError(
            f"{args.devices} devices need more open files than `ulimit -Hn` allows: --devices less"
        )
    collections_before = gc.get_threshold()
    try:
        with server_on_one_core() as load_core:
            return asyncio.run(_measure(args, load_core))
    finally:
        gc.set_threshold(*collections_before)
        gc.unfreeze()


async def _measure(args: argparse.Namespace, load_core: int | None) -> dict[str, object]:
    credentials = Credentials(secrets.token_bytes(32))
    ids = [f"02-00-00-00-{number >> 8:02x}-{number & 0xFF:02x}" for number in range(args.devices)]
    devices = [(device_id, credentials.mqtt_password(device_id, 1)) for device_id in ids]
    connects, all_at_once, few_at_once = _Rounds(), _Rounds(), _Rounds()
    bare_connects, bare_at_once, bare_few_at_once = _Rounds(), _Rounds(), _Rounds()
    async with (
        obedient_load("_gate_load", Outcome) as load,
        _server(credentials, ids) as port,
        reference(_Bare) as bare_port,
    ):
        spare_collections()
        await load.obey(Order("devices", devices=devices, core=load_core))
        for warm_port in (port, bare_port):
            await load.obey(Order("connect", warm_port, args.connects // 4, _PARALLEL))
        bytes_per_device = await _bytes_per_device(load, port, args.devices)
        # By turns, so that a disturbance of the machine meets both.
        for _ in range(args.runs):
            all_at_once.add(*await _hellos(load, port, args.devices, tools=True))
            bare_at_once.add(*await _hellos(load, bare_port, args.devices, tools=False))
            few = min(args.devices, _FEW)
            few_at_once.add(*await _hellos(load, port, few, tools=True))
            bare_few_at_once.add(*await _hellos(load, bare_port, few, tools=False))
            for either, found in ((port, connects), (bare_port, bare_connects)):
                order = Order("connect", either, args.connects, _PARALLEL)
                found.add(*await load.measured(order, args.connects))
    rate, bare_rate = connects.rate(), bare_connects.rate()
    return {
        "bench": "gate",
        "connects_per_s": round(rate),
        "reference_connects_per_s": round(bare_rate),
        "ratio_to_reference": round(rate / bare_rate, 2),
        "cpu_us_per_connect": round(connects.cpu_us(), 1),
        "reference_cpu_us_per_connect": round(bare_connects.cpu_us(), 1),
        "devices": args.devices,
        "bytes_per_idle_device": round(bytes_per_device),
        "hello_p50_ms": round(all_at_once.median("p50_ms"), 1),
        "hello_p99_ms": round(all_at_once.median("p99_ms"), 1),
        "reference_hello_p99_ms": round(bare_at_once.median("p99_ms"), 1),
        "hello_p99_ms_of_500": round(few_at_once.median("p99_ms"), 1),
        "reference_hello_p99_ms_of_500": round(bare_few_at_once.median("p99_ms"), 1),
        "cpu_us_per_hello": round(all_at_once.cpu_us(), 1),
        "reference_cpu_us_per_hello": round(bare_at_once.cpu_us(), 1),
        "hellos_per_s": round(all_at_once.rate()),
        "hellos_sent_within_ms": round(all_at_once.median("send_seconds") * 1000, 1),
        "one_core": load_core is not None,
        "runs": args.runs,
    }


class _Rounds:
    """Results of one task done several times: outcomes, and the CPU seconds that this process spent."""

    def __init__(self) -> None:
        self._found: list[tuple[Outcome, float]] = []

    def add(self, outcome: Outcome, cpu_seconds: float) -> None:
        self._found.append((outcome, cpu_seconds))

    def median(self, name: str) -> float:
        return statistics.median(float(getattr(outcome, name)) for outcome, _ in self._found)

    def rate(self) -> float:
        """Answers a second."""
        return statistics.median(outcome.answered / outcome.seconds for outcome, _ in self._found)

    def cpu_us(self) -> float:
        """CPU of one answer, kernel included: what a busy machine falsifies least."""
        return statistics.median(cpu / outcome.answered * 1e6 for outcome, cpu in self._found)


async def _bytes_per_device(load: Obedient[Outcome], port: int, devices: int) -> float:
    """Growth of this process for each device that connects and says nothing, in bytes."""
    gc.collect()
    before = _resident_bytes()
    await load.measured(Order("hold", port, devices), devices)
    gc.collect()
    after = _resident_bytes()
    await load.obey(Order("drop"))
    return (after - before) / devices


async def _hellos(load: Obedient[Outcome], port: int, count: int, *, tools: bool) -> tuple[Outcome, float]:
    """One round: `count` devices connect, say hello at once, answer what is asked of their tools, leave."""
    await load.measured(Order("hold", port, count), count)
    result = await load.measured(Order("hello"), count)
    if tools:
        await load.measured(Order("tools"), count)
    await load.obey(Order("drop"))
    return result


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _server(credentials: Credentials, ids: list[str]) -> AsyncIterator[int]:
    """The real parts that a connecting and greeting device meets; its port."""
    settings = Settings(
        mqtt=MqttSettings(max_connections=len(ids) + 1),
        # Devices that boot: those that come back would have sessions of the run before, which hello ends.
        session=SessionSettings(max_sessions=len(ids) + 1, reattach_s=0),
    )
    directory = directory_of(ids, credentials, settings)
    udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp_socket.bind(("127.0.0.1", 0))
    udp_socket.setblocking(False)
    udp = UdpServer(UdpSettings(), lambda device_id: bytes(16))
    await udp.start(udp_socket)
    sessions = SessionManager(
        settings,
        directory,
        {"udp": udp},
        AgentCatalog(AgentsInForce(settings.every_agent)),
        lambda agent: _no_conversation,
    )
    mqtt = MqttServer(settings.mqtt, directory, sessions)
    sock = listening()
    await mqtt.start(sock)
    try:
        yield int(sock.getsockname()[1])
    finally:
        await sessions.aclose()
        await mqtt.aclose()
        await udp.aclose()


def _no_conversation(setup: ConversationSetup) -> NoReturn:
    raise StartupError("this bench has no conversations")


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
