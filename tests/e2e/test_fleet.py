"""A fleet from its first start: a link makes the administrator, people claim devices, a chip proves its key,
firmware is rolled out to one device, a talking one is cut off, and a backup moves them all elsewhere."""

import asyncio
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from mimi_mqtt.cli.device.identity import client_id_for, serial_number_for
from tests.e2e.conftest import MakeServer, Server
from tests.firmware.images import image

PASSWORD = "a long password of mine"
MACS = [f"02:00:00:00:00:0{number}" for number in range(1, 5)]
IDS = [mac.replace(":", "-") for mac in MACS]
BOARD = "bread-compact-wifi"
KEY = bytes(range(32))


def report(version: str = "2.2.1") -> dict[str, Any]:
    """The OTA report of a board with an ESP32-S3 and an app partition of 4 MB."""
    return {
        "version": 2, "chip_model_name": "esp32s3", "chip_info": {"model": 9, "cores": 2},
        "application": {"name": "xiaozhi", "version": version}, "board": {"type": BOARD, "name": BOARD},
        "partition_table": [
            {"label": "ota_0", "type": 0, "subtype": 16, "address": 0x20000, "size": 0x3F0000},
            {"label": "ota_1", "type": 0, "subtype": 17, "address": 0x410000, "size": 0x3F0000},
        ],
    }  # fmt: skip


class House:
    """A server, and what devices and people ask of it."""

    def __init__(self, server: Server, http: httpx.AsyncClient) -> None:
        self.server = server
        self.http = http

    async def boots(self, mac: str, version: str = "2.2.1", serial: str = "") -> dict[str, Any]:
        """The answer to a device's OTA request."""
        headers = {"Device-Id": mac, "Client-Id": client_id_for(mac), "User-Agent": f"{BOARD}/{version}"}
        if serial:
            headers |= {"Activation-Version": "2", "Serial-Number": serial}
        answer = await self.http.post("/xiaozhi/ota/", headers=headers, json=report(version))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    @asynccontextmanager
    async def person(self, name: str) -> AsyncIterator[httpx.AsyncClient]:
        """Somebody who signed in."""
        async with httpx.AsyncClient(timeout=60.0, base_url=self.http.base_url, trust_env=False) as browser:
            signed = await browser.post("/api/v1/session", json={"user_name": name, "password": PASSWORD})
            assert signed.status_code == 201, signed.text
            browser.base_url = httpx.URL(f"{self.http.base_url}/api/v1")
            yield browser


@asynccontextmanager
async def house(server: Server) -> AsyncIterator[House]:
    async with httpx.AsyncClient(
        timeout=60.0, base_url=server.ota.removesuffix("/xiaozhi/ota/"), trust_env=False
    ) as http:
        yield House(server, http)


async def made(answer: httpx.Response, status: int = 201) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def first_admin(server: Server, http: httpx.AsyncClient) -> None:
    """Follows the link that the server prints at its first start."""
    found = re.search(r"/setup#token=(\S+)", server.welcome + await rest_of(server))
    assert found
    given = {"token": found[1], "user_name": "ada", "password": PASSWORD}
    await made(await http.post("/api/v1/setup", json=given))
    assert (await http.post("/api/v1/setup", json=given)).status_code in (401, 403, 404, 409, 422)


async def rest_of(server: Server) -> str:
    """What the server prints after it said that it is ready."""
    assert server.process is not None
    assert server.process.stdout is not None
    lines = ""
    async with asyncio.timeout(20):
        while "/setup#" not in lines:
            lines += (await server.process.stdout.readline()).decode()
    return lines


async def test_a_fleet_is_claimed_updated_cut_off_and_moved(
    make_server: MakeServer, postgres_url: str, tmp_path: Path
) -> None:
    server = make_server(MIMI_OTA__NEW_DEVICES="activate")
    await server.start()
    async with house(server) as it:
        await first_admin(server, it.http)
        async with it.person("ada") as ada:
            users = {}
            for name in ("bob", "eve"):
                given = {"name": name, "password": PASSWORD}
                users[name] = (await made(await ada.post("/users", json=given)))["id"]
            group = (await made(await ada.post("/groups", json={"name": "home"})))["id"]
            for member in users.values():
                assert (await ada.put(f"/groups/{group}/members/{member}")).status_code == 204
            await claim_and_share(it, group)
            await prove_key(it, ada)
            await roll_out_to_one(it, ada)
            await cut_off_while_talking(it, ada)
    await move_to_postgres(server, make_server, postgres_url, tmp_path)


