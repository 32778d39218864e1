"""The real command line: a server process in a folder of its own, and commands run against it."""

import asyncio
import json
import os
import random
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

_READY_TIMEOUT_S = 60


def quiet_port() -> int:
    """A free port below those that the kernel hands out: no other program is given it while a server that a
    test restarts is away."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@dataclass
class Command:
    """A finished `mimi-mqtt` command."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object on the last line of standard output."""
        parsed: dict[str, Any] = json.loads(self.out.strip().splitlines()[-1])
        return parsed


@dataclass
class Server:
    """A `mimi-mqtt serve` process on free ports; `start` and `stop` may be called again."""

    folder: Path
    environ: dict[str, str]
    ota: str = ""
    welcome: str = ""
    process: asyncio.subprocess.Process | None = None
    ports: dict[str, str] = field(default_factory=dict)
    launcher: tuple[str, ...] = ()
    """A command that runs the one appended to it."""

    async def start(self) -> None:
        """Returns when the server says that it is ready."""
        for part in ("MQTT", "UDP", "HTTP"):
            bind = f"MIMI_{part}__BIND"
            if self.environ.get(bind) == "127.0.0.1:0":
                self.ports.setdefault(bind, f"127.0.0.1:{quiet_port()}")
        with (self.folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.launcher, sys.executable, "-m", "mimi_mqtt", "serve",
                cwd=self.folder, env=self.environ | self.ports,
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        lines = []
        async with asyncio.timeout(_READY_TIMEOUT_S):
            while line := (await self.process.stdout.readline()).decode():
                lines.append(line)
                if "--say" in line:
                    break
        self.welcome = "".join(lines)
        found = re.search(r"--ota (\S+)", self.welcome)
        assert found, f"the server did not start:\n{self.welcome}{self.log}"
        self.ota = found[1]

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks the server to stop and returns its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(30):
            return await self.process.wait()

    async def restart(self, number: int = signal.SIGTERM) -> None:
        """A stop and a start at the same addresses, as after an update, or a crash with SIGKILL."""
        await self.stop(number)
        await self.start()

    @property
    def log(self) -> str:
        """What the server wrote to standard error."""
        return (self.folder / "server.log").read_text(encoding="utf-8")

    async def run(self, *arguments: str, timeout: float = 90) -> Command:
        """Runs a `mimi-mqtt` command with the server's settings."""
        environ = self.environ | self.ports
        return await run_command(*arguments, cwd=self.folder, environ=environ, timeout=timeout)


async def metric(server: Server, name: str) -> float:
    """A value at /metrics; 0 where there is none yet."""
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
        text = (await http.get(server.ota.removesuffix("/xiaozhi/ota/") + "/metrics")).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def run_command(*arguments: str, cwd: Path, environ: dict[str, str], timeout: float = 90) -> Command:
    """Runs `mimi-mqtt` with `arguments` to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt", *arguments, cwd=cwd, env=environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Command(process.returncode, out.decode(), err.decode())


def clean_environ(**settings: str) -> dict[str, str]:
    """The environment without keys and settings of the person who runs the tests, plus `settings`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MIMI_") and not name.endswith("_API_KEY")
    }
    return kept | settings


MakeServer = Callable[..., Server]


@asynccontextmanager
async def made_servers(parent: Path) -> AsyncIterator[MakeServer]:
    """Makes servers in `parent` that are not started yet; all are ended with the block."""
    servers: list[Server] = []

    def make(**settings: str) -> Server:
        folder = parent / f"server{len(servers)}"
        folder.mkdir()
        (folder / "server.log").touch()
        environ = clean_environ(
            MIMI_MQTT__BIND="127.0.0.1:0",
            MIMI_UDP__BIND="127.0.0.1:0",
            MIMI_HTTP__BIND="127.0.0.1:0",
            MIMI_PROVIDERS__FIND_LLM="false",
        )
        servers.append(Server(folder, environ | settings))
        return servers[-1]

    try:
        yield make
    finally:
        for server in servers:
            if server.process is not None and server.process.returncode is None:
                await server.stop(signal.SIGKILL)


@pytest.fixture
async def make_server(tmp_path: Path) -> AsyncIterator[MakeServer]:
    """Makes servers that are not started yet; all are ended with the test."""
    async with made_servers(tmp_path) as make:
        yield make


@pytest.fixture
async def server(make_server: MakeServer) -> Server:
    """A running server with the offline voice."""
    made = make_server()
    await made.start()
    return made
