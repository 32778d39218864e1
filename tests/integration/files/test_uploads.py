"""Pictures are taken at one-time links over real HTTP, from devices and from attackers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlmodel import col, select
from starlette.applications import Starlette

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.files.upload_links import UploadLink, UploadLinks
from mimi_mqtt.files.uploads import Uploads
from mimi_mqtt.http import limits
from mimi_mqtt.http.device import uploads as endpoint
from mimi_mqtt.http.device.uploads import UPLOAD_PATH, PictureUpload
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.shares import Ledger
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import StoredUpload
from tests.fakes.blobs import blobs_in, names, objects_of, whole
from tests.integration.http.raw import RawHttp
from tests.integration.test_app import until

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40
PNG = b"\x89PNG\r\n\x1a\n" + bytes(500)
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(500)
MAX_BYTES = 100_000


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


async def objects(house: "House") -> set[str]:
    return {name.rpartition("/")[2] for name in await objects_of(house.uploads.blobs.place)}


@dataclass
class House:
    """A server that takes pictures."""

    store: Store
    uploads: Uploads
    links: UploadLinks
    endpoint: PictureUpload
    http: HttpServer
    client: httpx.AsyncClient

    def link(self, device_id: str = "aa-bb-cc-00-11-22") -> str:
        """A new link's path."""
        now = asyncio.get_running_loop().time()
        secret = self.links.open(UploadLink(device_id, "u-bob", "g-home", "screenshot", now + 60), now)
        assert secret is not None
        return UPLOAD_PATH + secret

    async def post(self, content: bytes, name: str = "screenshot.jpg", path: str = "") -> httpx.Response:
        return await self.client.post(path or self.link(), files={"file": (name, content, "image/jpeg")})

    async def rows(self) -> list[StoredUpload]:
        async with self.store.read() as session:
            query = select(StoredUpload).order_by(col(StoredUpload.created_at))
            return list((await session.scalars(query)).all())


@pytest.fixture
async def house(store: Store, tmp_path: Path) -> AsyncIterator[House]:
    blobs = await blobs_in(store, tmp_path / "files")
    uploads = Uploads(blobs, max_bytes=MAX_BYTES, keep_days=1)
    links, ledger = UploadLinks(), Ledger()
    pictures = PictureUpload(links, uploads, ledger)
    app = Starlette(routes=pictures.routes())
    server = HttpServer(app, HttpSettings(), ledger=ledger)
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    await server.start(sock)
    async with httpx.AsyncClient(
        timeout=60.0, base_url=f"http://127.0.0.1:{server.port}", trust_env=False
    ) as client:
        yield House(store, uploads, links, pictures, server, client)
    await server.aclose()


@pytest.mark.parametrize(
    ("content", "media_type"), [(JPEG, "image/jpeg"), (PNG, "image/png"), (WEBP, "image/webp")]
)
async def test_a_screenshot_is_kept_with_the_type_that_its_bytes_tell(
    house: House, content: bytes, media_type: str
) -> None:
    reply = await house.post(content)
    assert (reply.status_code, reply.json()) == (200, {"success": True})
    (row,) = await house.rows()
    assert (row.device_id, row.owner_id, row.group_id) == ("aa-bb-cc-00-11-22", "u-bob", "g-home")
    assert (row.kind, row.media_type, row.bytes) == ("screenshot", media_type, len(content))
    assert await whole(house.uploads.blobs, row.sha256) == content


async def test_a_chunked_screenshot_as_firmware_sends_it(house: House) -> None:
    async def chunked() -> AsyncIterator[bytes]:
        yield b'----B\r\nContent-Disposition: form-data; name="file"; filename="screenshot.jpg"\r\n'
        yield b"Content-Type: image/jpeg\r\n\r\n"
        for start in range(0, len(JPEG), 512):
            yield JPEG[start : start + 512]
        yield b"\r\n----B--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=--B"}
    reply = await house.client.post(house.link(), content=chunked(), headers=headers)
    assert reply.status_code == 200
    assert (await house.rows())[0].bytes == len(JPEG)


async def test_a_link_is_not_used_twice(house: House) -> None:
    path = house.link()
    assert (await house.post(JPEG, path=path)).status_code == 200
    again = await house.post(JPEG, path=path)
    assert again.status_code == 404
    assert len(await house.rows()) == 1


async def test_two_uploads_at_once_to_a_link_are_one(house: House) -> None:
    path = house.link()
    replies = await asyncio.gather(*(house.post(JPEG, path=path) for _ in range(6)))
    assert sorted(reply.status_code for reply in replies) == [200, 404, 404, 404, 404, 404]
    assert len(await house.rows()) == 1


