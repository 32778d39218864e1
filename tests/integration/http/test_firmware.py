"""Downloads of firmware over a real connection: as stock firmware wants them, cut and continued, forged,
many."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.fleet.firmware.assets import NewAssets
from mimi_mqtt.fleet.firmware.downloads import Key
from mimi_mqtt.fleet.firmware.images import NewImage
from mimi_mqtt.fleet.firmware.rollouts import Terms
from mimi_mqtt.fleet.firmware_offers import FirmwareOffer
from mimi_mqtt.http.device.firmware import FirmwareDownloads
from mimi_mqtt.http.replies import CommonHeaders
from mimi_mqtt.http.server import HttpServer
from tests.fakes.blobs import parts
from tests.fakes.firmware import ADA, BOARD, Workshop, device_id, report, workshop_in
from tests.firmware import images
from tests.integration.test_app import until

pytestmark = pytest.mark.timeout(60)

# Larger than what sockets buffer on the way.
IMAGE = images.image([images.descriptor() + bytes(range(256)) * 48_000])


@dataclass
class House:
    """A workshop whose downloads are served, with one device that was offered an image."""

    workshop: Workshop
    http: HttpServer
    client: httpx.AsyncClient
    rollout: int
    path: str

    async def get(self, path: str | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path or self.path, headers=named)

    async def states(self) -> dict[str, str]:
        await self.workshop.written()
        return await self.workshop.states(self.rollout)


@asynccontextmanager
async def house_in(folder: Path) -> AsyncIterator[House]:
    async with workshop_in(folder) as workshop:
        row = await workshop.images.add(parts(IMAGE), NewImage(BOARD), ADA, workshop.moment.now)
        assert row.id is not None
        made = await workshop.rollouts.create(row.id, Terms(), ADA)
        assert made.row.id is not None
        app = Starlette(routes=FirmwareDownloads(workshop.downloads, workshop.links).routes())
        server = HttpServer(CommonHeaders(app), HttpSettings())
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        await server.start(sock)
        # Links are checked against the real clock.
        workshop.moment.now = datetime.now(UTC)
        try:
            async with httpx.AsyncClient(
                timeout=60.0, base_url=f"http://127.0.0.1:{server.port}", trust_env=False
            ) as client:
                found = House(workshop, server, client, made.row.id, "")
                found.path = await offered(found, 1)
                yield found
        finally:
            await server.aclose()


async def offered(house: House, number: int) -> str:
    """The path and query that a device is offered."""
    await house.workshop.device(number)
    answer = await house.workshop.boot(number, told=report(slot_bytes=16_000_000))
    assert isinstance(answer, FirmwareOffer)
    address = urlsplit(answer.url)
    return f"{address.path}?{address.query}"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path) as made:
        yield made


async def read_raw(port: int, request: bytes, *, most: int | None = None) -> bytes:
    """What the server answers, until it ends the connection or `most` bytes came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    found = b""
    while (piece := await reader.read(65_536)) and (most is None or len(found) < most):
        found += piece
    writer.close()
    return found


async def test_a_plain_get_is_answered_as_stock_firmware_wants_it(house: House) -> None:
    """200, with a Content-Length, never chunked, never redirected (device contract, section 1)."""
    request = f"GET {house.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = await read_raw(house.http.port, request.encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "http/1.1 200 ok"
    assert f"content-length: {len(IMAGE)}" in lines
    assert not any(line.startswith("transfer-encoding") for line in lines)
    assert body == IMAGE
    assert await house.states() == {"01": "downloaded"}
    assert (await house.workshop.takers(house.rollout))[0].bytes_sent == len(IMAGE)


async def test_head_tells_the_size_and_changes_nothing(house: House) -> None:
    answer = await house.client.head(house.path)
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(IMAGE)))
    assert await house.states() == {"01": "offered"}
    assert house.workshop.downloads.running == 0


