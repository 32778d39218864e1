"""Firmware, roll-outs and assets over the REST API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import httpx
import pytest
from sqlmodel import select

from mimi_mqtt.commands.model import CallTool, Command, CommandResult, Principal, Refusal, done, refused
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.commands.updates import Updates
from mimi_mqtt.fleet import device_settings
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.fleet.entry import DeviceInfo
from mimi_mqtt.store.tables import AuditEntry
from tests.fakes.api import client
from tests.fakes.firmware import BOARD, ORIGIN, Workshop, device_id, workshop_in
from tests.firmware import images


class Obeying:
    """Stands for `Commands`: answers as told, and takes note of what was asked."""

    def __init__(self) -> None:
        self.result = done(text="true")
        self.asked: list[CallTool] = []

    async def run(self, command: Command, *, by: Principal) -> CommandResult:
        assert by.user_tools
        assert isinstance(command, CallTool)
        self.asked.append(command)
        return self.result


class House:
    """The workshop, and its API."""

    def __init__(self, workshop: Workshop, api: httpx.AsyncClient, commands: Obeying) -> None:
        self.workshop = workshop
        self.api = api
        self.commands = commands

    async def upload(self, data: bytes | None = None, **query: str) -> httpx.Response:
        params = {"board": BOARD} | query
        return await self.api.post("/firmware", params=params, content=data or images.image())

    async def roll_out(self, **terms: object) -> httpx.Response:
        image = (await self.upload(images.image(version="2.3.1"))).json()
        return await self.api.post("/rollouts", json={"image_id": image["id"]} | terms)


@asynccontextmanager
async def house_in(folder: Path, as_: str = "ada") -> AsyncIterator[House]:
    async with workshop_in(folder) as workshop:
        commands = Obeying()
        updates = Updates(
            cast(Commands, commands), workshop.rollouts, workshop.assets, workshop.links, lambda _: ORIGIN
        )
        async with client(
            as_=as_,
            firmware=workshop.images,
            rollouts=workshop.rollouts,
            assets=workshop.assets,
            updates=updates,
            directory={device_id(1): DeviceInfo(device_id(1), name="Kitchen")},
        ) as api:
            yield House(workshop, api, commands)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path) as made:
        yield made


async def test_an_image_is_uploaded_read_changed_and_deleted(house: House) -> None:
    answer = await house.upload(channel="beta", notes="First.")
    assert answer.status_code == 201
    image = answer.json()
    assert (image["version"], image["chip"], image["channel"], image["uploaded_by"]) == (
        "2.3.1", "esp32s3", "beta", "ada",
    )  # fmt: skip
    path = f"/firmware/{image['id']}"
    read = await house.api.get(path)
    assert read.json() == image
    assert read.headers["etag"] == '"1"'
    changed = await house.api.patch(path, json={"channel": "stable"}, headers={"If-Match": '"1"'})
    assert (changed.json()["channel"], changed.json()["notes"]) == ("stable", "First.")
    assert (await house.api.patch(path, json={"notes": ""}, headers={"If-Match": '"1"'})).status_code == 412
    assert [
        each["id"] for each in (await house.api.get("/firmware", params={"board": BOARD})).json()["items"]
    ] == [image["id"]]
    assert (await house.api.delete(path)).status_code == 204
    assert (await house.api.get(path)).status_code == 404
    async with house.workshop.store.read() as session:
        actions = [entry.action for entry in await session.scalars(select(AuditEntry))]
    assert actions == ["firmware.add", "firmware.change", "firmware.delete"]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (images.merged(), "this is a merged image"),
        (images.image()[:-40], "truncated"),
        (images.image(version="1.2.3-beta"), "PROJECT_VER"),
        (images.image(chip=99), "a chip with the id 99"),
        (b"x", "not an ESP32 image"),
    ],
)
async def test_a_file_that_is_no_app_image_is_refused_with_the_reason(
    house: House, data: bytes, word: str
) -> None:
    answer = await house.upload(data)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]
    assert (await house.api.get("/firmware")).json()["items"] == []


async def test_a_version_that_is_there_already_is_a_conflict(house: House) -> None:
    await house.upload()
    assert (await house.upload()).status_code == 409


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/firmware"), ("POST", "/firmware?board=x"), ("GET", "/firmware/1"), ("PATCH", "/firmware/1"),
        ("DELETE", "/firmware/1"), ("GET", "/rollouts"), ("POST", "/rollouts"), ("GET", "/rollouts/1"),
        ("PATCH", "/rollouts/1"), ("DELETE", "/rollouts/1"), ("POST", "/rollouts/1/pause"),
        ("POST", "/rollouts/1/resume"), ("POST", "/rollouts/1/end"), ("POST", "/rollouts/1/roll-back"),
        ("GET", "/rollouts/1/devices"), ("GET", "/assets"), ("POST", "/assets?board=x&name=y"),
        ("GET", "/assets/1"), ("PATCH", "/assets/1"), ("DELETE", "/assets/1"),
        ("POST", "/assets/1/hand-over"),
        ("GET", "/assets/1/devices"), ("POST", f"/devices/{device_id(1)}/upgrade"),
        ("GET", "/assets/1/files"), ("POST", "/rollout-reach"),
    ],
)  # fmt: skip
async def test_firmware_is_for_administrators_alone(tmp_path: Path, method: str, path: str) -> None:
    for who, status in (("bob", 403), ("eve", 403), ("", 401)):
        async with client(as_=who) as api:
            assert (await api.request(method, path, json={})).status_code == status


async def test_a_roll_out_is_made_paused_resumed_changed_and_taken_back(house: House) -> None:
    await house.upload(images.image(version="2.2.1"))
    answer = await house.roll_out(percent=10, name="Autumn")
    assert answer.status_code == 201
    made = answer.json()
    assert (made["state"], made["percent"], made["channel"], made["counts"]) == ("running", 10, "stable", {})
    assert (made["halt_after"], made["halt_percent"], made["come_back_min"]) == (2, 10, 15)
    path = f"/rollouts/{made['id']}"
    assert (await house.api.post(f"{path}/pause")).json()["state"] == "paused"
    assert (await house.api.post(f"{path}/resume")).json()["state"] == "running"
    ends = "2126-01-01T00:00:00Z"
    assert (await house.api.patch(path, json={"percent": 50, "ends_at": ends})).json()["ends_at"] == ends
    changed = (await house.api.patch(path, json={"ends_at": None})).json()
    assert (changed["ends_at"], changed["percent"]) == (None, 50)
    assert (await house.api.patch(path, json={}, headers={"If-Match": '"1"'})).status_code == 412
    back = (await house.api.post(f"{path}/roll-back", json={})).json()
    assert (back["kind"], back["takes_back"], back["image"]["version"]) == ("roll-back", made["id"], "2.2.1")
    assert (await house.api.post(f"{path}/resume")).status_code == 409
    listed = (await house.api.get("/rollouts", params={"state": "rolled back"})).json()["items"]
    assert [each["id"] for each in listed] == [made["id"]]
    assert (await house.api.delete(f"/firmware/{made['image']['id']}")).status_code == 409
    assert (await house.api.delete(path)).status_code == 409
    assert (await house.api.post(f"/rollouts/{back['id']}/end")).json()["state"] == "ended"
    assert (await house.api.delete(path)).status_code == 204


@pytest.mark.parametrize(
    ("terms", "status"),
    [
        ({"percent": 101}, 422), ({"image_id": 99}, 404), ({"devices": ["x"]}, 404),
        ({"devices": [device_id(9)]}, 422), ({"starts_at": "2026-08-01T12:00:00"}, 422),
        ({"ends_at": "2020-01-01T00:00:00Z"}, 422), ({"channel": "No Channel"}, 422),
    ],
)  # fmt: skip
async def test_terms_that_can_not_be_met_are_refused(
    house: House, terms: dict[str, object], status: int
) -> None:
    assert (await house.roll_out(**terms)).status_code == status


async def test_devices_of_a_roll_out_are_told_page_by_page(house: House) -> None:
    made = (await house.roll_out()).json()
    for number in range(1, 6):
        await house.workshop.device(number)
        await house.workshop.boot(number)
    await house.workshop.download(made["id"], 3)
    path, found = f"/rollouts/{made['id']}/devices", []
    cursor: dict[str, str] = {}
    while True:
        page = (await house.api.get(path, params={"limit": "2"} | cursor)).json()
        found += [(each["device_id"][-2:], each["state"]) for each in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == [
        ("01", "offered"),
        ("02", "offered"),
        ("03", "downloaded"),
        ("04", "offered"),
        ("05", "offered"),
    ]
    only = (await house.api.get(path, params={"state": "downloaded"})).json()["items"]
    assert [(each["from_version"], each["bytes_sent"]) for each in only] == [("2.2.1", len(images.image()))]
    counts = (await house.api.get(f"/rollouts/{made['id']}")).json()["counts"]
    assert counts == {"offered": 4, "downloaded": 1}


async def test_one_connected_device_is_told_to_update_itself(house: House) -> None:
    image = (await house.upload()).json()
    await house.workshop.device(1, auto_update=False)
    await house.workshop.boot(1)
    path = f"/devices/{device_id(1)}/upgrade"
    answer = await house.api.post(path, json={"image_id": image["id"]})
    assert answer.status_code == 200
    (asked,) = house.commands.asked
    assert asked.tool == "self.upgrade_firmware"
    rollout = answer.json()["rollout_id"]
    assert str(asked.arguments["url"]).startswith(f"{ORIGIN}/xiaozhi/firmware/{rollout}/{device_id(1)}?")
    assert await house.workshop.states(rollout) == {"01": "offered"}
    house.commands.result = refused(Refusal.NOT_CONNECTED, "it is away")
    assert (await house.api.post(path, json={"image_id": image["id"]})).status_code == 409
    assert await house.workshop.state(rollout + 1) == "ended"
    assert (await house.api.post(path, json={"image_id": 77})).status_code == 404
    house.commands.result = CommandResult("timed_out", message="no answer")
    assert (await house.api.post(path, json={"image_id": image["id"]})).status_code == 504
    assert await house.workshop.state(rollout + 2) == "running"


async def test_a_device_is_put_on_a_channel(house: House) -> None:
    await house.roll_out(channel="beta")
    await house.workshop.device(1)
    wanted = DeviceChange(channel="beta")
    await device_settings.change(house.workshop.store, device_id(1), wanted, house.workshop.moment.now)
    assert "NoFirmware" not in repr(await house.workshop.boot(1))


async def test_assets_are_uploaded_and_handed_over(house: House) -> None:
    params = {"board": BOARD, "name": "Noto"}
    answer = await house.api.post("/assets", params=params, content=images.assets(3))
    assert answer.status_code == 201
    assets = answer.json()
    assert (assets["files"], assets["size"]) == (3, len(images.assets(3)))
    assert (await house.api.post("/assets", params=params, content=b"x" * 50)).status_code == 422
    path = f"/assets/{assets['id']}"
    assert (await house.api.patch(path, json={"name": "Noto Sans"})).json()["name"] == "Noto Sans"
    await house.workshop.device(1)
    await house.workshop.boot(1)
    await house.workshop.device(2, board="other")
    devices = [device_id(1), device_id(2), device_id(3)]
    told = (await house.api.post(f"{path}/hand-over", json={"devices": devices})).json()
    assert [each["told"] for each in told] == [True, False, False]
    assert "are for bread-compact-wifi" in told[1]["message"]
    (asked,) = house.commands.asked
    assert asked.tool == "self.assets.set_download_url"
    assert f"/xiaozhi/assets/{assets['id']}/{device_id(1)}?" in str(asked.arguments["url"])
    deliveries = (await house.api.get(f"{path}/devices")).json()["items"]
    assert [(each["device_id"], each["device_name"], each["state"]) for each in deliveries] == [
        (device_id(1), "Kitchen", "offered")
    ]
    house.commands.result = refused(Refusal.NOT_CONNECTED, "it is away")
    (away,) = (await house.api.post(f"{path}/hand-over", json={"devices": devices[:1]})).json()
    assert (away["told"], away["message"]) == (False, "it is away")
    assert (await house.api.get(f"{path}/devices")).json()["items"] == []
    files = (await house.api.get(f"{path}/files")).json()["items"]
    assert files == [{"name": f"file{number}", "size": 398} for number in range(3)]
    assert (await house.api.delete(path)).status_code == 204
    assert (await house.api.get(path)).status_code == 404


async def test_assets_that_do_not_fit_the_partition_are_not_handed_over(house: House) -> None:
    big = images.assets(2, b"ZZ" + bytes(4_100_000))
    assets = (await house.api.post("/assets", params={"board": BOARD, "name": "big"}, content=big)).json()
    await house.workshop.device(1)
    await house.workshop.boot(1)
    told = await house.api.post(f"/assets/{assets['id']}/hand-over", json={"devices": [device_id(1)]})
    assert "does not fit the partition of 8,000,000 bytes" in told.json()[0]["message"]
    assert house.commands.asked == []


async def test_the_reach_of_a_roll_out_is_told(house: House) -> None:
    image = (await house.upload()).json()
    for number in (1, 2):
        await house.workshop.device(number)
        await house.workshop.boot(number)
    answer = await house.api.post("/rollout-reach", json={"image_id": image["id"], "percent": 50})
    assert answer.json() == {"board_devices": 2, "meant": 2, "reached": 1, "others": []}
    assert (await house.api.post("/rollout-reach", json={"image_id": 99})).status_code == 404
    wanted = {"image_id": image["id"], "rollout_id": 99}
    assert (await house.api.post("/rollout-reach", json=wanted)).status_code == 404
    assert (await house.api.get("/rollouts")).json()["items"] == []
