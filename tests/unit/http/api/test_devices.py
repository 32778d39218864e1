from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlmodel import select

from mimi_mqtt.config import AccountSettings, OtaSettings
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.claiming import Claims
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.device_keys import DeviceKeys
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.live import AudioReport, DevicePresence
from mimi_mqtt.fleet.ota_log import OtaLog
from mimi_mqtt.fleet.provisioning import Endpoints, Provisioner
from mimi_mqtt.fleet.registry import DeviceRegistry
from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AuditEntry, Device, OtaExchange, SessionStatistics
from tests.databases import sqlite_store
from tests.fakes.api import client
from tests.unit.fleet.conftest import asking

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
BOBS, SHARED, EVES, NOBODYS = (f"aa-bb-cc-00-11-0{number}" for number in range(1, 5))


@dataclass
class Live:
    """Connected devices. A `LiveFleet` and `NearbyDevices`."""

    connected: dict[str, DevicePresence] = field(default_factory=dict)

    def presence(self, device_id: str) -> DevicePresence | None:
        return self.connected.get(device_id)

    def online(self) -> Sequence[str]:
        return list(self.connected)

    def audio(self, device_id: str) -> AudioReport | None:
        if device_id not in self.connected:
            return None
        return AudioReport("s1", "udp", 12.3, udp_seen=True, received=90, lost=10, late=1, jitter_ms=4.5,
                           round_trip_ms=20.0)  # fmt: skip

    def tools(self, device_id: str) -> Sequence[Mapping[str, Any]] | None:
        return [{"name": "self.audio_speaker.set_volume", "description": "Sets the volume"}]

    async def every_tool(self, device_id: str) -> Sequence[Mapping[str, Any]] | None:
        if device_id not in self.connected:
            return None
        return [
            {
                "name": "self.audio_speaker.set_volume",
                "description": "Sets the volume",
                "input_schema": {"type": "object", "properties": {"volume": {"type": "integer"}}},
            },
            {"name": "self.reboot", "for_people": True},
        ]

    def connected_from(self, address: str) -> Sequence[str]:
        return []

    def show(self, device_id: str, title: str, text: str) -> bool:
        return False


class People:
    """Everybody. Implements `ownership.People`."""

    async def has_user(self, user_id: str) -> bool:
        return user_id in ("u-ada", "u-bob", "u-eve")

    async def has_group(self, group_id: str) -> bool:
        return group_id == "g-home"


@dataclass
class World:
    store: Store
    directory: DeviceDirectory
    provisioner: Provisioner
    log: OtaLog
    live: Live
    parts: dict[str, object]

    def api(self, as_: str) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        return client(as_=as_, **self.parts)


def row(device_id: str, **facts: Any) -> Device:
    return Device(
        id=device_id, client_id="uuid", epoch=7, board="bread-compact-wifi", firmware_version="2.2.1",
        revision=0, created_at=NOW, updated_at=NOW, last_seen_at=NOW, **facts,
    )  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = sqlite_store(tmp_path)
    await store.open()
    credentials = Credentials.load(tmp_path)
    directory = DeviceDirectory(store, credentials, Accounts(AccountSettings()))
    async with store.write() as session:
        for device in (
            row(BOBS, owner_id="u-bob", name="Kitchen", room="Kitchen", tags=["loud", "caf\u00e9"]),
            row(SHARED, owner_id="u-ada", group_id="g-home", name="Hall"),
            row(EVES, owner_id="u-eve", name="Secret"),
            row(NOBODYS),
        ):
            await devices.save_changed(session, device, NOW)
    await directory.start()
    log = OtaLog(store)
    await log.start()
    live = Live({BOBS: DevicePresence("mqtt", NOW, "192.0.2.9")})
    keys = DeviceKeys(store, credentials)
    provisioner = Provisioner(
        store, directory, credentials, Endpoints(mqtt_port=1883, udp_port=8884),
        OtaSettings(new_devices="activate"), keys=keys, log=log,
    )  # fmt: skip
    parts: dict[str, object] = {
        "devices": DeviceRegistry(store, directory, live, People()),
        "claims": Claims(store, directory, live),
        "device_keys": keys,
    }
    yield World(store, directory, provisioner, log, live, parts)
    await log.aclose()
    await directory.aclose()
    await store.aclose()


