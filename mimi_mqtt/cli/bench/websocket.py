"""Devices over WebSockets: connects a second with the token check, hellos at once, memory of an idle
connection, and CPU of each audio frame up, down, and received and answered.

The server (HTTP server, device directory, sessions) runs in this process on one core, the load in a process
of its own on another. The reference is an asyncio protocol that answers with fixed bytes and sends frames
back, measured by turns in the same run: compare ratios, not machines.
"""

import argparse
import asyncio
import gc
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from mimi_mqtt.cli.bench._cores import server_on_one_core
from mimi_mqtt.cli.bench._gate_load import raise_descriptor_limit
from mimi_mqtt.cli.bench._load_process import Obedient, obedient_load
from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench._reference import reference
from mimi_mqtt.cli.bench._udp_load import speechlike
from mimi_mqtt.cli.bench._websocket_load import Order, Outcome
from mimi_mqtt.cli.bench._websocket_servers import FRAME_MS, Bare, Fleet, Talkers, greeting, talking
from mimi_mqtt.cli.serve import spare_collections
from mimi_mqtt.errors import StartupError
from mimi_mqtt.transports.websocket import PATH

_PARALLEL = 50
_FIRST = 20
_SPARE_DESCRIPTORS = 200
_LOAD_TIMEOUT_S = 150.0

