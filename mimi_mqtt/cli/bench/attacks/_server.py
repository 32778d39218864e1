"""The server under attack: `mimi-mqtt serve` in a process and folder of its own, and what it takes."""

import asyncio
import os
import re
import resource
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import psutil

from mimi_mqtt.errors import StartupError

_READY_S: Final = 60.0
_STOP_S: Final = 30.0
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `log` is the file of its standard error."""

    process: psutil.Process
    log: Path
    http: int
    mqtt: int
    udp: int
    child: asyncio.subprocess.Process

    async def stop(self) -> int:
        """Sends SIGTERM and returns the exit code. Raises TimeoutError when that takes longer than 30 s."""
        if self.child.returncode is None:
            self.child.terminate()
        async with asyncio.timeout(_STOP_S):
            return await self.child.wait()

    @property
    def ota(self) -> str:
        """The OTA address."""
        return f"http://127.0.0.1:{self.http}/xiaozhi/ota/"

    @property
    def memory_mib(self) -> float:
        """Resident memory of the process, without its recognisers, which come and go."""
        return float(self.process.memory_info().rss) / _MIB

    @property
    def descriptors(self) -> int:
        """Open files of the process."""
        return self.process.num_fds()

    @property
    def log_bytes(self) -> int:
        """Bytes logged so far."""
        return self.log.stat().st_size

    async def blocks(self) -> int:
        """Blocks of memory in use by Python, of /metrics: garbage among them is collected every 20 s.
        Raises StartupError when the server does not tell them."""
        found = re.search(r"^mimi_python_blocks (\S+)$", await self._metrics(), re.MULTILINE)
        if found is None:
            raise StartupError("the server's /metrics have no mimi_python_blocks")
        return int(float(found[1]))

    async def refusals(self) -> dict[str, int]:
        """Refusals by share so far, of /metrics."""
        pattern = r'^mimi_share_refused_total\{share="([^"]*)"\} (\S+)$'
        found = re.findall(pattern, await self._metrics(), re.MULTILINE)
        return {share: int(float(count)) for share, count in found}

    async def _metrics(self) -> str:
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as http:
            return (await http.get(f"http://127.0.0.1:{self.http}/metrics")).text


@asynccontextmanager
async def server_in(
    folder: Path, settings: Mapping[str, str], descriptors: int | None = None
) -> AsyncIterator[Server]:
    """Starts a server on free ports of 127.0.0.1 in `folder`, with `settings` such as HTTP__BIND, and stops
    it at the end; the system lets it open `descriptors` files at most. Raises StartupError when it does not
    become ready."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MIMI_")}
    given = {f"{part}__BIND": "127.0.0.1:0" for part in ("MQTT", "UDP", "HTTP")}
    given |= {"SERVER__DATA_DIR": str(folder / "data"), **settings}
    environ |= {f"MIMI_{name}": value for name, value in given.items()}
    limit = None
    if descriptors is not None:
        limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (descriptors, descriptors))
    log = folder / "server.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mimi_mqtt", "serve",
            cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=file,
            preexec_fn=limit,
        )  # fmt: skip
    try:
        welcome = await _welcome(process)
        patterns = (r":(\d+)/xiaozhi", r"MQTT\s+(\d+)", r"UDP\s+(\d+)")
        ports = [re.search(pattern, welcome) for pattern in patterns]
        http, mqtt, udp = (int(found[1]) if found else 0 for found in ports)
        server = Server(psutil.Process(process.pid), log, http, mqtt, udp, process)
        yield server
        with suppress(TimeoutError):
            await server.stop()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _welcome(process: asyncio.subprocess.Process) -> str:
    if process.stdout is None:
        raise StartupError("the server process has no pipe")
    lines: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(_READY_S):
            while line := (await process.stdout.readline()).decode():
                lines.append(line)
                if "--say" in line:
                    return "".join(lines)
    raise StartupError(f"the server did not become ready: {''.join(lines)}")