def ids(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [item["id"] for item in reply.json()["items"]]


@pytest.mark.parametrize(
    ("who", "seen"),
    [("ada", [BOBS, SHARED, EVES, NOBODYS]), ("bob", [BOBS, SHARED]), ("eve", [EVES])],
)
async def test_everybody_lists_the_devices_that_he_may_see(world: World, who: str, seen: list[str]) -> None:
    async with world.api(who) as api:
        assert ids(await api.get("/devices")) == seen


@pytest.mark.parametrize("who", ["bob", "eve"])
async def test_what_is_anothers_does_not_exist_for_any_route(world: World, who: str) -> None:
    theirs = [NOBODYS, EVES if who == "bob" else BOBS, *([SHARED] if who == "eve" else [])]
    async with world.api(who) as api:
        for device_id in theirs:
            replies = [
                await api.get(f"/devices/{device_id}"),
                await api.patch(f"/devices/{device_id}", json={"name": "Mine"}),
                await api.delete(f"/devices/{device_id}"),
                await api.post(f"/devices/{device_id}/revoke"),
                await api.post(f"/devices/{device_id}/allow"),
                await api.post(f"/devices/{device_id}/rotate"),
                await api.put(f"/devices/{device_id}/owner", json={"owner_id": f"u-{who}"}),
                await api.put(f"/devices/{device_id}/group", json={"group_id": None}),
            ]
            assert [reply.status_code for reply in replies] == [404] * 8
            unknown = await api.get("/devices/aa-bb-cc-00-11-99")
            assert replies[0].json()["detail"].replace(device_id, "X") == unknown.json()["detail"].replace(
                "aa-bb-cc-00-11-99", "X"
            )
    async with world.store.read() as session:
        assert not (await session.scalars(select(AuditEntry))).all()


async def test_a_batch_changes_what_the_caller_may_and_tells_the_rest_apart(world: World) -> None:
    batch = {
        "devices": [
            {"id": BOBS, "room": "Living room"},
            {"id": EVES, "room": "Living room"},
            {"id": "nonsense", "room": "x"},
            {"id": SHARED, "tags": ["a,b"]},
        ]
    }
    async with world.api("bob") as api:
        reply = await api.patch("/devices", json=batch)
    results = reply.json()["results"]
    assert [each["status"] for each in results] == [200, 404, 404, 422]
    assert results[0]["device"]["room"] == "Living room"
    async with world.store.read() as session:
        other = await devices.get(session, EVES)
    assert other is not None
    assert other.room == ""


async def test_a_batch_is_bounded(world: World) -> None:
    async with world.api("bob") as api:
        reply = await api.patch("/devices", json={"devices": [{"id": BOBS, "room": "x"}] * 101})
    assert reply.status_code == 422


async def test_a_group_changes_settings_but_not_whose_the_device_is(world: World) -> None:
    async with world.api("bob") as api:
        assert (await api.patch(f"/devices/{SHARED}", json={"name": "Lobby"})).status_code == 200
        for reply in (
            await api.delete(f"/devices/{SHARED}"),
            await api.post(f"/devices/{SHARED}/revoke"),
            await api.post(f"/devices/{SHARED}/rotate"),
            await api.put(f"/devices/{SHARED}/owner", json={"owner_id": "u-bob"}),
            await api.put(f"/devices/{SHARED}/group", json={}),
        ):
            assert reply.status_code == 403
            assert "owner" in reply.json()["detail"]


async def test_a_change_names_the_version_that_it_is_made_to(world: World) -> None:
    async with world.api("bob") as api:
        read = await api.get(f"/devices/{BOBS}")
        first = await api.patch(
            f"/devices/{BOBS}", json={"name": "One"}, headers={"If-Match": read.headers["ETag"]}
        )
        late = await api.patch(
            f"/devices/{BOBS}", json={"name": "Two"}, headers={"If-Match": read.headers["ETag"]}
        )
        assert (first.status_code, late.status_code) == (200, 412)
        again = await api.patch(
            f"/devices/{BOBS}", json={"name": "Two"}, headers={"If-Match": first.headers["ETag"]}
        )
        assert again.json()["name"] == "Two"
    known = world.directory.get(BOBS)
    assert known is not None
    assert known.name == "Two"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"search": "kit"}, [BOBS]),
        ({"search": "CAF\u00c9"}, [BOBS]),
        ({"search": "11-02"}, [SHARED]),
        ({"search": "kit hall"}, []),
        ({"search": "%"}, []),
        ({"search": "_"}, []),
        ({"tag": "caf\u00e9"}, [BOBS]),
        ({"tag": "lou"}, []),
        ({"room": "Kitchen"}, [BOBS]),
        ({"online": "true"}, [BOBS]),
        ({"online": "false"}, [SHARED, EVES, NOBODYS]),
        ({"owner_id": "u-eve"}, [EVES]),
        ({"owner_id": ""}, [NOBODYS]),
        ({"group_id": "g-home"}, [SHARED]),
        ({"board": "bread-compact-wifi", "sort": "-id"}, [NOBODYS, EVES, SHARED, BOBS]),
        ({"agent": "default", "sort": "name"}, [NOBODYS, SHARED, BOBS, EVES]),
        ({"state": "disabled"}, []),
        ({"state": "active", "firmware_version": "2.2.1"}, [BOBS, SHARED, EVES, NOBODYS]),
    ],
)
async def test_devices_are_filtered_searched_and_sorted(
    world: World, query: dict[str, str], found: list[str]
) -> None:
    async with world.api("ada") as api:
        assert ids(await api.get("/devices", params=query)) == found


