"""Time that the server adds to a turn with instant providers, and evenness of the downlink.

The whole way from the socket is real: gate, UDP, hearing, conversation, Opus, play-out. Recogniser, model,
voice and voice detector answer at once. The server runs in this process on one core; the devices, which note
when what arrived, in a process of their own on another. The reference is one asyncio timer a stream, measured
by turns in the same run: compare with it, not with other machines.
"""

import argparse
import asyncio
import json
import logging
import secrets
import socket
import statistics
from collections.abc import Sequence

from mimi_mqtt.audio.playout_clock import LEAD_GAIN
from mimi_mqtt.cli.bench._cores import server_on_one_core
from mimi_mqtt.cli.bench._instant_server import bound_socket, instant_server
from mimi_mqtt.cli.bench._load_process import load_process
from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench._turn_load import FRAME_MS, Heard, Order
from mimi_mqtt.config.settings import SessionSettings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.store.turn_record import TurnRecord

_OPENING_FRAMES = SessionSettings().playout_ahead_frames * LEAD_GAIN
_SETTLE_FRAMES = _OPENING_FRAMES + 7


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices, --turns, --speakers, --seconds and --runs, all bounded."""
    bounded(
        parser,
        ("--devices", 1, 200, 10, "devices that take turns"),
        ("--turns", 1, 200, 10, "turns of each"),
        ("--speakers", 1, 500, 100, "sessions that speak at once"),
        ("--seconds", 2, 60, 10, "how long they speak"),
        ("--runs", 1, 20, 3, "runs the medians are of"),
    )


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
    async with instant_server(credentials, ids, log, reply_s=reply_s) as server:
        passwords = [(device_id, credentials.mqtt_password(device_id, 1)) for device_id in ids]
        order = Order(_OPENING_FRAMES, _SETTLE_FRAMES, load_core, server.port, passwords, turns, warm_up)
        async with load_process("_turn_load", order) as answer:
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

    order = Order(_OPENING_FRAMES, _SETTLE_FRAMES, load_core, reference=streams)
    async with load_process("_turn_load", order) as answer:
        ports = json.loads(await answer())
        sock = bound_socket(socket.SOCK_DGRAM)
        async with asyncio.TaskGroup() as tasks:
            for number, port in enumerate(ports):
                tasks.create_task(pace(port, loop.time() + 0.1 + number * FRAME_MS / 1000 / streams))
        sock.close()
        return Heard(**json.loads(await answer()))


class _TurnTimes:
    """A turn log that keeps how long it took from the endpoint to `tts start`."""

    def __init__(self, warm_up: int) -> None:
        self._warm_up = warm_up
        self.ms: list[float] = []

    def add_turn(self, record: TurnRecord) -> None:
        if record.number > self._warm_up and "speech" in record.timings_ms:
            self.ms.append(record.timings_ms["speech"] - record.timings_ms["endpoint"])
