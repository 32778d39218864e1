"""CPU per audio frame that is received and answered over a WebSocket, connects a second, and memory of each.

The whole HTTP server runs in this process on one core, with devices whose audio is sent back frame by frame;
the load is in a process of its own on another. CPU is this process's own.
"""

import argparse
import asyncio
import gc
import json
import socket
import sys
import time
from typing import Any

import psutil
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from mimi_mqtt.cli.bench._cores import server_on_one_core
from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench._websocket_load import Load
from mimi_mqtt.config import HttpSettings, Settings, SharesSettings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.session.link import AudioChannel, AudioRequest, ControlChannel
from mimi_mqtt.transports.websocket import PATH, WebSocketDevices

_FRAME_MS = 60
_TIMEOUT_S = 120.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices and --seconds, both bounded."""
    bounded(
        parser,
        ("--devices", 1, 2_000, 300, "talkers at once"),
        ("--seconds", 1, 60, 10, "how long they talk"),
    )


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Connects and has all talk; CPU in µs."""
    with server_on_one_core() as load_core:
        return asyncio.run(_measure(args, load_core))


class _Everybody:
    """Admits every device."""

    def admits(self, device_id: str, client_id: str, token: bytes) -> bool:
        """True."""
        return True


class _Echo:
    """Sends each frame back; a session in place of the manager's."""

    def __init__(self) -> None:
        self.channel: AudioChannel | None = None

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        """Answers with the same frame."""
        if self.channel is not None:
            self.channel.send(opus, sequence * _FRAME_MS)


class _Sessions:
    """Opens an echo for each device that connects, without its hello."""

    def __init__(self) -> None:
        self.devices: WebSocketDevices | None = None

    def control_opened(self, channel: ControlChannel) -> None:
        """Opens the device's audio."""
        if self.devices is not None:
            echo = _Echo()
            request = AudioRequest(channel.device_id, "bench", "127.0.0.1", 16_000, _FRAME_MS)
            echo.channel = self.devices.open(channel, request, echo)

    def control_message(self, channel: ControlChannel, payload: bytes) -> None:
        """Ignores it."""

    def control_closed(self, channel: ControlChannel, reason: str) -> None:
        """Ignores it."""


async def _measure(args: argparse.Namespace, load_core: int | None) -> dict[str, object]:
    sessions = _Sessions()
    devices = WebSocketDevices(Settings(), _Everybody(), lambda: sessions)
    sessions.devices = devices
    many = args.devices + 100
    server = HttpServer(
        Starlette(routes=[WebSocketRoute(PATH, devices)]),
        HttpSettings(max_connections=8 * many),
        shares=SharesSettings(
            http_connections_per_address=many, websockets_per_address=many,
            http_requests_per_minute=60 * many, http_cpu_percent=100,
        ),
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        port = sock.getsockname()[1]
        await server.start(sock)
        try:
            return await _under_load(args, load_core, port)
        finally:
            await server.aclose()


async def _under_load(args: argparse.Namespace, load_core: int | None, port: int) -> dict[str, object]:
    load = Load(port, PATH, args.devices, args.seconds, _FRAME_MS, load_core)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt.cli.bench._websocket_load",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26,
    )  # fmt: skip
    if process.stdin is None or process.stdout is None:
        raise StartupError("the load process has no pipes")
    this = psutil.Process()
    try:
        async with asyncio.timeout(_TIMEOUT_S + args.seconds):
            gc.collect()
            memory, cpu = this.memory_info().rss, time.process_time()
            process.stdin.write(json.dumps(_order(load)).encode() + b"\n")
            connected = json.loads(await process.stdout.readline())
            connecting_cpu = time.process_time() - cpu
            gc.collect()
            grown = this.memory_info().rss - memory
            cpu = time.process_time()
            process.stdin.write(b"\n")
            result: dict[str, Any] = json.loads(await process.stdout.readline())
            cpu = time.process_time() - cpu
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    trips = sorted(result["round_trip_ms"])
    return {
        "bench": "websocket",
        "devices": args.devices,
        "connects_per_s": round(args.devices / connected["connect_s"]),
        "cpu_us_per_connect": round(connecting_cpu / args.devices * 1e6),
        "bytes_per_connection": round(grown / args.devices),
        "frames_sent": result["sent"],
        "frames_lost": result["sent"] - result["answered"],
        "cpu_us_per_frame_answered": round(cpu / max(1, result["answered"]) * 1e6, 1),
        "core_share": round(cpu / args.seconds, 3),
        "round_trip_ms_p50": round(trips[len(trips) // 2], 2) if trips else None,
        "round_trip_ms_p99": round(trips[len(trips) * 99 // 100], 2) if trips else None,
        "load_late_ms": round(result["late_ms"], 1),
        "one_core": load_core is not None,
    }


def _order(load: Load) -> dict[str, object]:
    return {name: getattr(load, name) for name in Load.__dataclass_fields__}