@pytest.mark.parametrize("sort", ["id", "-id", "name", "-name", "created_at", "-last_seen_at"])
async def test_pages_tell_each_device_once(world: World, sort: str) -> None:
    found: list[str] = []
    cursor: dict[str, str] = {}
    async with world.api("ada") as api:
        while True:
            reply = await api.get("/devices", params={"limit": 1, "sort": sort, **cursor})
            found += ids(reply)
            if "next" not in (page := reply.json()) or page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
    assert sorted(found) == [BOBS, SHARED, EVES, NOBODYS]


async def test_a_cursor_of_somewhere_else_is_explained(world: World) -> None:
    async with world.api("ada") as api:
        page = (await api.get("/devices", params={"limit": 1, "sort": "name"})).json()
        reply = await api.get("/devices", params={"sort": "created_at", "cursor": page["next"]})
    assert reply.status_code == 422


async def test_a_device_is_told_with_all_that_is_known_of_it(world: World) -> None:
    request = asking("uuid", "aa:bb:cc:00:11:01")
    await world.provisioner.provision(request, "10.0.0.1", address="192.0.2.9")
    await world.log.aclose()
    async with world.api("bob") as api:
        told = (await api.get("/devices/AA:BB:CC:00:11:01")).json()
    assert told["presence"] | {"last_seen_at": None} == {
        "connected": True, "transport": "mqtt", "since": "2026-11-27T12:00:00Z", "address": "192.0.2.9",
        "last_seen_at": None,
    }  # fmt: skip
    assert told["session"]["loss"] == pytest.approx(0.1)
    assert [each["name"] for each in told["tools"]] == ["self.audio_speaker.set_volume"]
    (asked,) = told["ota_requests"]
    assert asked["told"] == "got its credentials for MQTT; no firmware: no image for this board"
    assert "uuid" not in str(told)