async def test_a_part_is_answered_with_its_range(house: House) -> None:
    etag = (await house.client.head(house.path)).headers["etag"]
    part = await house.get(Range="bytes=1000-1999", If_Range=etag)
    assert (part.status_code, part.content) == (206, IMAGE[1_000:2_000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(IMAGE)}"
    whole = await house.get(Range="bytes=1000-1999", If_Range='"other"')
    assert (whole.status_code, len(whole.content)) == (200, len(IMAGE))
    beyond = await house.get(Range=f"bytes={len(IMAGE)}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(IMAGE)}")
    assert (await house.get(If_None_Match=etag)).status_code == 304


async def test_a_download_that_was_cut_goes_on_and_is_whole(house: House) -> None:
    request = f"GET {house.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    begun = (await read_raw(house.http.port, request, most=300_000)).partition(b"\r\n\r\n")[2]
    await until(lambda: house.workshop.downloads.running == 0)
    assert await house.states() == {"01": "downloading"}
    sent = (await house.workshop.takers(house.rollout))[0].bytes_sent
    assert len(begun) <= sent < len(IMAGE)
    rest = await house.get(Range=f"bytes={len(begun)}-")
    assert begun + rest.content == IMAGE
    assert await house.states() == {"01": "downloaded"}


@pytest.mark.parametrize(
    "how", ["no signature", "forged", "expired", "later", "other device", "other roll-out"]
)
async def test_a_link_that_was_not_given_out_is_refused(house: House, how: str) -> None:
    """Attack: forged, expired and transplanted links."""
    path, _, query = house.path.partition("?")
    until, _, signature = query.removeprefix("until=").partition("&sig=")
    links = house.workshop.links
    bad = {
        "no signature": path,
        "forged": f"{path}?until={until}&sig={'A' * len(signature)}",
        "expired": links.firmware("", house.rollout, device_id(1), 1_000_000.0),
        "later": f"{path}?until={int(until) + 1}&sig={signature}",
        "other device": f"{path.replace(device_id(1), device_id(2))}?{query}",
        "other roll-out": f"{path.replace(f'/{house.rollout}/', '/99/')}?{query}",
    }[how]
    answer = await house.get(bad)
    assert answer.status_code == 403
    assert IMAGE[:16] not in answer.content
    assert await house.states() == {"01": "offered"}


async def test_a_good_link_of_a_roll_out_that_was_paused_gives_nothing(house: House) -> None:
    await house.workshop.rollouts.pause(house.rollout, ADA)
    assert (await house.get()).status_code == 409
    await house.workshop.rollouts.resume(house.rollout, ADA)
    assert (await house.get()).status_code == 200


async def test_beyond_the_bound_a_device_is_told_to_come_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimi_mqtt.fleet.firmware.downloads.MAX_AT_ONCE", 1)
    held = await house.workshop.downloads.open(Key("firmware", house.rollout, device_id(1)))
    answer = await house.get()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    held.close(complete=False)
    assert (await house.get()).status_code == 200


async def test_many_download_at_once_and_each_gets_all_of_it(house: House) -> None:
    paths = [house.path, *[await offered(house, number) for number in range(2, 9)]]
    answers = await asyncio.gather(*(house.get(path) for path in paths))
    assert all(answer.content == IMAGE for answer in answers)
    assert set((await house.states()).values()) == {"downloaded"}
    assert house.workshop.downloads.running == 0


async def test_a_file_that_is_missing_is_told_and_costs_no_place(house: House) -> None:
    for path in (house.workshop.blobs.staging._folder.parent).rglob("*"):
        if path.is_file() and "objects" in path.parts:
            path.unlink()
    assert (await house.get()).status_code == 503
    assert house.workshop.downloads.running == 0
    assert await house.states() == {"01": "offered"}


async def test_assets_are_served_in_the_same_way(house: House) -> None:
    workshop, data = house.workshop, images.assets(3)
    row = await workshop.assets.add(parts(data), NewAssets(BOARD, "fonts"), ADA)
    assert row.id is not None
    await workshop.assets.hand_over(row.id, device_id(1), ADA)
    address = workshop.links.assets("", row.id, device_id(1), workshop.moment.now.timestamp())
    assert (await house.get(address)).content == data
    await workshop.written()
    (delivery,) = await workshop.assets.deliveries(row.id)
    assert (delivery.progress, delivery.bytes_sent) == ("downloaded", len(data))
    other = workshop.links.assets("", row.id, device_id(2), workshop.moment.now.timestamp())
    assert (await house.get(other)).status_code == 404
