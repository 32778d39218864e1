"""A server that is lost and restored elsewhere, into the other kind of database: its devices talk on.

And a database that is gone for a time under a device that talks.
"""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.databases import PostgresServer, make_database
from tests.e2e.conftest import MakeServer, Server
from tests.integration.mqtt.raw import RawClient

pytestmark = pytest.mark.timeout(300)

MAC = "02:00:00:00:00:77"
PASSPHRASE = "correct horse battery"
ACCEPTED, REFUSED = 0, 4


@asynccontextmanager
async def talker(server: Server) -> AsyncIterator[asyncio.subprocess.Process]:
    """A device that booted once, and has a turn for each line that it is given."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mimi_mqtt", "device", "--ota", server.ota, "--mac", MAC, "--interactive",
        "--json", "--reconnect-after", "1",
        cwd=server.folder, env=server.environ | server.ports,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def say(device: asyncio.subprocess.Process, words: str) -> dict[str, Any]:
    """Has the device say something; returns what came of the turn."""
    assert device.stdin is not None
    assert device.stdout is not None
    device.stdin.write(words.encode() + b"\n")
    await device.stdin.drain()
    async with asyncio.timeout(60):
        turn: dict[str, Any] = json.loads(await device.stdout.readline())
    return turn


async def access_of(server: Server) -> dict[str, Any]:
    """What OTA tells a device of its own, booted once."""
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as client:
        headers = {"Device-Id": "02:00:00:00:00:78", "Client-Id": "of its own"}
        told: dict[str, Any] = (await client.post(server.ota, headers=headers, json={})).json()
    return told


async def login(server: Server, access: dict[str, Any]) -> int:
    port = re.search(r"MQTT\s+(?:\S+:)?(\d+)", server.welcome)
    assert port
    client = await RawClient.open(int(port[1]))
    try:
        words = access["mqtt"]
        return await client.connack(words["client_id"], words["username"], words["password"])
    finally:
        await client.close()


async def test_devices_talk_on_with_their_credentials_after_a_restore_into_postgresql(
    make_server: MakeServer, postgres_server: PostgresServer
) -> None:
    here = make_server(MIMI_BACKUP_PASSPHRASE=PASSPHRASE)
    await here.start()
    await here.restart()  # at ports that the other machine can have
    access = await access_of(here)
    async with talker(here) as device:
        assert (await say(device, "what time is it"))["ok"]
        backup = here.folder / "mimi.backup"
        done = await here.run("backup", str(backup))
        assert done.code == 0, done.err
        await here.stop(signal.SIGKILL)  # the machine is lost

        url = postgres_server.url(await make_database(postgres_server))
        there = make_server(MIMI_BACKUP_PASSPHRASE=PASSPHRASE, MIMI_STORE__URL=url)
        there.ports = here.ports
        done = await there.run("restore", str(backup))
        assert done.code == 0, done.err
        await there.start()

        assert await login(there, access) == ACCEPTED
        again = await access_of(there)
        assert (again["mqtt"], again["udp"]) == (access["mqtt"], access["udp"])
        # The device has sent no other OTA request: it has what the lost machine told it.
        assert (await say(device, "what time is it"))["ok"]
    listed = await there.run("devices", "list", "--json")
    assert len(json.loads(listed.out)["devices"]) == 2


async def test_a_restore_is_refused_while_the_server_runs(make_server: MakeServer) -> None:
    server = make_server(MIMI_BACKUP_PASSPHRASE=PASSPHRASE)
    await server.start()
    done = await server.run("backup", "mimi.backup")
    assert done.code == 0, done.err
    for command in (("restore", "mimi.backup", "--replace"), ("database", "downgrade", "0001")):
        refused = await server.run(*command)
        assert refused.code == 1
        assert "a server runs on the folder" in refused.err
    checked = await server.run("backup", "--check", "mimi.backup", "--json")
    assert checked.summary["end"]["files"] == 0


async def test_conversations_go_on_without_postgresql_and_the_store_comes_back(
    make_server: MakeServer,
) -> None:
    own = PostgresServer()
    try:
        server = make_server(MIMI_STORE__URL=own.url())
        await server.start()
        async with talker(server) as device:
            assert (await say(device, "what time is it"))["ok"]
            own.kill()
            assert (await say(device, "what time is it"))["ok"]
            told = await until_store(server, ok=False)
            assert "check store.url and that the database is running" in told
            assert (await say(device, "what time is it"))["ok"]
            own.start()
            assert (await say(device, "what time is it"))["ok"]
            await until_store(server, ok=True)
        assert await server.stop() == 0
        assert "Traceback" not in server.log
    finally:
        own.remove()


async def until_store(server: Server, *, ok: bool) -> str:
    """Waits until the store is well, or not; what the health says of it."""
    url = server.ota.removesuffix("/xiaozhi/ota/") + "/healthz"
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as client, asyncio.timeout(60):
        while True:
            part: dict[str, Any] = (await client.get(url)).json()["parts"]["store"]
            if part["ok"] is ok:
                return str(part["detail"])
            await asyncio.sleep(0.2)
