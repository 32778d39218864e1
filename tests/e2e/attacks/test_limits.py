"""A server that may open few files, and a server that is stopped, in the midst of attacks."""

import asyncio
import socket
from pathlib import Path

import pytest

from mimi_mqtt.cli.bench.attacks._launch import attack
from mimi_mqtt.cli.bench.attacks._server import server_in
from mimi_mqtt.cli.bench.attacks._target import Order
from tests.e2e.attacks.scene import scene_in

pytestmark = pytest.mark.timeout(180)


async def test_silent_sockets_exhaust_no_files_and_fill_no_log(tmp_path: Path) -> None:
    async with scene_in(tmp_path, descriptors=1_024) as scene:

        async def let_in() -> None:
            assert await scene.newcomers(16) == 16

        done = await scene.withstands("silent_mqtt", "silent_http", meanwhile=let_in)
        assert sum(did.opened + did.refused for did in done.did.values()) >= 2_000


async def test_half_sent_requests_delay_no_stop(tmp_path: Path) -> None:
    async with server_in(tmp_path, {}) as server:
        held = [socket.create_connection(("127.0.0.1", server.http), 5.0) for _ in range(50)]
        for number, sock in enumerate(held):
            sock.sendall(
                b"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n"[: 30 + number]
            )
        assert await server.stop() == 0
        for sock in held:
            sock.close()
        assert "Traceback" not in server.log.read_text()


async def test_sigterm_in_the_midst_of_attacks_stops_the_server(tmp_path: Path) -> None:
    names = (
        "websocket_pings",
        "pipelined_metrics",
        "slots",
        "silent_mqtt_everywhere",
        "reconnects",
        "hellos",
    )
    async with server_in(tmp_path, {}) as server:
        began = [asyncio.Event() for _ in names]
        async with asyncio.TaskGroup() as group:
            for network, (name, event) in enumerate(zip(names, began, strict=True), 1):
                order = Order(name, server.http, server.mqtt, server.udp, 8.0, network, "")
                group.create_task(attack(order, event))
            for event in began:
                await event.wait()
            await asyncio.sleep(2.0)  # all of them are at it
            assert await server.stop() == 0
        assert "Traceback" not in server.log.read_text()
