"""Attacks on registration and activation."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mimi_mqtt.cli.bench.attacks._server import Server, server_in
from tests.e2e.attacks.scene import Scene

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

_PLACES = 1_000
"""Pending activations at once."""


@pytest_asyncio.fixture(loop_scope="module")
async def activating(tmp_path: Path) -> AsyncIterator[Server]:
    """A server where a person has to allow each device."""
    settings = {"OTA__NEW_DEVICES": "activate", "SHARES__HTTP_REQUESTS_PER_MINUTE": "100000"}
    async with server_in(tmp_path, settings | {"OTA__NEW_DEVICES_PER_HOUR": "100000"}) as server:
        yield server


def ask(server: Server, source: str, mac: str, client_id: str) -> str:
    """The code that a device is shown; empty when it is given none."""
    body = json.dumps({"application": {"version": "1.0.0"}, "board": {"type": "test"}}).encode()
    head = (
        f"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: 127.0.0.1\r\nDevice-Id: {mac}\r\nClient-Id: {client_id}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    answer = b""
    with socket.create_connection(("127.0.0.1", server.http), 20.0, (source, 0)) as sock:
        sock.sendall(head.encode() + body)
        while chunk := sock.recv(65_536):
            answer += chunk
    status, _, content = answer.partition(b"\r\n\r\n")
    if b" 200 " not in status.split(b"\r\n")[0]:
        return ""
    found: str = json.loads(content).get("activation", {}).get("code", "")
    return found


async def test_new_devices_of_four_addresses_register_slowly_enough(scene: Scene) -> None:
    async def let_in() -> None:
        assert await scene.newcomers(4) == 4

    done = await scene.withstands("registrations", meanwhile=let_in)
    assert done.did["registrations"].refused > 0


async def test_four_addresses_that_fill_the_table_keep_no_new_device_from_its_code(
    activating: Server,
) -> None:
    def fill(address: int) -> int:
        codes = 0
        for number in range(_PLACES // 2):
            mac = f"02:ee:00:{address:02x}:{number >> 8:02x}:{number & 255:02x}"
            codes += bool(ask(activating, f"127.0.1.{1 + address}", mac, f"client {number}"))
        return codes

    codes = await asyncio.gather(*(asyncio.to_thread(fill, address) for address in range(4)))
    assert sum(codes) > 0
    assert await asyncio.to_thread(ask, activating, "127.0.0.30", "02:ee:01:00:00:01", "its owner's")


async def test_eight_who_claim_a_device_keep_its_owner_from_no_code(activating: Server) -> None:
    mac = "02:ee:02:00:00:01"
    for number in range(16):
        await asyncio.to_thread(ask, activating, "127.0.1.1", mac, f"claimant {number}")
    assert await asyncio.to_thread(ask, activating, "127.0.0.31", mac, "its owner's")
