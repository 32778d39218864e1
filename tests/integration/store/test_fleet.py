"""The fleet's queries on PostgreSQL, where they differ from SQLite's."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mimi_mqtt.config import AccountSettings, OtaSettings
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.claiming import CannotClaim, Claims
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.device_keys import DeviceKeys, ImportedKey
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.provisioning import Endpoints, Provisioner
from mimi_mqtt.store import boards, device_lists, devices, ota_log, session_statistics
from mimi_mqtt.store.boards import BoardReport
from mimi_mqtt.store.device_lists import DeviceQuery
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from tests.unit.fleet.conftest import asking
from tests.unit.fleet.test_claiming import BOB, EVE, Nearby

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
IDS = [f"aa-bb-cc-00-11-0{number}" for number in range(1, 5)]


async def ids(store: Store, query: DeviceQuery, after: tuple[str | datetime, str] | None = None) -> list[str]:
    async with store.read() as session:
        return [device.id for device in await device_lists.page(session, query, after, 50)]


async def test_devices_are_listed_and_recorded_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    store = Store(postgres_url)
    await store.open()
    try:
        await _list_and_record(store, tmp_path)
    finally:
        await store.aclose()  # else the server would wait for it


async def _list_and_record(store: Store, folder: Path) -> None:
    async with store.write() as session:
        for number, device_id in enumerate(IDS):
            device = Device(
                id=device_id, client_id="uuid", board="box", firmware_version="2.2.1", revision=0,
                name=f"Lamp {number}", room="caf\u00e9", tags=["caf\u00e9", "a_b"] if number == 1 else [],
                owner_id="u-bob" if number < 2 else "", group_id="g-home" if number == 2 else "",
                created_at=NOW, updated_at=NOW, last_seen_at=NOW - timedelta(minutes=number),
            )  # fmt: skip
            await devices.save_changed(session, device, NOW)
    assert await ids(store, DeviceQuery()) == IDS
    assert await ids(store, DeviceQuery(person="u-bob", groups=frozenset({"g-home"}))) == IDS[:3]
    assert await ids(store, DeviceQuery(search="CAF\u00c9 1")) == IDS  # the id has a 1, too
    assert await ids(store, DeviceQuery(search="lamp_")) == []
    assert await ids(store, DeviceQuery(tag="caf\u00e9")) == [IDS[1]]
    assert await ids(store, DeviceQuery(tag="a_b")) == [IDS[1]]
    assert await ids(store, DeviceQuery(among=IDS[1:3])) == IDS[1:3]
    assert await ids(store, DeviceQuery(not_among=IDS[1:3], descending=True)) == [IDS[3], IDS[0]]
    newest = DeviceQuery(sort="last_seen_at", descending=True)
    assert await ids(store, newest, (NOW - timedelta(minutes=1), IDS[1])) == IDS[2:]
    row = {
        "device_id": IDS[0], "at": NOW, "address": "", "board": "", "firmware_version": "", "answer": "mqtt",
        "firmware": "", "offered_version": "",
    }  # fmt: skip
    async with store.write() as session:
        for _ in range(3):
            await ota_log.add(session, [row, row | {"answer": "code"}], keep=2)
        await ota_log.prune(session, NOW - timedelta(days=1))
        for number in range(3):
            audio = {
                "session_id": f"s{number}", "device_id": IDS[0], "transport": "udp", "started_at": NOW,
                "ended_at": NOW + timedelta(minutes=number), "reason": "idle", "udp_seen": True,
                "received": 9,
                "lost": 1, "late": 0, "jitter_ms": 1.5, "round_trip_ms": None,
            }  # fmt: skip
            await session_statistics.add(session, [audio], keep=2)
        await session_statistics.save_tools(session, IDS[0], [{"name": "x", "description": ""}], NOW)
        await boards.see(session, [BoardReport("box", "Box", "esp32s3", 1, 2, 3)], NOW)
        for number in range(4):
            await ota_log.see(
                session, f"aa-bb-cc-00-22-0{number}", NOW + timedelta(seconds=number),
                serial_number="", board="", firmware_version="", address=f"10.0.0.{number % 2}",
                most=3, share=10,
            )  # fmt: skip
    async with store.read() as session:
        kept = [entry.answer for entry in await ota_log.of_device(session, IDS[0], 50)]
        assert sorted(kept) == ["code", "code", "mqtt", "mqtt"]
        over = await session_statistics.of_device(session, IDS[0], 50)
        assert [each.session_id for each in over] == ["s2", "s1"]
        assert await device_lists.board_counts(session) == {"box": {"2.2.1": 4}}
        assert len(await ota_log.seen_page(session, "", 50)) == 3
    keys = DeviceKeys(store, Credentials.load(folder))
    assert (await keys.register([ImportedKey("SN-1", b"1" * 32)], NOW)).added == 1
    (key,) = await keys.page("", 5)
    assert keys.is_readable(key)


async def test_of_two_claims_at_two_nodes_one_gets_the_device(postgres_url: str, tmp_path: Path) -> None:
    credentials = Credentials.load(tmp_path)
    nodes = [Store(postgres_url), Store(postgres_url)]
    await asyncio.gather(*(node.open() for node in nodes))
    try:
        await _race(nodes, credentials)
    finally:
        for node in nodes:
            await node.aclose()


async def _race(nodes: list[Store], credentials: Credentials) -> None:
    directories = [
        DeviceDirectory(node, credentials, Accounts(AccountSettings()), refresh_s=3600) for node in nodes
    ]
    for directory in directories:
        await directory.start()
    provisioner = Provisioner(
        nodes[0], directories[0], credentials, Endpoints(mqtt_port=1883, udp_port=8884),
        OtaSettings(new_devices="activate"),
    )  # fmt: skip
    for number in range(5):
        mac = f"aa:bb:cc:00:33:0{number}"
        answer = await provisioner.provision(asking("uuid", mac), "10.0.0.1", address="10.0.0.9")
        assert answer.activation is not None
        claims = [Claims(*pair, Nearby()) for pair in zip(nodes, directories, strict=True)]
        outcomes = await asyncio.gather(
            claims[0].claim(answer.activation.code, BOB), claims[1].claim(answer.activation.code, EVE),
            return_exceptions=True,
        )  # fmt: skip
        assert sorted(type(each).__name__ for each in outcomes) == [CannotClaim.__name__, Device.__name__]
    for directory in directories:
        await directory.aclose()
