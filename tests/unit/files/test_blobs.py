"""Blobs are stored whole or not at all, within their bounds, and given back as they were."""

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimi_mqtt.errors import FileDamaged, FilesError, FileTooLarge, LimitReached, NotFound
from mimi_mqtt.files import staging
from mimi_mqtt.files.places import Bucket, Folder
from mimi_mqtt.store.engine import Store
from tests.fakes.blobs import blobs_in, check, names, objects_of, parts, whole

CONTENT = bytes(range(256)) * 4_000


async def test_a_blob_is_given_back_as_it_was(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    blob = await blobs.put(parts(CONTENT[:1000], b"", CONTENT[1000:]), max_bytes=len(CONTENT))
    assert (blob.sha256, blob.size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert await whole(blobs, blob.sha256) == CONTENT
    assert await blobs.size(blob.sha256) == len(CONTENT)
    assert await blobs.exists(blob.sha256)
    await check(store, blobs.place)


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, None), (5, 900_000), (1_023_999, None), (7, 7), (2_000_000, 3_000_000)]
)
async def test_a_range_of_a_blob_is_read(store: Store, tmp_path: Path, start: int, end: int | None) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    blob = await blobs.put(parts(CONTENT), max_bytes=len(CONTENT))
    assert await whole(blobs, blob.sha256, start, end) == CONTENT[start:end]
    content = await blobs.open_content(blob.sha256, start, end)
    assert content.size == len(CONTENT)
    assert content.end - content.start == len(CONTENT[start:end])
    async for _ in content.parts:
        pass


