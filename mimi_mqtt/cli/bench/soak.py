"""Growth of memory and tables while devices talk, interrupt, vanish and come back for minutes.

The whole way from the socket is real, the providers answer at once (see `_instant_server`). The devices, in a
process of their own, behave by the numbers of a seed (see `_soak_load`). When they are gone everything must
be as it was: no session, channel, connection, descriptor or task is left, and no memory was taken. With
`--collector off` the garbage collector rests meanwhile, so that every cycle of references shows as growth.
"""

import argparse
import asyncio
import gc
import json
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

import psutil

from mimi_mqtt.cli.bench._cores import server_on_one_core
from mimi_mqtt.cli.bench._instant_server import InstantServer, instant_server
from mimi_mqtt.cli.bench._load_process import load_process
from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench._soak_load import Order, Tally
from mimi_mqtt.cli.serve import spare_collections
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.session.session import Session
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.transports.udp import UdpChannel
from mimi_mqtt.voice.conversation import Conversation

_SAMPLE_S: Final = 2.0
_WARM_UP_SHARE: Final = 1 / 3  # caches fill, pools start: not growth
_REATTACH_S: Final = 3.0  # shorter than the default, so that what devices leave behind ends within the soak
_SETTLE_S: Final = 30.0
_MIB: Final = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices, --seconds, --seed, all bounded, and --collector."""
    bounded(
        parser,
        ("--devices", 1, 200, 20, "devices"),
        ("--seconds", 10, 3_600, 180, "how long they go on"),
        ("--seed", 0, 1 << 31, 7, "seed of what they do"),
    )
    parser.add_argument(
        "--collector", choices=("on", "off"), default="on", help="the garbage collector (on, as in `serve`)"
    )


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs the soak. Slopes are of the last two thirds."""
    log = logging.getLogger("mimi_mqtt")
    faults = _Faults()
    log.addHandler(faults)
    level_before, log.level = log.level, logging.ERROR
    thresholds = gc.get_threshold()
    try:
        with server_on_one_core() as load_core:
            return asyncio.run(_measure(args, load_core, faults))
    finally:
        log.removeHandler(faults)
        log.setLevel(level_before)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        gc.enable()


async def _measure(args: argparse.Namespace, load_core: int | None, faults: "_Faults") -> dict[str, object]:
    credentials = Credentials(secrets.token_bytes(32))
    ids = [f"02-00-00-00-{number >> 8:02x}-{number & 0xFF:02x}" for number in range(args.devices)]
    turns = _Turns()
    process = psutil.Process()
    memory: list[tuple[float, float]] = []
    async with instant_server(credentials, ids, turns, reattach_s=_REATTACH_S) as server:
        passwords = [(device_id, credentials.mqtt_password(device_id, 1)) for device_id in ids]
        order = Order(server.port, passwords, args.seconds, args.seed, load_core)
        spare_collections()
        if args.collector == "off":
            gc.disable()
        collections = _Collections()
        tasks, descriptors = len(asyncio.all_tasks()), process.num_fds()
        async with load_process("_soak_load", order) as answer, asyncio.TaskGroup() as group:
            sampling = group.create_task(_sample(process, memory))
            tally = Tally(**json.loads(await answer(args.seconds + 120.0)))
            sampling.cancel()
        await _settle(server)
        collections.close()
        left = {
            "sessions_left": server.sessions.count,
            "channels_left": server.udp.count,
            "connections_left": server.mqtt.connections["sockets"],
            "tasks_left": len(asyncio.all_tasks()) - tasks,
            "descriptors_left": process.num_fds() - descriptors,
            **_alive(Session, Conversation, UdpChannel),
        }
    warm = [sample for sample in memory if sample[0] >= memory[0][0] + args.seconds * _WARM_UP_SHARE]
    return {
        "bench": "soak",
        "seconds": args.seconds,
        "devices": args.devices,
        "collector": args.collector,
        "hellos": tally.hellos,
        "turns": tally.turns,
        "aborts": tally.aborts,
        "dropped_connections": tally.dropped_connections,
        "goodbyes": tally.goodbyes,
        "frames": tally.frames,
        "turns_recorded": turns.count,
        "unanswered": len(tally.unanswered),
        "unanswered_first": tally.unanswered[:5],
        "faults_logged": faults.count,
        "faults_first": faults.first,
        "memory_mib_after_warm_up": round(warm[0][1], 1),
        "memory_mib_at_the_end": round(warm[-1][1], 1),
        "memory_mib_per_minute": round(_slope(warm) * 60, 3),
        "full_collections": len(collections.full_ms),
        "longest_full_collection_ms": round(max(collections.full_ms, default=0.0), 1),
        **left,
    }


async def _sample(process: psutil.Process, memory: list[tuple[float, float]]) -> None:
    while True:
        memory.append((time.monotonic(), process.memory_info().rss / _MIB))
        await asyncio.sleep(_SAMPLE_S)


async def _settle(server: InstantServer) -> None:
    """Until the sessions that devices left behind have ended, for at most `_SETTLE_S`."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        if not (server.sessions.count or server.udp.count or server.mqtt.connections["sockets"]):
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)  # conversations close in tasks of their own


def _alive(*kinds: type) -> dict[str, int]:
    objects = gc.get_objects()
    return {
        f"{kind.__name__.lower()}s_alive": sum(1 for thing in objects if type(thing) is kind)
        for kind in kinds
    }


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    """The least-squares slope, in units of the second column a second."""
    if len(samples) < 2:
        return 0.0
    middle_at = sum(at for at, _ in samples) / len(samples)
    middle = sum(value for _, value in samples) / len(samples)
    spread = sum((at - middle_at) ** 2 for at, _ in samples)
    return sum((at - middle_at) * (value - middle) for at, value in samples) / spread


class _Turns:
    """A turn log that counts."""

    def __init__(self) -> None:
        self.count = 0

    def add_turn(self, record: TurnRecord) -> None:
        self.count += 1


class _Faults(logging.Handler):
    """Counts what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        self.first = self.first or self.format(record)[-1_000:]


class _Collections:
    """Times the garbage collector's full collections."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = 0.0
        self.full_ms: list[float] = []
        gc.callbacks.append(self._called)

    def close(self) -> None:
        gc.callbacks.remove(self._called)

    def _called(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] < 2:
            return
        if phase == "start":
            self._began = self._clock()
        else:
            self.full_ms.append((self._clock() - self._began) * 1000)
