"""Pictures by the API: each caller sees his own, and a browser only ever shows them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlmodel import col, select

from mimi_mqtt.commands.model import Principal
from mimi_mqtt.commands.screenshots import Belonging
from mimi_mqtt.errors import Conflict, ToolError
from mimi_mqtt.files.upload_links import UploadLink
from mimi_mqtt.files.uploads import Uploads
from mimi_mqtt.fleet.entry import DeviceInfo
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.files import delete_of_devices, expire_uploads
from mimi_mqtt.store.tables import AuditEntry
from tests.databases import sqlite_store
from tests.fakes.api import client
from tests.fakes.blobs import Clock, blobs_in, parts

JPEG = b"\xff\xd8\xff\xe0<script>alert(1)</script>" + bytes(100)
DEVICE = "aa-bb-cc-00-11-22"


class Camera:
    """Takes screenshots: one is there already."""

    def __init__(self, upload_id: str) -> None:
        self.upload_id = upload_id
        self.fails: Exception | None = None
        self.asked: list[tuple[str, str, int]] = []

    async def take(self, device_id: str, *, by: Principal, author: Author, quality: int) -> str:
        assert author.name == by.name
        assert by.user_tools
        assert by.may_command(device_id)
        assert not by.may_command("aa-bb-cc-00-11-99")
        self.asked.append((device_id, by.name, quality))
        if self.fails is not None:
            raise self.fails
        return self.upload_id


class House:
    def __init__(self, uploads: Uploads, clock: Clock, store: Store) -> None:
        self.uploads, self.clock, self.store = uploads, clock, store
        self.camera = Camera("")

    async def add(self, owner: str = "u-bob", group: str = "", content: bytes = JPEG) -> str:
        self.clock.forward(1)
        link = UploadLink(DEVICE, owner, group, "screenshot", 0.0)
        row = await self.uploads.add(link, await self.uploads.put(parts(content)))
        return row.id

    def asks(self, name: str):  # type: ignore[no-untyped-def]
        return client(
            as_=name,
            uploads=self.uploads,
            directory={DEVICE: DeviceInfo(DEVICE, name="Kitchen")},
            screenshots=self.camera,
            belonging=lambda device: Belonging("u-bob", "g-garden") if device == DEVICE else None,
        )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = sqlite_store(tmp_path)
    await store.open()
    clock = Clock()
    blobs = await blobs_in(store, tmp_path / "files", quota=1_000_000, clock=clock)
    yield House(Uploads(blobs, max_bytes=10_000, keep_days=1), clock, store)
    await store.aclose()


@pytest.mark.parametrize(
    ("name", "sees"),
    [("ada", ["bobs", "homes", "gardens", "nobodys"]), ("bob", ["bobs", "homes"]), ("eve", [])],
)
async def test_each_sees_his_own_and_what_is_shared_with_his_groups(
    house: House, name: str, sees: list[str]
) -> None:
    ids = {
        "bobs": await house.add(),
        "homes": await house.add("u-tim", "g-home"),
        "gardens": await house.add("u-tim", "g-garden"),
        "nobodys": await house.add(""),
    }
    async with house.asks(name) as api:
        listed = (await api.get("/uploads")).json()["items"]
        assert [item["id"] for item in listed] == [ids[key] for key in reversed(sees)]
        for key, upload_id in ids.items():
            status = 200 if key in sees else 404
            assert (await api.get(f"/uploads/{upload_id}")).status_code == status
            assert (await api.get(f"/uploads/{upload_id}/content")).status_code == status
        for key, upload_id in ids.items():
            assert (await api.delete(f"/uploads/{upload_id}")).status_code == (204 if key in sees else 404)
        assert (await api.get("/uploads")).json()["items"] == []


async def test_uploads_and_their_deletion_are_in_the_audit(house: House) -> None:
    upload_id = await house.add()
    async with house.asks("bob") as api:
        await api.delete(f"/uploads/{upload_id}")
    async with house.store.read() as session:
        entries = (await session.scalars(select(AuditEntry).order_by(col(AuditEntry.id)))).all()
    assert [(entry.action, entry.author, entry.target) for entry in entries] == [
        ("upload.create", "server", f"upload:{upload_id}"),
        ("upload.delete", "bob", f"upload:{upload_id}"),
    ]


async def test_pages_tell_each_upload_once(house: House) -> None:
    ids = [await house.add(content=JPEG + bytes([number])) for number in range(5)]
    found: list[str] = []
    async with house.asks("bob") as api:
        query: dict[str, str | int] = {"limit": 2, "device_id": DEVICE, "kind": "screenshot"}
        while True:
            page = (await api.get("/uploads", params=query)).json()
            found += [item["id"] for item in page["items"]]
            if "next" not in page or page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert (await api.get("/uploads", params={"cursor": "x"})).status_code == 422
        assert (await api.get("/uploads", params={"kind": "photo"})).json()["items"] == []
    assert found == ids[::-1]


async def test_a_browser_only_shows_a_picture(house: House) -> None:
    upload_id = await house.add()
    async with house.asks("bob") as api:
        reply = await api.get(f"/uploads/{upload_id}/content")
    assert reply.content == JPEG
    assert reply.headers["content-type"] == "image/jpeg"
    assert reply.headers["content-length"] == str(len(JPEG))
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in reply.headers["content-security-policy"]
    assert reply.headers["content-disposition"] == f'inline; filename="screenshot-{upload_id}.jpg"'


async def test_a_picture_that_was_lost_is_told(house: House, tmp_path: Path) -> None:
    upload_id = await house.add()
    for path in (tmp_path / "files" / "objects").glob("*/*"):
        path.unlink()
    async with house.asks("bob") as api:
        reply = await api.get(f"/uploads/{upload_id}/content")
        assert reply.status_code == 410
        assert str(tmp_path) not in reply.text
    async with house.asks("ada") as api:
        use = (await api.get("/files")).json()
    assert len(use["damaged"]) == 1
    assert (use["files"], use["quota_bytes"]) == (1, 1_000_000)


async def test_uploads_end_with_their_time_and_their_device(house: House) -> None:
    await house.add()
    house.clock.forward(23 * 3600)
    async with house.store.write() as session:
        await expire_uploads(session, house.clock.now)
    async with house.asks("bob") as api:
        assert len((await api.get("/uploads")).json()["items"]) == 1
        house.clock.forward(3601)
        async with house.store.write() as session:
            await expire_uploads(session, house.clock.now)
        assert (await api.get("/uploads")).json()["items"] == []
        await house.add()
        async with house.store.write() as session:
            await delete_of_devices(session, [DEVICE])
        assert (await api.get("/uploads")).json()["items"] == []


async def test_the_owner_takes_a_screenshot(house: House) -> None:
    house.camera.upload_id = await house.add()
    async with house.asks("bob") as api:
        reply = await api.post(f"/devices/{DEVICE}/screenshot", json={"quality": 50})
        assert (reply.status_code, reply.json()["id"]) == (201, house.camera.upload_id)
        assert (await api.post(f"/devices/{DEVICE}/screenshot")).status_code == 201
        assert (await api.post(f"/devices/{DEVICE}/screenshot", json={"quality": 0})).status_code == 422
        house.camera.fails = Conflict("it is not connected")
        assert (await api.post(f"/devices/{DEVICE}/screenshot")).status_code == 409
        house.camera.fails = ToolError("it has no screen")
        assert (await api.post(f"/devices/{DEVICE}/screenshot")).status_code == 502
    assert [asked[2] for asked in house.camera.asked[:2]] == [50, 80]


@pytest.mark.parametrize(("name", "device"), [("eve", DEVICE), ("bob", "aa-bb-cc-00-11-99"), ("ada", "x")])
async def test_a_stranger_takes_no_screenshot(house: House, name: str, device: str) -> None:
    async with house.asks(name) as api:
        assert (await api.post(f"/devices/{device}/screenshot")).status_code == 404
    assert house.camera.asked == []


async def test_what_files_take_is_for_administrators(house: House) -> None:
    async with house.asks("bob") as api:
        assert (await api.get("/files")).status_code == 403
