"""A server that may open few files."""

import asyncio
import contextlib
import re
import resource
import socket
from collections.abc import Iterator

import httpx
import psutil
import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.descriptors import needed
from mimi_mqtt.wire.mqtt import PINGREQ
from tests.e2e.conftest import MakeServer, Server
from tests.integration.mqtt.raw import RawClient

_SILENT = 1_100


def limited(server: Server, soft: int, hard: int | None = None) -> Server:
    hard_part = f"ulimit -H -n {hard}; " if hard is not None else ""
    server.launcher = ("sh", "-c", f'ulimit -S -n {soft}; {hard_part}exec "$@"', "sh")
    return server


def limit_of(server: Server) -> int:
    """The soft limit of open files of the running process."""
    assert server.process is not None
    return resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0]


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Allows this process as many sockets as the test opens."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SILENT + 500
    if before[1] < wanted:
        pytest.skip("this process may not open as many sockets as the attack")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], wanted), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_the_soft_limit_is_raised_to_what_the_settings_need(make_server: MakeServer) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = limited(make_server(), 512)
    await server.start()
    assert limit_of(server) == min(hard, needed(Settings())) > 512


async def credentials(web: httpx.AsyncClient, server: Server, number: int) -> dict[str, str]:
    """What OTA tells a device of its MQTT connection."""
    device_id = f"aa:bb:cc:00:11:{number:02x}"
    answer = await web.post(server.ota, headers={"Device-Id": device_id, "Client-Id": "c"}, json={})
    section: dict[str, str] = answer.json()["mqtt"]
    return section


async def test_silent_sockets_at_a_low_hard_limit_neither_fill_the_log_nor_keep_devices_out(
    make_server: MakeServer, many_descriptors: None
) -> None:
    server = limited(make_server(MIMI_MQTT__CONNECT_TIMEOUT_S="4"), 1_024, 1_024)
    await server.start()
    assert "ulimit -n" in server.log
    found = re.search(r"MQTT\s+(?:\S+:)?(\d+)", server.welcome)
    assert found
    port = int(found[1])
    silent: list[socket.socket] = []
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        for _ in range(_SILENT):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.bind(("127.0.0.9", 0))
            silent.append(sock)
            with contextlib.suppress(OSError):
                await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", port)), 5)
        async with httpx.AsyncClient(timeout=60.0, trust_env=False) as web:
            health = await web.get(server.ota.removesuffix("/xiaozhi/ota/") + "/healthz", timeout=20)
            assert health.status_code == 200
            for number in range(8):
                section = await credentials(web, server, number)
                device = await RawClient.open(port, source="127.0.0.2")
                code = await device.connack(section["client_id"], section["username"], section["password"])
                assert code == 0
                stack.callback(device.writer.close)
        assert "accept" not in server.log  # no descriptor was wanting
        assert len(server.log) < 100_000


async def idle(pid: int) -> None:
    """Returns when a process has computed next to nothing for a second."""
    process = psutil.Process(pid)
    async with asyncio.timeout(60):
        while True:
            before = process.cpu_times()
            await asyncio.sleep(1.0)
            after = process.cpu_times()
            if after.user + after.system - before.user - before.system < 0.05:
                return


async def test_without_any_descriptor_left_the_log_has_one_line_a_minute(
    make_server: MakeServer, many_descriptors: None
) -> None:
    server = make_server()
    await server.start()
    assert server.process is not None
    found = re.search(r"MQTT\s+(?:\S+:)?(\d+)", server.welcome)
    assert found
    await idle(server.process.pid)  # what is prepared behind the start needs files too
    # Lower than what is open: from here on no connection can be accepted.
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (8, hard))
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", int(found[1]))))
            sock.setblocking(False)
        async with asyncio.timeout(20):
            while "no connection can be accepted" not in server.log:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.5)  # asyncio tries again after a second
        assert server.log.count("no connection can be accepted") == 1
        assert "socket.accept" not in server.log, "asyncio's report of each try"
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (1_024, hard))
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(found[1]))
        writer.write(PINGREQ)  # not a CONNECT: the server, which accepts again, ends the connection
        assert await reader.read() == b""
        writer.close()
