"""OTA requests a second, and how soon the REST API answers, with many devices and a year of turns in SQLite.

The server is a process of its own on one core, the load another one on another. The references of the same
run are a bare Starlette route, and the same server with an empty database: compare ratios, not machines.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.bench import _api_database as database
from mimi_mqtt.cli.bench._api_load import Order, Outcome
from mimi_mqtt.cli.bench._cores import server_on_one_core
from mimi_mqtt.cli.bench._load_process import Obedient, obedient_load
from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench.attacks._server import Server, server_in
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.http.api.loading import API_PREFIX
from mimi_mqtt.http.api.rates import REQUESTS_PER_S
from mimi_mqtt.people.authenticators import COMMAND_LINE_PREFIX
from mimi_mqtt.store.engine import Store

_PARALLEL: Final = 16
_WARM: Final = 200
_PROBE: Final = 300
_NO_SHARES: Final = {
    "SHARES__HTTP_REQUESTS_PER_MINUTE": "100000000",
    "SHARES__HTTP_CPU_PERCENT": "100",
    "HTTP__REQUESTS_PER_MINUTE": "100000000",
    "STORE__KEEP_CONVERSATIONS_DAYS": "4000",
    "STORE__MAX_SIZE_MB": "0",
    "SERVER__TIMEZONE": "Etc/UTC",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares --devices, --turns, --seconds and --asks, all bounded."""
    bounded(
        parser,
        ("--devices", 10, 1_000_000, 5_000, "devices in the table; a large fleet has 100000"),
        ("--turns", 0, 10_000_000, 100_000, "turns of the year; 1000 devices have 3000000"),
        ("--seconds", 1, 60, 5, "seconds of OTA requests"),
        ("--asks", 3, 1_000, 40, "requests of each kind"),
    )


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs all parts; needs some 1.5 GB of disk for each million turns."""
    with server_on_one_core() as load_core, tempfile.TemporaryDirectory(prefix="mimi-bench-") as folder:
        return asyncio.run(_measure(args, Path(folder), load_core))


async def _measure(args: argparse.Namespace, folder: Path, load_core: int | None) -> dict[str, object]:
    full, empty = folder / "full", folder / "empty"
    began = time.monotonic()
    filled = await _prepare(full, args.devices, args.turns)
    await _prepare(empty, 1, 0)
    figures: dict[str, object] = {
        "bench": "api",
        "devices": args.devices,
        "turns": filled.turns,
        "database_mb": round((full / "data" / "mimi.db").stat().st_size / 1e6),
        "filled_s": round(time.monotonic() - began, 1),
    }
    async with obedient_load("_api_load", Outcome, timeout_s=400) as load:
        asks = _Asks(load, args.asks, load_core)
        async with _serving(empty) as (server, ready_s):
            figures["empty_ready_s"] = round(ready_s, 2)
            empty_mib = server.memory_mib
            for name, paths in _queries(None).items():
                figures[f"empty_{name}_p50_ms"] = round((await asks.get(server, empty, paths)).p50_ms, 1)
        async with _serving(full) as (server, ready_s):
            figures["ready_s"] = round(ready_s, 2)
            figures["bytes_per_device"] = round((server.memory_mib - empty_mib) * (1 << 20) / args.devices)
            for name, paths in _queries(filled).items():
                outcome = await asks.get(server, full, paths)
                figures[f"{name}_p50_ms"] = round(outcome.p50_ms, 1)
                figures[f"{name}_p99_ms"] = round(outcome.p99_ms, 1)
            ota = await asks.ota(server.http, "/xiaozhi/ota/", args.devices, args.seconds, server)
        async with _reference() as port:
            bare = await asks.ota(port, "/", args.devices, args.seconds, None)
            route = await asks.reference(port)
    figures |= {f"ota_{name}": value for name, value in ota.items()}
    figures |= {f"reference_{name}": value for name, value in bare.items()}
    figures["reference_get_p50_ms"] = round(route.p50_ms, 2)
    figures["ota_ratio_to_reference"] = round(float(ota["per_s"]) / float(bare["per_s"]), 2)
    figures["one_core"] = load_core is not None
    return figures


def _queries(filled: database.Filled | None) -> Mapping[str, Sequence[str]]:
    """Requests of the API: name -> paths that are asked in turn."""
    api, last = API_PREFIX, filled.last_day if filled is not None else datetime.now(UTC).date()
    year = f"from={last - timedelta(days=database.DAYS)}&to={last}"
    some = [database.device_id(number) for number in range(0, min(filled.talking if filled else 1, 40), 4)]
    ago = (datetime.now(UTC) - timedelta(days=180)).strftime("%Y-%m-%dT%H:%M:%SZ")
    search = f"{api}/conversations/search"
    queries = {
        "overview": [f"{api}/overview"],
        "problems": [f"{api}/problems"],
        "logs": [f"{api}/logs?limit=200"],
        "devices": [f"{api}/devices"],
        "device": [f"{api}/devices/{device}" for device in some],
        "device_connections": [f"{api}/devices/{device}/connections" for device in some],
        "device_labels": [f"{api}/devices/labels"],
        "ota_requests": [f"{api}/ota-requests"],
        "sessions": [f"{api}/sessions"],
        "reminders": [f"{api}/reminders?running=true"],
        "agents": [f"{api}/agents"],
        "providers": [f"{api}/providers"],
        "boards": [f"{api}/boards"],
        "audit": [f"{api}/audit"],
        "settings": [f"{api}/settings"],
        "health": [f"{api}/health"],
        "devices_online": [f"{api}/devices?online=true"],
        "devices_search": [f"{api}/devices?search=speaker%20{number}" for number in range(7, 1_000, 77)],
        "devices_search_nothing": [f"{api}/devices?search=xylophone"],
        "conversations": [f"{api}/conversations"],
        "conversations_before": [f"{api}/conversations?to={ago}"],
        "conversations_of_device": [f"{api}/conversations?device={device}" for device in some],
        "conversations_failed": [f"{api}/conversations?outcome=failed&limit=200"],
        "conversations_of_agent": [f"{api}/conversations?agent=chef"],
        "conversations_of_owner": [f"{api}/conversations?owner=u{number}" for number in range(7, 400, 40)],
        "statistics_by_day": [f"{api}/statistics?by=day&limit=200&{year}"],
        "statistics_total": [f"{api}/statistics/total?{year}"],
        "statistics_by_agent": [f"{api}/statistics?by=agent&{year}"],
        "statistics_by_provider": [f"{api}/statistics?by=provider&{year}"],
        "statistics_by_device": [f"{api}/statistics?by=device&{year}"],
        "statistics_of_device": [f"{api}/statistics?device={device}&limit=200&{year}" for device in some],
        "search_common": [f"{search}?q={database.COMMON}"],
        "search_rare": [f"{search}?q={database.RARE}"],
        "search_chinese": [f"{search}?q=%E5%AE%A2%E5%8E%85"],
        "search_of_device": [f"{search}?q={database.COMMON}&device={device}" for device in some],
        "search_failed": [f"{search}?q={database.COMMON}&outcome=failed"],
        "search_of_owner": [f"{search}?q={database.COMMON}&owner=u{number}" for number in range(7, 400, 40)],
        "search_nothing": [f"{search}?q=xylophone"],
    }
    if filled is not None and filled.some:
        queries["conversation"] = [f"{api}/conversations/{each}" for each in filled.some]
    return queries


class _Asks:
    """The order of requests for the load."""

    def __init__(self, load: Obedient[Outcome], asks: int, core: int | None) -> None:
        self._load = load
        self._asks = asks
        self._core = core

    async def get(self, server: Server, folder: Path, paths: Sequence[str]) -> Outcome:
        """Asks one after the other, as a person does; after a first round that warms up."""
        token = Credentials.load(folder / "data").command_line_password(time.time())
        token = COMMAND_LINE_PREFIX + token
        await self._get(server.http, paths, min(5, self._asks), token)
        return await self._get(server.http, paths, self._asks, token)

    async def reference(self, port: int) -> Outcome:
        """Asks the bare route as `get` does."""
        return await self._get(port, ["/"], max(self._asks, _WARM), "")

    async def _get(self, port: int, paths: Sequence[str], count: int, token: str) -> Outcome:
        # The rate of a caller is bounded; the bare route has no callers.
        pause_s = 1.1 / REQUESTS_PER_S if token else 0.0
        order = Order(port, list(paths), count, 1, token, core=self._core, pause_s=pause_s)
        outcome, _ = await self._load.watched(order)
        if outcome.answered != count:
            raise StartupError(
                f"{paths[0]} was answered with {outcome.others}: the figures would mean nothing"
            )
        return outcome

    async def ota(
        self, port: int, path: str, devices: int, seconds: int, server: Server | None
    ) -> dict[str, float]:
        """Has devices boot for about so many seconds."""
        probe = Order(port, [path], _PROBE, _PARALLEL, devices=devices, core=self._core)
        outcome, _ = await self._load.watched(probe)
        count = max(_PROBE, int(outcome.answered / outcome.seconds * seconds))
        cpu = _cpu_s(server)
        outcome, _ = await self._load.measured(
            Order(port, [path], count, _PARALLEL, devices=devices, core=self._core), count
        )
        told = {
            "per_s": round(outcome.answered / outcome.seconds),
            "p50_ms": round(outcome.p50_ms, 1),
            "p99_ms": round(outcome.p99_ms, 1),
        }
        if server is not None:
            told["cpu_us"] = round((_cpu_s(server) - cpu) / outcome.answered * 1e6)
        return told


def _cpu_s(server: Server | None) -> float:
    if server is None:
        return 0.0
    times = server.process.cpu_times()
    return float(times.user + times.system)


async def _prepare(folder: Path, devices: int, turns: int) -> database.Filled:
    data = folder / "data"
    data.mkdir(parents=True, mode=0o700)
    Credentials.load(data)
    store = Store(f"sqlite:///{data / 'mimi.db'}")
    await store.open()
    await store.aclose()
    return await asyncio.to_thread(database.fill, data / "mimi.db", devices, turns, datetime.now(UTC))


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[tuple[Server, float]]:
    """The server on the data of `folder`, and the seconds until it was ready. It is on this process's core,
    which does nothing meanwhile."""
    began = time.monotonic()
    async with server_in(folder, _NO_SHARES) as server:
        ready_s = time.monotonic() - began
        yield server, ready_s


@asynccontextmanager
async def _reference() -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt.cli.bench._api_reference", stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )  # fmt: skip
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        async with asyncio.timeout(30):
            port = int(await process.stdout.readline())
        yield port
    finally:
        process.terminate()
        await process.wait()
