"""The fleet of a whole server: revocation on every node, transfer of a talking device, claims by a shown
code."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest

from mimi_mqtt.app import App
from mimi_mqtt.cli import main
from mimi_mqtt.fleet import directory, ownership
from mimi_mqtt.fleet.rights import COMMAND_LINE, Rights
from mimi_mqtt.people.authenticators import COMMAND_LINE_PREFIX
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.tables import User
from tests.integration.test_app import boot, device, running, told, until

pytestmark = pytest.mark.timeout(60)

DEVICE = "aa-bb-cc-00-11-01"
HELLO = b'{"type":"hello","transport":"udp","features":{"mcp":false}}'


@asynccontextmanager
async def http(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server, with the rights of this machine's command line."""
    password = app._parts.foundation.credentials.command_line_password(time.time())
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{app.http_port}",
        headers={"Authorization": f"Bearer {COMMAND_LINE_PREFIX}{password}"},
        trust_env=False,
        timeout=30,
    ) as client:
        yield client


async def person(app: App, name: str) -> Rights:
    """A member with an account, at the loopback."""
    now = datetime.now(UTC)
    async with app._parts.foundation.store.write() as session:
        session.add(
            User(id=f"u-{name}", name=name, folded_name=name, role="member", created_at=now, updated_at=now)
        )
    return Rights(Author(name, f"u-{name}", "127.0.0.1"), f"u-{name}", is_admin=False)


async def talking(access: dict[str, Any], connection: aiomqtt.Client) -> None:
    await connection.publish(access["publish_topic"], HELLO)
    assert (await told(connection))["type"] == "hello"


async def cut_off(connection: aiomqtt.Client) -> list[str]:
    """The types of the messages that the device gets before its connection ends."""
    types = []
    try:
        while True:
            types.append((await told(connection))["type"])
    except aiomqtt.MqttError:
        return types


def test_other_nodes_are_looked_at_often_enough_to_cut_a_device_off_within_a_second() -> None:
    assert directory.REFRESH_S <= 0.5


@pytest.mark.parametrize("change", ["revoke", "rotate", "transfer", "forget"])
async def test_a_talking_device_is_cut_off_by_a_change_on_another_node(tmp_path: Path, change: str) -> None:
    async with running(tmp_path) as node, running(tmp_path) as other, http(node) as client:
        access = await boot(client, 1)
        for name in ("bob", "eve"):
            await person(node, name)
        await other._parts.fleet.registry.transfer(DEVICE, "u-bob", COMMAND_LINE)
        async with device(access) as connection:
            await talking(access, connection)
            registry = other._parts.fleet.registry
            if change == "transfer":
                await registry.transfer(DEVICE, "u-eve", COMMAND_LINE)
            else:
                await getattr(registry, change)(DEVICE, COMMAND_LINE)
            assert "goodbye" in await cut_off(connection)
        with pytest.raises(aiomqtt.MqttError):
            async with device(access):
                pass


async def test_a_talking_device_is_cut_off_by_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "broker.yaml"
    config.write_text(f"server: {{data_dir: {tmp_path}}}\n")
    async with running(tmp_path) as node, http(node) as client:
        access = await boot(client, 1)
        async with device(access) as connection:
            await talking(access, connection)
            code = await asyncio.to_thread(main, ["devices", "revoke", "--config", str(config), DEVICE])
            assert code == 0
            assert "goodbye" in await cut_off(connection)


async def test_an_active_device_of_nobody_is_claimed_by_the_code_that_it_shows(tmp_path: Path) -> None:
    async with running(tmp_path) as node, http(node) as client:
        access = await boot(client, 1)
        bob = await person(node, "bob")
        async with device(access) as connection:
            await until(lambda: node._parts.live.sessions.connected(DEVICE))
            shown = await node._parts.fleet.claims.ask_for_codes(bob)
            assert shown.devices == 1
            alert = await told(connection)
            assert alert["type"] == "alert"
            claimed = await node._parts.fleet.claims.claim(alert["message"].replace(" ", ""), bob)
            assert (claimed.id, claimed.owner_id) == (DEVICE, "u-bob")
            await talking(access, connection)  # it goes on


async def test_a_device_is_told_over_rest_with_presence_session_and_log(tmp_path: Path) -> None:
    async with running(tmp_path) as node, http(node) as client:
        access = await boot(client, 1)
        async with device(access) as connection:
            await talking(access, connection)
            live = (await client.get(f"/api/v1/devices/{DEVICE}")).json()
            assert live["presence"]["connected"] is True
            assert live["presence"]["transport"] == "mqtt"
            assert live["session"]["udp_seen"] is False
            assert live["session"]["received"] == 0
            found = await client.get("/api/v1/devices", params={"online": "true"})
            assert [item["id"] for item in found.json()["items"]] == [DEVICE]
        await until(lambda: not node._parts.live.sessions.connected(DEVICE))
        session = node._parts.live.sessions.session(DEVICE)
        if session is not None:
            session.end("idle")
        over: dict[str, Any] = {}
        while not over.get("sessions"):
            over = (await client.get(f"/api/v1/devices/{DEVICE}")).json()
        assert over["presence"]["connected"] is False
        assert over["session"] is None
        assert over["sessions"][0]["transport"] == "udp"
        assert over["ota_requests"][0]["told"].startswith("got its credentials for MQTT")


async def test_a_chip_is_activated_by_its_key_over_http(tmp_path: Path) -> None:
    key = bytes(range(32))
    async with running(tmp_path) as node, http(node) as client:
        registered = await client.post(
            "/api/v1/device-keys", json={"keys": [{"serial_number": "SN-1", "key": key.hex()}]}
        )
        assert registered.status_code == 200
        headers = {
            "Device-Id": "aa:bb:cc:00:11:01", "Client-Id": "uuid-1", "Activation-Version": "2",
            "Serial-Number": "SN-1",
        }  # fmt: skip
        asked = (await client.post("/xiaozhi/ota/", headers=headers)).json()
        assert "mqtt" not in asked
        challenge = asked["activation"]["challenge"]

        def proof(secret: bytes) -> dict[str, str]:
            made = hmac.digest(secret, challenge.encode(), "sha256").hex()
            return {"algorithm": "hmac-sha256", "serial_number": "SN-1", "challenge": challenge, "hmac": made}

        wrong = await client.post("/xiaozhi/ota/activate", headers=headers, json=proof(bytes(32)))
        assert wrong.status_code == 403
        right = await client.post("/xiaozhi/ota/activate", headers=headers, json=proof(key))
        assert right.status_code == 200
        assert "mqtt" in (await client.post("/xiaozhi/ota/", headers=headers)).json()


async def test_people_are_those_with_accounts(tmp_path: Path) -> None:
    async with running(tmp_path) as node:
        await person(node, "bob")
        people = ownership.StoredPeople(node._parts.foundation.store)
        assert await people.has_user("u-bob")
        assert not await people.has_user("u-eve")
        assert not await people.has_group("g-home")