async def test_a_person_claims_a_device_by_its_code(world: World) -> None:
    answer = await world.provisioner.provision(
        asking("new", "aa:bb:cc:00:22:01"), "10.0.0.1", address="10.0.0.9"
    )
    assert answer.activation is not None
    code = answer.activation.code
    async with world.api("bob") as api:
        wrong = await api.post("/devices/claim", json={"code": "000000" if code != "000000" else "000001"})
        assert wrong.status_code == 404
        assert (await api.post("/devices/claim", json={"code": "12345"})).status_code == 422
        claimed = await api.post("/devices/claim", json={"code": f"{code[:3]} {code[3:]}"})
        assert claimed.status_code == 200
        assert claimed.json()["owner_id"] == "u-bob"
    async with world.api("eve") as api:
        assert (await api.post("/devices/claim", json={"code": code})).status_code == 404


async def test_guessing_is_answered_with_the_time_to_wait(world: World) -> None:
    async with world.api("eve") as api:
        replies = [await api.post("/devices/claim", json={"code": f"{number:06d}"}) for number in range(7)]
    assert [reply.status_code for reply in replies] == [404] * 5 + [429] * 2
    assert int(replies[-1].headers["Retry-After"]) > 0


async def test_pending_devices_are_told_to_administrators_alone(world: World) -> None:
    answer = await world.provisioner.provision(
        asking("new", "aa:bb:cc:00:22:01"), "10.0.0.1", address="10.0.0.9"
    )
    assert answer.activation is not None
    async with world.api("bob") as api:
        assert ids(await api.get("/devices", params={"state": "pending"})) == []
        assert (await api.get("/activations")).status_code == 403
    async with world.api("ada") as api:
        assert ids(await api.get("/devices", params={"state": "pending"})) == ["aa-bb-cc-00-22-01"]
        (pending,) = (await api.get("/activations")).json()["items"]
        assert pending["code"] == answer.activation.code
        allowed = await api.post(f"/activations/{pending['id']}/allow", json={"owner_id": "u-bob"})
        assert allowed.json()["owner_id"] == "u-bob"
        assert (await api.get("/activations")).json()["items"] == []
        again = await api.post(f"/activations/{pending['id'] + 1}/allow", json={})
        assert again.status_code == 404


async def test_a_transfer_takes_the_device_from_its_owner(world: World) -> None:
    async with world.api("bob") as api:
        moved = await api.put(f"/devices/{BOBS}/owner", json={"owner_id": "u-eve"})
        assert moved.status_code == 200
        assert (await api.get(f"/devices/{BOBS}")).status_code == 404
    async with world.api("eve") as api:
        told = (await api.get(f"/devices/{BOBS}")).json()
    assert (told["name"], told["room"], told["tags"]) == ("", "", [])


async def test_a_device_is_given_and_shared_only_to_whom_there_is(world: World) -> None:
    """A device of an account that there is none of would be lost to its owner."""
    async with world.api("bob") as api:
        given = await api.put(f"/devices/{BOBS}/owner", json={"owner_id": "u-nobody"})
        shared = await api.put(f"/devices/{BOBS}/group", json={"group_id": "g-none"})
        assert (given.status_code, shared.status_code) == (422, 422)
        assert (await api.get(f"/devices/{BOBS}")).json()["owner_id"] == "u-bob"
        assert (await api.put(f"/devices/{BOBS}/group", json={"group_id": "g-home"})).status_code == 200
    async with world.api("ada") as api:
        assert (await api.put(f"/devices/{BOBS}/group", json={"group_id": "g-none"})).status_code == 422
        for wanted in ({"owner_id": "u-nobody"}, {"group_id": "g-none"}):
            listed = await api.post("/listed-devices", json={"identity": "AA:BB:CC:00:33:01", **wanted})
            assert listed.status_code == 422


async def test_whether_there_is_an_account_is_not_told_by_a_device_of_others(world: World) -> None:
    async with world.api("bob") as api:
        replies = [
            await api.put(f"/devices/{EVES}/owner", json={"owner_id": user}) for user in ("u-eve", "u-nobody")
        ]
    assert [reply.status_code for reply in replies] == [404, 404]
    assert replies[0].json() == replies[1].json()


