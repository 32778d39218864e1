"""HAProxy, Debian's, in front of a server: TLS ends in it, and it tells the server who asked and how."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from tests.servers.tls import write_certificates

_START_S = 20.0

_CONFIGURATION = """
global
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
frontend secure
    bind 127.0.0.1:{https} ssl crt {pem} alpn http/1.1
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    default_backend server
frontend plain
    bind 127.0.0.1:{http}
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    default_backend server
backend server
    server one 127.0.0.1:{upstream}{upstream_tls}
frontend mqtt_over_tls
    mode tcp
    bind 127.0.0.1:{mqtt} ssl crt {pem}
    default_backend broker
backend broker
    mode tcp
    server one 127.0.0.1:{broker}
"""


@dataclass(frozen=True)
class HaProxy:
    """A running HAProxy: its ports on 127.0.0.1, and the file of its authority."""

    https: int
    http: int
    mqtt: int
    ca: Path

    @property
    def context(self) -> ssl.SSLContext:
        """What its clients need."""
        return ssl.create_default_context(cafile=self.ca)


@asynccontextmanager
async def haproxy(
    folder: Path, upstream: int, broker: int, *, upstream_tls: bool = False
) -> AsyncIterator[HaProxy]:
    """Starts one in `folder` for the HTTP port `upstream`, over TLS if so, and the MQTT port `broker`."""
    https, http, mqtt = _free_ports(3)
    tls = " ssl verify none" if upstream_tls else ""
    configuration = _written(
        folder, https=https, http=http, mqtt=mqtt, upstream=upstream, upstream_tls=tls, broker=broker
    )
    program = which("haproxy") or which("haproxy", path="/usr/sbin")
    assert program is not None, "haproxy is not installed: run scripts/setup test"
    process = await asyncio.create_subprocess_exec(
        program, "-db", "-f", str(configuration),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_START_S):
            for port in (https, http, mqtt):
                await _listens(port)
        yield HaProxy(https, http, mqtt, folder / "ca.crt")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _written(folder: Path, **values: object) -> Path:
    """The file of a configuration with `values`, and what it names beside it."""
    folder.mkdir()
    write_certificates(folder)
    pem = folder / "both.pem"
    pem.write_bytes((folder / "server.crt").read_bytes() + (folder / "server.key").read_bytes())
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_CONFIGURATION.format(pem=pem, **values))
    return configuration


def _free_ports(number: int) -> list[int]:
    """Ports that were free a moment ago: HAProxy can't be asked which ones it took."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


async def _listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.transport.abort()
            return
