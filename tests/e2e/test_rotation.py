"""The secret is rotated under connected devices; a second server is refused; the log is not filled."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from mimi_mqtt.wire.mqtt import PINGREQ, PacketType
from tests.e2e.conftest import Server
from tests.integration.mqtt.raw import RawClient

pytestmark = pytest.mark.timeout(180)

ACCEPTED, REFUSED = 0, 4
MAC = "02:00:00:00:00:01"


async def _access(server: Server) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
        reply = await http.post(server.ota, json={}, headers={"Device-Id": MAC, "Client-Id": "one"})
    access: dict[str, Any] = reply.json()["mqtt"]
    return access


Connect = Callable[..., Awaitable[tuple[RawClient, int]]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects with what OTA gave; returns the client and CONNACK's code."""
    async with AsyncExitStack() as stack:

        async def connected(access: dict[str, Any], client_id: str = "") -> tuple[RawClient, int]:
            client = await RawClient.open(int(access["endpoint"].rpartition(":")[2]))
            stack.push_async_callback(client.close)
            words = (client_id or access["client_id"], access["username"], access["password"])
            return client, await client.connack(*words)

        yield connected


async def _is_open(client: RawClient) -> bool:
    await client.send(PINGREQ)
    packet = await client.packet()
    return packet is not None and packet.type is PacketType.PINGRESP


async def test_devices_stay_connected_and_change_over_one_by_one(server: Server, connect: Connect) -> None:
    await server.restart()  # at ports that the command line can be told
    old = await _access(server)
    device, code = await connect(old)
    tester, _ = await connect(old, "a tester")
    assert code == ACCEPTED
    done = await server.run("rotate-secret")
    assert done.code == 0, done.err
    assert "the running server uses it" in done.out
    assert await _is_open(device)
    assert (await connect(old))[1] == ACCEPTED
    new = await _access(server)
    assert new["password"] != old["password"]
    changed, code = await connect(new)
    assert code == ACCEPTED
    assert (await connect(old))[1] == REFUSED
    assert await tester.packet() is None  # its credentials ended with those of the device
    assert await _is_open(changed)
    asked = await server.run("disconnect", MAC)  # the command line has the new secret, too
    assert asked.code == 0, asked.err


async def test_a_rotation_at_once_ends_connections(server: Server, connect: Connect) -> None:
    old = await _access(server)
    device, _ = await connect(old)
    done = await server.run("rotate-secret", "--now")
    assert done.code == 0, done.err
    while await device.packet() is not None:
        pass
    assert (await connect(old))[1] == REFUSED
    assert (await connect(await _access(server)))[1] == ACCEPTED


async def test_a_second_server_on_the_same_folder_is_refused(server: Server, connect: Connect) -> None:
    assert server.process is not None
    second = await server.run("serve")
    assert second.code == 1
    assert f"already (pid {server.process.pid})" in second.err
    assert "server.data_dir" in second.err
    assert (await connect(await _access(server)))[1] == ACCEPTED


async def test_reconnects_without_end_do_not_fill_the_log(server: Server, connect: Connect) -> None:
    access = await _access(server)
    accepted = 0
    for _ in range(200):
        client, code = await connect(access)
        accepted += code == ACCEPTED
        await client.close()
    await server.stop()
    lines = [line for line in server.log.splitlines() if "device connected" in line]
    folded = [int(found[1]) for line in lines if (found := re.search(r"and (\d+) more like it", line))]
    written = len(lines) - len(folded)
    assert written <= 60
    assert written + sum(folded) == accepted  # none is lost
    assert len(server.log) < 30_000