async def test_a_serial_number_that_is_given_twice_is_registered_once(world: World) -> None:
    given = {"serial_number": "SN-1", "key": "ab" * 32}
    async with world.api("ada") as api:
        reply = await api.post("/device-keys", json={"keys": [given, {**given, "key": "AB" * 32}]})
        assert (reply.status_code, reply.json()["added"]) == (200, 1)
        for other in ({"key": "cd" * 32}, {"mac": "aa:bb:cc:00:11:22"}):
            reply = await api.post("/device-keys", json={"keys": [given, {**given, **other}]})
            assert reply.status_code == 422
            assert "SN-1 is there twice" in reply.json()["detail"]


async def test_serial_numbers_with_a_slash_are_deleted(world: World) -> None:
    serial = "2026/07/SN-1"
    async with world.api("ada") as api:
        key = {"serial_number": serial, "key": "ab" * 32}
        assert (await api.post("/device-keys", json={"keys": [key]})).status_code == 200
        assert (await api.post("/listed-devices", json={"identity": serial})).status_code == 201
        for path in ("/device-keys", "/listed-devices/serial"):
            for written, status in ((quote(serial, safe=""), 204), (serial, 404)):
                assert (await api.delete(f"{path}/{written}")).status_code == status
            assert (await api.delete(f"{path}/{'x' * 65}")).status_code == 422


async def test_keys_of_chips_are_registered_and_never_told(world: World) -> None:
    key = "ab" * 32
    async with world.api("ada") as api:
        reply = await api.post("/device-keys", json={"keys": [{"serial_number": "SN-1", "key": key}]})
        assert reply.json() == {"added": 1, "replaced": 0, "unchanged": 0}
        listed = await api.get("/device-keys")
        assert key not in listed.text
        assert [item["serial_number"] for item in listed.json()["items"]] == ["SN-1"]
        wrong = {"keys": [{"serial_number": "SN-2", "key": key[:-1] + "x"}]}
        bad = await api.post("/device-keys", json=wrong)
        assert bad.status_code == 422
        assert key[:-1] not in bad.text
        assert (await api.delete("/device-keys/SN-1")).status_code == 204
        assert (await api.delete("/device-keys/SN-1")).status_code == 404
    async with world.api("bob") as api:
        assert (await api.get("/device-keys")).status_code == 403


async def test_devices_are_listed_before_they_come(world: World) -> None:
    async with world.api("ada") as api:
        wanted = {"identity": "AA:BB:CC:00:33:01", "owner_id": "u-bob", "note": "for the hall"}
        added = await api.post("/listed-devices", json=wanted)
        assert (added.status_code, added.json()["value"]) == (201, "aa-bb-cc-00-33-01")
        assert (await api.post("/listed-devices", json=wanted)).status_code == 409
        assert (await api.post("/listed-devices", json={"identity": "a b"})).status_code == 422
        assert len((await api.get("/listed-devices")).json()["items"]) == 1
        assert (await api.delete("/listed-devices/mac/aa-bb-cc-00-33-01")).status_code == 204
        assert (await api.delete("/listed-devices/mac/aa-bb-cc-00-33-01")).status_code == 404


async def test_boards_are_told_with_their_devices(world: World) -> None:
    async with world.api("ada") as api:
        (board,) = (await api.get("/boards")).json()["items"]
    assert (board["type"], board["devices"], board["versions"]) == ("bread-compact-wifi", 4, {"2.2.1": 4})


async def test_a_device_keeps_the_sound_of_its_turns_or_not(world: World) -> None:
    async with world.api("bob") as api:
        assert (await api.get(f"/devices/{BOBS}")).json()["recordings"] == ""
        for wanted in ("on", "off", ""):
            reply = await api.patch(f"/devices/{BOBS}", json={"recordings": wanted})
            assert (reply.status_code, reply.json()["recordings"]) == (200, wanted)
        assert (await api.patch(f"/devices/{BOBS}", json={"recordings": "x"})).status_code == 422