async def test_an_empty_file_is_a_blob(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    blob = await blobs.put(parts(), max_bytes=0)
    assert await whole(blobs, blob.sha256) == b""
    assert await blobs.exists(blob.sha256)


async def test_the_same_bytes_are_stored_once(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    put = await asyncio.gather(*(blobs.put(parts(CONTENT), max_bytes=2_000_000) for _ in range(5)))
    assert len(set(put)) == 1
    assert (await blobs.usage()).blobs == 1
    await check(store, blobs.place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
async def test_what_root_writes_belongs_to_the_owner_of_the_folder(store: Store, tmp_path: Path) -> None:
    """The command line of the systemd example runs as root, and the service as another user."""
    os.chown(tmp_path, 12_345, 12_346)
    blobs = await blobs_in(store, tmp_path / "data" / "files")
    await blobs.put(parts(CONTENT), max_bytes=len(CONTENT))
    made = [each.stat() for each in (tmp_path / "data").rglob("*")]
    assert len(made) >= 5  # files, incoming, objects, the folder of the hash, and the file
    assert {(each.st_uid, each.st_gid) for each in made} == {(12_345, 12_346)}


@pytest.mark.parametrize("sha256", ["", "x", "../../etc/passwd", "0" * 64, "é" * 64])
async def test_there_is_no_blob_of_another_name(store: Store, tmp_path: Path, sha256: str) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    assert not await blobs.exists(sha256)
    with pytest.raises(NotFound):
        await blobs.size(sha256)
    with pytest.raises(NotFound):
        await whole(blobs, sha256)


async def test_a_file_that_is_too_large_leaves_nothing(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    with pytest.raises(FileTooLarge, match="larger than 10 bytes"):
        await blobs.put(parts(b"123456", b"12345"), max_bytes=10)
    assert not list((tmp_path / "files" / "incoming").iterdir())
    assert await objects_of(blobs.place) == set()


async def test_files_of_others_can_not_be_read(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    await blobs.put(parts(CONTENT), max_bytes=2_000_000)
    for path in (tmp_path / "files").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_what_is_sent_too_slowly_and_cut_off_leaves_nothing(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files")

    async def cut() -> AsyncIterator[bytes]:
        yield CONTENT
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.put(cut(), max_bytes=2_000_000)
    assert not list((tmp_path / "files" / "incoming").iterdir())
    assert await names(store) == set()
    assert blobs.failure == ""


async def test_the_quota_is_kept_by_files_that_come_at_once(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files", quota=100_000)
    others = await blobs_in(store, tmp_path / "files", quota=100_000)  # as on another node
    put = await asyncio.gather(
        *(
            (blobs, others)[number % 2].put(parts(bytes([number]) * 30_000), max_bytes=30_000)
            for number in range(10)
        ),
        return_exceptions=True,
    )
    refused = [found for found in put if isinstance(found, BaseException)]
    assert {type(error) for error in refused} == {LimitReached}
    assert 1 <= len(put) - len(refused) <= 3
    usage = await blobs.usage()
    assert (usage.bytes, usage.quota) == (30_000 * (len(put) - len(refused)), 100_000)
    assert "files.quota_mb" in str(refused[0])
    await check(store, blobs.place)


async def test_an_endless_file_is_refused_when_the_quota_is_reached(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files", quota=1_000_000)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield bytes(65_536)

    with pytest.raises(LimitReached):
        await blobs.put(endless(), max_bytes=1 << 40)
    assert sent < 1_100_000


async def test_only_so_many_files_are_received_at_once(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    go_on, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(number: int) -> AsyncIterator[bytes]:
        yield bytes([number])
        begun.release()
        await go_on.wait()

    async with asyncio.TaskGroup() as group:
        slow_ones = [
            group.create_task(blobs.put(slow(number), max_bytes=9)) for number in range(staging.MAX_STAGED)
        ]
        for _ in slow_ones:
            await begun.acquire()
        with pytest.raises(LimitReached, match="being received"):
            await blobs.put(parts(b"x"), max_bytes=9)
        go_on.set()
    assert len({task.result().sha256 for task in slow_ones}) == staging.MAX_STAGED


async def test_a_damaged_file_is_told_before_its_last_byte(store: Store, tmp_path: Path) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    blob = await blobs.put(parts(CONTENT), max_bytes=2_000_000)
    (name,) = await objects_of(blobs.place)
    path = tmp_path / "files" / name
    path.write_bytes(b"?" + CONTENT[1:])
    content = await blobs.open_content(blob.sha256)
    given = bytearray()

    async def read() -> None:
        async for part in content.parts:
            given.extend(part)

    with pytest.raises(FileDamaged, match="damaged"):
        await read()
    assert len(given) < len(CONTENT)
    assert list(blobs.damaged) == [blob.sha256]
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(FileDamaged, match="cut off"):
        await whole(blobs, blob.sha256)
    path.unlink()
    with pytest.raises(FileDamaged, match="missing"):
        await blobs.open_content(blob.sha256, 5, 10)
    assert not await blobs.exists(blob.sha256)


async def test_a_file_that_was_lost_is_stored_again_when_it_is_sent_again(
    store: Store, tmp_path: Path
) -> None:
    blobs = await blobs_in(store, tmp_path / "files")
    blob = await blobs.put(parts(CONTENT), max_bytes=2_000_000)
    (name,) = await objects_of(blobs.place)
    (tmp_path / "files" / name).unlink()
    with pytest.raises(FileDamaged):
        await whole(blobs, blob.sha256)
    assert await blobs.put(parts(CONTENT), max_bytes=2_000_000) == blob
    assert await whole(blobs, blob.sha256) == CONTENT
    assert blobs.damaged == {}
    await check(store, blobs.place)


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "denied")]
)
async def test_a_disk_that_takes_nothing_is_explained(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    blobs = await blobs_in(store, tmp_path / "files")

    def fails(_: int, __: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", fails)
        with pytest.raises(FilesError, match=said):
            await blobs.put(parts(CONTENT), max_bytes=2_000_000)
    assert said in blobs.failure
    await check(store, blobs.place)
    await blobs.put(parts(CONTENT), max_bytes=2_000_000)
    assert blobs.failure == ""


async def test_a_folder_that_can_not_be_made_stops_nothing_else(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    blobs = await blobs_in(store, tmp_path / "file" / "files")
    assert "can't be" in blobs.failure
    with pytest.raises(FilesError, match="can't be written"):
        await blobs.put(parts(b"x"), max_bytes=1)


async def test_an_s3_that_is_out_of_reach_is_explained(store: Store, tmp_path: Path) -> None:
    place = Bucket("voice", endpoint="http://127.0.0.1:9", access_key="a", secret_key="b")
    blobs = await blobs_in(store, tmp_path / "files", place)
    with pytest.raises(FilesError, match=r"bucket voice of http://127\.0\.0\.1:9 can't be written") as told:
        await blobs.put(parts(b"x"), max_bytes=1)
    assert "\n" not in str(told.value)
    assert not list((tmp_path / "files" / "incoming").iterdir())


async def test_a_name_outside_the_folder_is_refused(tmp_path: Path) -> None:
    place = Folder(tmp_path / "files")
    await place.open()
    (tmp_path / "secret").write_bytes(b"x")
    with pytest.raises(FilesError):
        await place.size("../secret")
