"""What is in a backup is what this program writes, in its order, or the backup is refused."""

import gzip
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.backup import archive
from mimi_mqtt.backup.archive import ArchiveWriter, End, Manifest, Rows, Secret, StoredFile, parts_of
from mimi_mqtt.errors import BackupError

MANIFEST = Manifest(
    version="1", schema_revision="0010", made_at=datetime(2026, 8, 1, tzinfo=UTC), database="sqlite"
)
END = b'{"rows":{},"files":0}'


def tar(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as writing:
        for name, content in members:
            head = tarfile.TarInfo(name)
            head.size, head.type = (
                len(content),
                kind if name.startswith(("files", "/", "..")) else tarfile.REGTYPE,
            )
            head.linkname = "/etc/passwd"
            writing.addfile(head, io.BytesIO(content))
    stream.seek(0)
    return stream


async def parts(*given: bytes) -> AsyncIterator[bytes]:
    for part in given:
        yield part


FIRST = ("manifest.json", MANIFEST.model_dump_json().encode())
LAST = ("end.json", END)


async def test_what_was_written_is_read() -> None:
    stream = io.BytesIO()
    writer = ArchiveWriter(stream)
    writer.manifest(MANIFEST)
    writer.secret(b"aa")
    lines = [b'{"number":%d}\n' % number for number in range(200_000)]
    assert writer.rows("turns", lines) == 200_000
    assert writer.rows("devices", []) == 0
    await writer.file("objects/" + "a" * 150, 700, parts(b"x" * 600, b"y" * 100))
    end = writer.end(missing_files=3)
    stream.seek(0)
    found: list[object] = []
    for part in parts_of(stream):
        found.append((part.name, part.content.read()) if isinstance(part, StoredFile) else part)
    assert found[0] == MANIFEST
    assert found[1] == Secret(b"aa", old=False)
    assert [line for part in found if isinstance(part, Rows) for line in part.lines] == lines
    assert found[-2] == ("objects/" + "a" * 150, b"x" * 600 + b"y" * 100)
    assert found[-1] == end == End(rows={"turns": 200_000, "devices": 0}, files=1, missing_files=3)
    assert sum(isinstance(part, Rows) for part in found) > 2


@pytest.mark.parametrize("sizes", [(10,), (0,), (5, 4), (5, 6)])
async def test_a_file_that_changed_meanwhile_is_refused(sizes: tuple[int, ...]) -> None:
    writer = ArchiveWriter(io.BytesIO())
    if sum(sizes) == 10:
        await writer.file("a", 10, parts(*(bytes(size) for size in sizes)))
        return
    with pytest.raises(BackupError, match="changed while it was read"):
        await writer.file("a", 10, parts(*(bytes(size) for size in sizes)))


@pytest.mark.parametrize(
    "name",
    [
        "../etc/passwd", "/etc/passwd", "files/../../secret", "files//etc", "files/.ssh", "files/a/../b",
        "tables/x",
        "tables/../x/0", "tables/devices;drop/0", "settings/other.yaml", "secret/../server.secret",
        "x" * 200, "files/",
        "files/a/b/c/d/e", "tables/Devices/0",
    ],
)  # fmt: skip
def test_a_part_of_another_name_is_refused(name: str) -> None:
    with pytest.raises(BackupError, match=r"that no mimi-mqtt writes|no file|can't be read"):
        list(parts_of(tar(FIRST, (name, b"x"), LAST)))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_a_part_that_is_no_plain_file_is_refused(kind: bytes) -> None:
    with pytest.raises(BackupError, match=r"no file|can't be read"):
        list(parts_of(tar(FIRST, ("files/a", b""), LAST, kind=kind)))


ROWS = ("tables/devices/0", gzip.compress(b"{}\n"))
WRONG: list[Callable[[], io.BytesIO]] = [
    lambda: tar(),
    lambda: tar(FIRST),
    lambda: tar(LAST),
    lambda: tar(ROWS, FIRST, LAST),
    lambda: tar(FIRST, LAST, ROWS),
    lambda: tar(FIRST, FIRST, LAST),
    lambda: tar(FIRST, ROWS, LAST),
    lambda: tar(FIRST, ("files/a", b"x"), LAST),
    lambda: tar(FIRST, ("end.json", b'{"rows":{"devices":1},"files":0}')),
    lambda: tar(FIRST, ("end.json", b"[]")),
    lambda: tar(("manifest.json", b"{}"), LAST),
    lambda: tar(FIRST, ("tables/devices/0", b"no gzip"), LAST),
    lambda: tar(FIRST, ("tables/devices/0", ROWS[1][:-4]), LAST),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_parts_that_are_missing_or_in_another_order_are_refused(number: int) -> None:
    with pytest.raises(BackupError):
        list(parts_of(WRONG[number]()))


def test_rows_that_unpack_to_more_than_rows_can_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_PART_BYTES", 1_000_000)
    bomb = gzip.compress(bytes(100_000_000), 9)
    with pytest.raises(BackupError, match="longer than rows can be"):
        list(parts_of(tar(FIRST, ("tables/devices/0", bomb), LAST)))
    monkeypatch.setattr(archive, "MAX_SMALL_BYTES", 1_000)
    with pytest.raises(BackupError, match="at most 1000 are possible"):
        list(parts_of(tar(FIRST, ("settings/broker.yaml", bytes(1_001)), LAST)))


def test_a_row_that_could_not_be_restored_is_not_backed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_PART_BYTES", 1_000)
    with pytest.raises(BackupError, match="too long for a backup"):
        ArchiveWriter(io.BytesIO()).rows("devices", [bytes(1_001)])


@given(st.binary(max_size=2_000))
def test_bytes_of_others_are_refused(content: bytes) -> None:
    with pytest.raises(BackupError):
        list(parts_of(io.BytesIO(content)))