async def test_only_an_administrator_chooses_the_channel_of_firmware(world: World) -> None:
    path, beta = f"/devices/{BOBS}", {"channel": "beta"}
    async with world.api("bob") as api:
        assert (await api.patch(path, json=beta)).status_code == 403
        assert (await api.patch(path, json={"channel": "", "name": "Lamp"})).status_code == 200
    async with world.api("ada") as api:
        version = (await api.get(path)).json()["version"]
        changed = (await api.patch(path, json=beta)).json()
        assert changed["channel"] == "beta"
        assert changed["version"] > version
        assert (await api.patch(path, json={"channel": "Beta!"})).status_code == 422
        assert (await api.patch(path, json={"channel": "stable"})).json()["channel"] == ""


async def test_tools_come_with_their_schemas_and_those_for_people_from_the_device(world: World) -> None:
    async with world.api("bob") as api:
        away = (await api.get(f"/devices/{SHARED}/tools")).json()
        here = (await api.get(f"/devices/{BOBS}/tools")).json()
    assert (away["complete"], here["complete"]) == (False, True)
    volume, reboot = here["items"]
    assert volume["input_schema"]["properties"] == {"volume": {"type": "integer"}}
    assert (volume["for_people"], reboot["for_people"]) == (False, True)


async def test_labels_are_those_of_the_callers_own_devices(world: World) -> None:
    async with world.api("ada") as api:
        await api.patch(f"/devices/{BOBS}", json={"room": "Kitchen", "tags": ["test", "beta"]})
        await api.patch(f"/devices/{EVES}", json={"room": "Attic", "tags": ["secret"]})
        everything = (await api.get("/devices/labels")).json()
    async with world.api("bob") as api:
        own = (await api.get("/devices/labels")).json()
    assert (everything["rooms"], everything["tags"]) == (["Attic", "Kitchen"], ["beta", "secret", "test"])
    assert (own["rooms"], own["tags"]) == (["Kitchen"], ["beta", "test"])


async def test_the_log_of_ota_requests_is_paged_newest_first(world: World) -> None:
    now = datetime.now(UTC)
    async with world.store.write() as session:
        for device_id, answer in ((BOBS, "mqtt"), (EVES, "mqtt"), (BOBS, "mqtt"), ("", "unreadable")):
            session.add(OtaExchange(device_id=device_id, at=now, answer=answer))
            await session.flush()
    async with world.api("ada") as api:
        first = (await api.get("/ota-requests?limit=3")).json()
        rest = (await api.get("/ota-requests", params={"cursor": first["next"]})).json()
    told = [(each["device_id"], each["registered"]) for each in first["items"] + rest["items"]]
    assert told == [(None, False), (BOBS, True), (EVES, True), (BOBS, True)]
    assert rest["next"] is None
    async with world.api("bob") as api:
        mine = (await api.get("/ota-requests")).json()["items"]
    assert [(each["device_id"], each["device_name"]) for each in mine] == [(BOBS, "Kitchen")] * 2


async def test_what_is_written_of_the_former_owner_after_a_transfer_is_not_told(world: World) -> None:
    moved_at = datetime.now(UTC)
    async with world.store.write() as session:
        device = await devices.get(session, BOBS)
        assert device is not None
        device.owned_since = moved_at
        for minutes in (-5, 5):
            at = moved_at + timedelta(minutes=minutes)
            session.add(OtaExchange(device_id=BOBS, at=at, answer="mqtt", address="192.0.2.7"))
            session.add(
                SessionStatistics(
                    session_id=f"s{minutes}", device_id=BOBS, transport="udp", started_at=at,
                    ended_at=moved_at + timedelta(minutes=6),
                )
            )  # fmt: skip
    async with world.api("bob") as api:
        mine = (await api.get("/ota-requests")).json()["items"]
        one = (await api.get(f"/devices/{BOBS}")).json()
    assert [datetime.fromisoformat(each["at"]) > moved_at for each in mine] == [True]
    assert (len(one["ota_requests"]), len(one["sessions"])) == (1, 1)
