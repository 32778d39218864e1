"""Blobs in a real S3: the same as in a folder, and nothing half written when it is cut off."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mimi_mqtt.errors import FileDamaged, FilesError
from mimi_mqtt.files.collection import ORPHANS_AFTER_S, Collector
from mimi_mqtt.files.places import OBJECTS, PART_BYTES, Bucket
from mimi_mqtt.store.engine import Store
from tests.fakes.blobs import Clock, blobs_in, check, names, objects_of, parts, whole
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.timeout(90)

CONTENT = bytes(range(256)) * 4_000


async def large(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, 1 << 20):
        yield start.to_bytes(8, "big") * ((1 << 20) // 8)


async def test_blobs_in_s3(store: Store, s3: S3Server, tmp_path: Path) -> None:
    clock = Clock()
    place = s3.bucket("fleet/one/")
    blobs = await blobs_in(store, tmp_path, place, clock=clock)
    small = await blobs.put(parts(CONTENT), max_bytes=2_000_000)
    assert await whole(blobs, small.sha256) == CONTENT
    assert await whole(blobs, small.sha256, 1_000, 500_000) == CONTENT[1_000:500_000]
    assert await whole(blobs, small.sha256, 1_023_999) == CONTENT[-1:]
    # In several parts, and once for two that send the same.
    both = await asyncio.gather(*(blobs.put(large(2 * PART_BYTES), max_bytes=1 << 30) for _ in range(2)))
    assert both[0] == both[1]
    found = hashlib.sha256()
    async for part in blobs.read(both[0].sha256):
        found.update(part)
    assert found.hexdigest() == both[0].sha256
    await check(store, place)
    assert not list((tmp_path / "incoming").iterdir())

    # An object of another's, outside of ours, and an orphan.
    foreign = s3.bucket()
    import obstore

    await obstore.put_async(foreign._objects, "holiday.jpg", b"x")
    await obstore.put_async(place._objects, f"{OBJECTS}/ab/orphan", b"x")
    (name,) = {name for name in await objects_of(place) if small.sha256 in name}
    await place.delete(name)
    assert not await blobs.exists(small.sha256)
    with pytest.raises(FileDamaged, match="missing"):
        await whole(blobs, small.sha256)

    collector = Collector(blobs)
    await collector.collect()
    clock.forward(ORPHANS_AFTER_S + 60)
    new = await blobs.put(parts(b"new"), max_bytes=3)
    await collector.collect()
    assert await names(store) == {new.sha256}
    assert len(await objects_of(place)) == 1
    assert await foreign.size("holiday.jpg") == 1
    assert (await blobs.usage()).bytes == 3


async def test_a_bucket_that_is_not_there_is_explained(store: Store, s3: S3Server, tmp_path: Path) -> None:
    place = Bucket("no-such-bucket", endpoint=s3.url, access_key="key", secret_key="secret")
    blobs = await blobs_in(store, tmp_path, place)
    with pytest.raises(FilesError, match=r"bucket no-such-bucket .*Check files\.url"):
        await blobs.put(parts(b"x"), max_bytes=1)
    assert "no-such-bucket" in blobs.failure


@asynccontextmanager
async def cut_after(url: str, allowed: int) -> AsyncIterator[str]:
    """A way to the server that breaks for good once so many bytes were sent."""
    host, port = url.removeprefix("http://").split(":")
    sent = 0

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        nonlocal sent
        while part := await reader.read(65_536):
            if counted:
                sent += len(part)
            if sent > allowed:
                break
            writer.write(part)
            await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if sent > allowed:
            writer.close()
            return
        there, back = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(pass_on(reader, back, counted=True), pass_on(there, writer, counted=False))
        except OSError:
            pass
        finally:
            back.close()
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_s3_that_is_cut_off_in_the_middle_of_an_upload_leaves_nothing(
    store: Store, s3: S3Server, tmp_path: Path
) -> None:
    clock = Clock()
    async with cut_after(s3.url, PART_BYTES + 1_000_000) as url:
        place = Bucket("voice", endpoint=url, access_key="key", secret_key="secret")
        blobs = await blobs_in(store, tmp_path, place, clock=clock)
        with pytest.raises(FilesError, match="can't be written"):
            await blobs.put(large(3 * PART_BYTES), max_bytes=1 << 30)
        assert blobs.failure
        assert not list((tmp_path / "incoming").iterdir())
        assert await names(store) == set()
        with pytest.raises(FilesError):
            await Collector(blobs).collect()
    again = await blobs_in(store, tmp_path, s3.bucket(), clock=clock)
    assert await objects_of(again.place) == set()
    blob = await again.put(parts(CONTENT), max_bytes=2_000_000)
    await Collector(again).collect()
    assert await whole(again, blob.sha256) == CONTENT
    assert (await again.usage()).bytes == blob.size
    await check(store, again.place)