async def claim_and_share(it: House, group: str) -> None:
    codes = [(await it.boots(mac))["activation"]["code"] for mac in MACS[:3]]
    async with it.person("bob") as bob, it.person("eve") as eve:
        assert (await bob.post("/devices/claim", json={"code": "000000"})).status_code in (404, 422)
        for person, code in ((bob, codes[0]), (bob, codes[1]), (eve, codes[2])):
            await made(await person.post("/devices/claim", json={"code": code}), 200)
        assert (await eve.post("/devices/claim", json={"code": codes[0]})).status_code == 404
        for mac in MACS[:3]:  # the code was enough: no /activate
            assert (await it.boots(mac))["mqtt"]["password"]
        assert (await eve.get(f"/devices/{IDS[0]}")).status_code == 404
        assert (await bob.put(f"/devices/{IDS[1]}/group", json={"group_id": group})).status_code == 200
        assert (await eve.get(f"/devices/{IDS[1]}")).status_code == 200
        seen = (await eve.get("/devices")).json()["items"]
        assert sorted(each["id"] for each in seen) == [IDS[1], IDS[2]]


async def prove_key(it: House, ada: httpx.AsyncClient) -> None:
    serial = serial_number_for(MACS[3])
    registered = {"keys": [{"serial_number": serial, "key": KEY.hex()}]}
    await made(await ada.post("/device-keys", json=registered), 200)
    challenge = (await it.boots(MACS[3], serial=serial))["activation"]["challenge"]
    headers = {
        "Device-Id": MACS[3], "Client-Id": client_id_for(MACS[3]), "Activation-Version": "2",
        "Serial-Number": serial,
    }  # fmt: skip
    for key, status in ((b"x" * 32, 403), (KEY, 200)):
        proof = {
            "algorithm": "hmac-sha256", "serial_number": serial, "challenge": challenge,
            "hmac": hmac.digest(key, challenge.encode(), "sha256").hex(),
        }  # fmt: skip
        answer = await it.http.post("/xiaozhi/ota/activate", headers=headers, json=proof)
        if status == 200:
            assert answer.status_code == 200, answer.text
        else:
            assert answer.status_code not in (200, 202)
    assert (await it.boots(MACS[3], serial=serial))["mqtt"]["password"]


async def roll_out_to_one(it: House, ada: httpx.AsyncClient) -> None:
    app = image(version="2.3.0")
    merged = b"\xe9" + bytes(0x7FFF) + b"\xaa\x50" + bytes(0x7FFE) + app
    refused = await ada.post("/firmware", params={"board": BOARD}, content=merged)
    assert refused.status_code == 422, refused.text
    found = await made(await ada.post("/firmware", params={"board": BOARD}, content=app))
    await made(await ada.post("/rollouts", json={"image_id": found["id"], "devices": [IDS[0]]}))
    offers = {mac: (await it.boots(mac))["firmware"] for mac in MACS[:3]}
    assert [bool(offers[mac]["url"]) for mac in MACS[:3]] == [True, False, False]
    assert offers[MACS[0]]["version"] == "2.3.0"
    download = await it.http.get(offers[MACS[0]]["url"])
    assert (download.status_code, download.content) == (200, app)
    assert not (await it.boots(MACS[0], "2.3.0"))["firmware"]["url"]
    told = ""
    async with asyncio.timeout(20):
        while "not among the devices of the roll-out" not in told:
            await asyncio.sleep(0.1)  # the log is written behind
            told = (await ada.get(f"/devices/{IDS[1]}")).text
    assert "password" not in told


async def cut_off_while_talking(it: House, ada: httpx.AsyncClient) -> None:
    """A revoked device loses its connection within a second, in the middle of a conversation."""
    talking = asyncio.create_task(
        it.server.run(
            "device",
            "--ota",
            it.server.ota,
            "--mac",
            MACS[2],
            "--json",
            "--say",
            "tell me a long joke",
            "--say",
            "and another one",
            "--say",
            "and a third one",
        )
    )
    async with asyncio.timeout(60):
        while not (await ada.get(f"/sessions?device_id={IDS[2]}")).json()["items"]:
            assert not talking.done(), talking.result()
            await asyncio.sleep(0.05)
    assert (await ada.post(f"/devices/{IDS[2]}/revoke")).status_code in (200, 204)
    async with asyncio.timeout(30):
        while (await ada.get(f"/sessions?device_id={IDS[2]}")).json()["items"]:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.02)
    assert (await talking).code != 0
    assert "mqtt" not in await it.boots(MACS[2])


async def move_to_postgres(
    server: Server, make_server: MakeServer, postgres_url: str, tmp_path: Path
) -> None:
    """The devices talk on with a server on another database that was made from a backup."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery\n")
    passphrase.chmod(0o600)
    saved = tmp_path / "backup"
    done = await server.run("backup", str(saved), "--passphrase-file", str(passphrase))
    assert done.code == 0, done.err
    await server.stop()
    elsewhere = make_server(MIMI_OTA__NEW_DEVICES="locked", MIMI_STORE__URL=postgres_url)
    restored = await elsewhere.run("restore", str(saved), "--passphrase-file", str(passphrase))
    assert restored.code == 0, restored.err
    await elsewhere.start()
    spoken = await elsewhere.run(
        "device", "--ota", elsewhere.ota, "--mac", MACS[0], "--json", "--say", "hello"
    )
    assert spoken.code == 0, spoken.err + spoken.out
    async with house(elsewhere) as it, it.person("bob") as bob:
        assert [each["id"] for each in (await bob.get("/devices")).json()["items"]] == IDS[:2]
