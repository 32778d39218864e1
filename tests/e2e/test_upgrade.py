"""An update: this version starts on the data folder that the last release left."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from mimi_mqtt.store import conversations, migrations
from mimi_mqtt.store.engine import Store
from tests.e2e.conftest import MakeServer, Server
from tests.integration.mqtt.raw import RawClient
from tests.releases import RELEASES, Release

pytestmark = pytest.mark.timeout(300)

ACCEPTED, REFUSED = 0, 4

each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)


def updated(make_server: MakeServer, release: Release) -> Server:
    """A server of this version, not started yet, in a copy of the folder of `release`."""
    server = make_server(MIMI_STORE__KEEP_CONVERSATIONS_DAYS="36500")  # the folder grows old
    release.install(server.folder)
    return server


def left(release: Release, name: str) -> Any:
    return json.loads((release.folder / name).read_text(encoding="utf-8"))


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[RawClient]:
    port = re.search(r"MQTT\s+(?:\S+:)?(\d+)", server.welcome)
    assert port
    client = await RawClient.open(int(port[1]))
    try:
        yield client
    finally:
        await client.close()


async def login(server: Server, device_id: str, password: str) -> int:
    async with connected(server) as client:
        return await client.connack(device_id, device_id, password)


async def devices(server: Server) -> dict[str, dict[str, Any]]:
    done = await server.run("devices", "list", "--json")
    assert done.code == 0, done.err
    return {device["id"]: device for device in json.loads(done.out)["devices"]}


@each_release
async def test_known_devices_connect_with_the_credentials_of_then(
    make_server: MakeServer, release: Release
) -> None:
    server = updated(make_server, release)
    await server.start()
    allowed = {device["id"]: device["allowed"] for device in left(release, "devices.json")}
    assert set(allowed.values()) == {True, False}
    for device_id, kept in left(release, "credentials.json").items():
        expected = ACCEPTED if allowed[device_id] else REFUSED
        assert await login(server, device_id, kept["password"]) == expected
        assert await login(server, device_id, kept["password"][::-1]) == REFUSED


@each_release
async def test_devices_are_told_the_same_keys_and_talk(make_server: MakeServer, release: Release) -> None:
    server = updated(make_server, release)
    await server.start()
    (device_id, kept), *_ = left(release, "credentials.json").items()
    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as client:
        headers = {"Device-Id": kept["mac"], "Client-Id": kept["client_id"]}
        told = (await client.post(server.ota, headers=headers, json={})).json()
    assert (told["mqtt"]["client_id"], told["mqtt"]["password"]) == (device_id, kept["password"])
    assert told["udp"]["key"] == kept["udp_key"]
    talked = await server.run(
        "device", "--ota", server.ota, "--mac", kept["mac"], "--say", "what time is it", "--json"
    )
    assert talked.code == 0, talked.out + talked.err + server.log
    assert len(await devices(server)) == len(left(release, "devices.json"))


@each_release
async def test_devices_keep_their_settings(make_server: MakeServer, release: Release) -> None:
    server = updated(make_server, release)
    await server.start()
    assert "teacher" in server.welcome  # broker.yaml of then is in force
    now = await devices(server)
    for before in left(release, "devices.json"):
        after = now[before["id"]]
        assert {key: after[key] for key in before} == before


@each_release
async def test_tables_are_migrated_and_conversations_stay_readable(
    make_server: MakeServer, release: Release
) -> None:
    server = updated(make_server, release)
    await server.start()
    assert await server.stop() == 0
    store = Store(f"sqlite:///{server.folder / 'data' / 'mimi.db'}")
    await store.open()
    try:
        async with store.read() as session:
            found = []
            for device in left(release, "devices.json"):
                for conversation in await conversations.latest(session, device["id"]):
                    told = await conversations.turns(session, conversation.id)
                    found += [(device["id"], turn.heard, turn.reply, turn.outcome) for turn in told]
    finally:
        await store.aclose()
    before = release.query(
        "SELECT device_id, heard, reply, outcome FROM turns "
        "JOIN conversations ON conversations.id = conversation_id"
    )
    assert len(before) >= 3
    assert sorted(found) == sorted(before)
    assert migration(server.folder / "data" / "mimi.db") == head()


@each_release
async def test_devices_of_before_can_be_reminded(make_server: MakeServer, release: Release) -> None:
    server = updated(make_server, release)
    await server.start()
    device_id = next(device["id"] for device in left(release, "devices.json") if device["allowed"])
    done = await server.run("reminders", "add", device_id, "call mum", "--in", "1h")
    assert done.code == 0, done.err
    listed = await server.run("reminders", "list", "--json")
    assert [json.loads(line)["text"] for line in listed.out.splitlines()] == ["call mum"]


def head() -> str | None:
    """The newest revision of the tables."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return ScriptDirectory.from_config(config).get_current_head()


def migration(path: Path) -> str:
    """The revision of the tables in the database at `path`."""
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])