_Load = Obedient[Outcome]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices, --connects, --seconds and --runs, all bounded."""
    bounded(
        parser,
        ("--devices", 1, 2_000, 300, "devices at once"),
        ("--connects", 20, 50_000, 2_000, "connects a run"),
        ("--seconds", 1, 60, 5, "how long they talk in a run"),
        ("--runs", 1, 20, 3, "runs the medians are of"),
    )


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs all parts. CPU is this process's own, kernel included, in µs; times are the load's."""
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
    fleet, talkers = Fleet(args.devices), Talkers()
    connects, bare_connects, hellos, bare_hellos = _Rounds(), _Rounds(), _Rounds(), _Rounds()
    echoes, bare_echoes, ups, downs = _Rounds(), _Rounds(), _Rounds(), _Rounds()
    async with (
        obedient_load("_websocket_load", Outcome, _LOAD_TIMEOUT_S) as load,
        greeting(fleet) as port,
        talking(fleet, talkers) as talk_port,
        reference(Bare) as bare_port,
    ):
        spare_collections()
        await load.obey(Order("devices", devices=fleet.shown(), core=load_core))
        # Few, one after the other: the memory of many would be there for those that are measured.
        await load.obey(Order("connect", port, PATH, _FIRST, 1))
        bytes_per_connection = await _bytes_per_connection(load, port, args.devices)
        for warm_port in (port, bare_port):
            await load.obey(Order("connect", warm_port, PATH, max(1, args.connects // 4), _PARALLEL))
        # By turns, so that a disturbance of the machine meets both.
        for _ in range(args.runs):
            for each, connect_rounds, hello_rounds in (
                (port, connects, hellos),
                (bare_port, bare_connects, bare_hellos),
            ):
                order = Order("connect", each, PATH, args.connects, _PARALLEL)
                connect_rounds.add(*await load.measured(order, args.connects))
                await load.measured(Order("hold", each, PATH, args.devices), args.devices)
                hello_rounds.add(*await load.measured(Order("hello"), args.devices))
                await load.obey(Order("drop"))
            echoes.add(*await _talk(load, talk_port, args))
            bare_echoes.add(*await _talk(load, bare_port, args))
        for _ in range(args.runs):
            ups.add(*await _up(load, talk_port, talkers, args))
            downs.add(*await _down(load, talk_port, talkers, args))
    rate, bare_rate = connects.rate(), bare_connects.rate()
    cost, bare_cost = echoes.cpu_us(), bare_echoes.cpu_us()
    return {
        "bench": "websocket",
        "devices": args.devices,
        "connects_per_s": round(rate),
        "reference_connects_per_s": round(bare_rate),
        "ratio_to_reference_connects": round(rate / bare_rate, 2),
        "cpu_us_per_connect": round(connects.cpu_us(), 1),
        "reference_cpu_us_per_connect": round(bare_connects.cpu_us(), 1),
        "bytes_per_connection": round(bytes_per_connection),
        "hello_p50_ms": round(hellos.median("p50_ms"), 1),
        "hello_p99_ms": round(hellos.median("p99_ms"), 1),
        "reference_hello_p99_ms": round(bare_hellos.median("p99_ms"), 1),
        "cpu_us_per_hello": round(hellos.cpu_us(), 1),
        "reference_cpu_us_per_hello": round(bare_hellos.cpu_us(), 1),
        "cpu_us_per_frame_answered": round(cost, 1),
        "reference_cpu_us_per_frame_answered": round(bare_cost, 1),
        "ratio_to_reference_frames": round(cost / bare_cost, 2),
        "cpu_us_per_frame_up": round(ups.cpu_us(), 1),
        "cpu_us_per_frame_down": round(downs.cpu_us(), 1),
        "frames_sent": echoes.total("sent"),
        "frames_lost": echoes.total("sent") - echoes.total("answered"),
        "core_share": round(cost / 1e6 * args.devices * 1000 / FRAME_MS, 3),
        "round_trip_ms_p50": round(echoes.median("p50_ms"), 2),
        "round_trip_ms_p99": round(echoes.median("p99_ms"), 2),
        "load_late_ms": round(echoes.median("late_ms"), 1),
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

    def total(self, name: str) -> int:
        return sum(int(getattr(outcome, name)) for outcome, _ in self._found)

    def rate(self) -> float:
        """Answers a second."""
        return statistics.median(outcome.answered / outcome.seconds for outcome, _ in self._found)

    def cpu_us(self) -> float:
        """CPU of one answer: what a busy machine falsifies least."""
        return statistics.median(cpu / max(1, outcome.answered) * 1e6 for outcome, cpu in self._found)


async def _bytes_per_connection(load: _Load, port: int, devices: int) -> float:
    """Growth of this process for each device that connects and says nothing, in bytes."""
    gc.collect()
    before = _resident_bytes()
    await load.measured(Order("hold", port, PATH, devices), devices)
    gc.collect()
    after = _resident_bytes()
    await load.obey(Order("drop"))
    return (after - before) / devices


async def _talk(load: _Load, port: int, args: argparse.Namespace) -> tuple[Outcome, float]:
    """All devices talk in real time, and are answered frame by frame."""
    await load.measured(Order("hold", port, PATH, args.devices), args.devices)
    order = Order("talk", frames=_frames(args), frame_ms=FRAME_MS, answered=True)
    found = await load.watched(order)
    await load.obey(Order("drop"))
    return found


async def _up(load: _Load, port: int, talkers: Talkers, args: argparse.Namespace) -> tuple[Outcome, float]:
    """All devices talk, and nothing is sent back; `answered` is what was heard."""
    talkers.answers = False
    await load.measured(Order("hold", port, PATH, args.devices), args.devices)
    outcome, cpu_seconds = await load.watched(Order("talk", frames=_frames(args), frame_ms=FRAME_MS))
    found = Outcome(talkers.heard, outcome.seconds, sent=outcome.sent)
    await load.obey(Order("drop"))
    return found, cpu_seconds


async def _down(load: _Load, port: int, talkers: Talkers, args: argparse.Namespace) -> tuple[Outcome, float]:
    """All devices are spoken to, and say nothing."""
    await load.measured(Order("hold", port, PATH, args.devices), args.devices)
    speaking = asyncio.create_task(talkers.speak(_speech(), _frames(args)))
    found = await load.watched(Order("listen", frames=_frames(args), frame_ms=FRAME_MS))
    await speaking
    await load.obey(Order("drop"))
    return found


def _frames(args: argparse.Namespace) -> int:
    return int(args.seconds) * 1000 // FRAME_MS


def _speech() -> Sequence[bytes]:
    return speechlike(FRAME_MS)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