async def test_links_can_not_be_guessed_at_any_rate(house: House) -> None:
    replies = [
        await house.client.post(f"{UPLOAD_PATH}{number:022}", content=b"")
        for number in range(endpoint.GUESSES_PER_MINUTE + 2)
    ]
    assert [replies[0].status_code, replies[-1].status_code] == [404, 429]
    assert int(replies[-1].headers["Retry-After"]) >= 1
    assert (await house.post(JPEG)).status_code == 200


POLYGLOTS = [
    b"<script>alert(1)</script>" + JPEG,
    b"GIF89a" + bytes(100),
    b"%PDF-1.7" + JPEG,
    b"PK\x03\x04" + bytes(100),
    b"RIFF\x10\x00\x00\x00WAVEfmt ",
    b"\xff\xd8",
    b"",
    b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
]


@pytest.mark.parametrize("content", POLYGLOTS)
async def test_what_is_no_picture_is_refused_whatever_it_calls_itself(house: House, content: bytes) -> None:
    reply = await house.post(content, "photo.jpg")
    assert reply.status_code == 400
    assert "JPEG, PNG and WebP" in reply.json()["error"]
    assert await house.rows() == []
    assert await names(house.store) == set()


@pytest.mark.parametrize("name", ["../../../../tmp/evil.jpg", "/etc/cron.d/x", "..\\x.jpg", "a\x00b", "CON"])
async def test_the_clients_name_is_nowhere(house: House, tmp_path: Path, name: str) -> None:
    reply = await house.post(JPEG, name)
    assert reply.status_code in (200, 400)
    assert files_in(tmp_path) <= {"mimi.db", "mimi.db-wal", "mimi.db-shm", *(await objects(house))}


async def test_a_picture_that_is_too_large_is_refused_and_leaves_nothing(
    house: House, tmp_path: Path
) -> None:
    reply = await house.post(JPEG + bytes(MAX_BYTES))
    assert reply.status_code == 413
    assert "files.max_upload_mb" in reply.json()["error"]
    assert await names(house.store) == set()
    assert not list((tmp_path / "files" / "incoming").iterdir())


async def test_a_gigabyte_that_is_claimed_is_refused_unread(house: House) -> None:
    client = await RawHttp.open(house.http.port)
    client.writer.write(
        f"POST {house.link()} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
    )
    assert b" 413 " in await client.head()
    await client.close()


async def test_a_slow_upload_is_ended_and_holds_up_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FILE_IDLE_S", 0.2)
    slow = await RawHttp.open(house.http.port)
    slow.writer.write(
        f"POST {house.link()} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode()
    )
    assert (await house.post(JPEG)).status_code == 200
    assert b" 408 " in await slow.head()
    await slow.close()


async def test_a_drip_of_bytes_is_ended_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILE_TIMEOUT_S", 0.5)
    slow = await RawHttp.open(house.http.port)
    slow.writer.write(
        f"POST {house.link()} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nX: ".encode()
    )

    async def drip() -> None:
        while await slow.written():
            slow.writer.write(b"x")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    assert b" 408 " in await slow.head()
    dripping.cancel()
    await slow.close()


async def test_an_upload_that_is_cut_off_leaves_nothing(house: House, tmp_path: Path) -> None:
    path = house.link()
    client = await RawHttp.open(house.http.port)
    client.writer.write(
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'.encode()
        + JPEG
    )
    incoming = tmp_path / "files" / "incoming"
    await until(lambda: incoming.is_dir() and bool(list(incoming.iterdir())))
    await client.close()
    await until(lambda: not list(incoming.iterdir()))
    assert await house.rows() == []
    assert await names(house.store) == set()


@pytest.mark.parametrize(
    "body",
    [
        b'--x\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' * 2_000,
        b"--x\r\n" + b"A: b\r\n" * 10_000,
        b"--x\r\nX: " + b"x" * 90_000,
        b"--x\r\n\r\n" + bytes(50_000),
        b'{"file": "picture"}',
    ],
)
async def test_bombs_of_parts_and_headers_are_refused(house: House, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = await house.client.post(house.link(), content=body, headers=headers)
    assert reply.status_code == 400
    assert await house.rows() == []


async def test_uploads_at_once_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_UPLOADS", 1)
    first = await RawHttp.open(house.http.port)
    first.writer.write(
        f"POST {house.link()} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode()
    )
    path = house.link()
    await until(lambda: len(house.links) == 1)
    assert (await house.post(JPEG, path=path)).status_code == 429
    await first.close()
    await until(lambda: house.endpoint._count == 0)
    assert (await house.post(JPEG, path=path)).status_code == 200


async def test_a_full_quota_is_told(house: House, store: Store, tmp_path: Path) -> None:
    house.uploads.blobs = await blobs_in(store, tmp_path / "files", quota=1_000)
    reply = await house.post(JPEG)
    assert reply.status_code == 507
    assert "files.quota_mb" in reply.json()["error"]
