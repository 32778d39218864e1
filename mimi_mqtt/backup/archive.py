"""The content of a backup: a tar of parts in a fixed order, whose names are the format's own.

    manifest.json             version, schema, moment
    secret/server.secret      and secret/server.secret.old, where there is one
    settings/broker.yaml      where there is one
    tables/<table>/<number>   rows as gzipped lines of JSON (`store.portable`), in parts of about 1 MB
    files/<name>              objects of the place of files, by their names there
    end.json                  the number of rows of each table and of files; without it something is missing

No name is ever used as a path: a part that has another one, or is no plain file, makes the backup unusable.
"""

import gzip
import re
import tarfile
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, BinaryIO, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from mimi_mqtt.errors import BackupError

PART_BYTES: Final = 1_000_000
"""Bytes of rows after which a part ends."""
MAX_PART_BYTES: Final = 64_000_000
"""Longest part of rows that is read, unpacked: the longest row and a part."""
MAX_SMALL_BYTES: Final = 4_000_000
"""Longest manifest, secret, settings and end."""
FILE_READ_BYTES: Final = 256 << 10

_TABLE = re.compile(r"tables/([a-z][a-z0-9_]{0,62})/[0-9]{1,9}")
_FILE = re.compile(r"files/([A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,3})")
_SECRETS = {"secret/server.secret": False, "secret/server.secret.old": True}
_BLOCK = 512


class Manifest(BaseModel):
    """The origin of a backup."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str
    """Of the program that made it."""
    schema_revision: str
    made_at: datetime
    database: str
    """`sqlite` or `postgresql`; either can be restored into either."""


class End(BaseModel):
    """The contents of a whole backup."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: dict[str, int]
    files: int
    missing_files: int = 0
    """Files that the database names and that could not be read."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A file of the server's secret; `old`: the one before the last rotation."""

    content: bytes
    old: bool


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings of the server that was backed up."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table, as lines."""

    table: str
    lines: list[bytes]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file. `content` is to be read before the next part."""

    name: str
    size: int
    content: IO[bytes]


Part = Manifest | Secret | SettingsFile | Rows | StoredFile | End


class ArchiveWriter:
    """Writes the parts in order to `stream`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._rows: dict[str, int] = {}
        self._files = 0

    def manifest(self, manifest: Manifest) -> None:
        """Begins."""
        self._add("manifest.json", manifest.model_dump_json().encode())

    def secret(self, content: bytes, *, old: bool = False) -> None:
        """Adds a file of the secret."""
        self._add(f"secret/server.secret{'.old' if old else ''}", content)

    def settings(self, content: bytes) -> None:
        """Adds the settings."""
        self._add("settings/broker.yaml", content)

    def rows(self, table: str, lines: Iterable[bytes]) -> int:
        """Adds every row of a table; returns their number."""
        count = part = size = 0
        waiting: list[bytes] = []

        def flush() -> None:
            nonlocal part, size
            if size > MAX_PART_BYTES:
                raise BackupError(
                    f"a row of {table} is too long for a backup: {size} of {MAX_PART_BYTES} bytes"
                )
            self._add(f"tables/{table}/{part}", gzip.compress(b"".join(waiting), 5, mtime=0))
            waiting.clear()
            part, size = part + 1, 0

        for line in lines:
            waiting.append(line)
            count += 1
            size += len(line)
            if size >= PART_BYTES:
                flush()
        if waiting:
            flush()
        self._rows[table] = count
        return count

    async def file(self, name: str, size: int, parts: AsyncIterator[bytes]) -> None:
        """Adds a file of exactly `size` bytes. Raises BackupError when it is longer or shorter: the archive
        can't be gone on with then."""
        if not _FILE.fullmatch(f"files/{name}"):
            raise BackupError(f"a stored file has the name {name!r}, which backups do not know")
        self._head(f"files/{name}", size)
        written = 0
        async for part in parts:
            written += len(part)
            if written > size:
                break
            self._stream.write(part)
        if written != size:
            raise BackupError(f"the stored file {name} changed while it was read")
        self._stream.write(bytes(-size % _BLOCK))
        self._files += 1

    def end(self, missing_files: int = 0) -> End:
        """Ends, and returns what was written."""
        end = End(rows=self._rows, files=self._files, missing_files=missing_files)
        self._add("end.json", end.model_dump_json().encode())
        self._stream.write(bytes(2 * _BLOCK))
        self._stream.flush()
        return end

    def _add(self, name: str, content: bytes) -> None:
        self._head(name, len(content))
        self._stream.write(content + bytes(-len(content) % _BLOCK))

    def _head(self, name: str, size: int) -> None:
        head = tarfile.TarInfo(name)
        head.size, head.mode = size, 0o600
        self._stream.write(head.tobuf(tarfile.PAX_FORMAT))


def parts_of(stream: IO[bytes]) -> Iterator[Part]:
    """The parts of an archive, which begin with its Manifest and end with its End. Raises BackupError when
    it is none, has a part of another name, or parts are missing."""
    rows: dict[str, int] = {}
    files = 0
    begun = ended = False
    for part in _members(stream):
        if ended or begun is isinstance(part, Manifest):
            raise BackupError("the backup has parts in an order that no mimi-mqtt writes")
        begun = True
        if isinstance(part, Rows):
            rows[part.table] = rows.get(part.table, 0) + len(part.lines)
        elif isinstance(part, StoredFile):
            files += 1
        elif isinstance(part, End):
            ended = True
            expected = {table: count for table, count in part.rows.items() if count}
            if expected != rows or part.files != files:
                raise BackupError("the backup is not whole: rows or files are missing")
        yield part
    if not ended:
        raise BackupError("the backup is not whole: its end is missing")


def _members(stream: IO[bytes]) -> Iterator[Part]:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # it would keep every head
                content = archive.extractfile(member) if member.type == tarfile.REGTYPE else None
                if content is None:
                    raise BackupError(f"the backup has a part {member.name[:80]!r} that is no file")
                yield _part(member.name, member.size, content)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValidationError) as error:
        raise BackupError(f"the backup can't be read: {str(error).splitlines()[0]}") from None


def _part(name: str, size: int, content: IO[bytes]) -> Part:
    if match := _FILE.fullmatch(name):
        return StoredFile(match[1], size, content)
    if match := _TABLE.fullmatch(name):
        return Rows(match[1], _unpacked(_bounded(name, size, content, MAX_PART_BYTES)))
    whole = _bounded(name, size, content, MAX_SMALL_BYTES)
    if name == "manifest.json":
        return Manifest.model_validate_json(whole)
    if name == "end.json":
        return End.model_validate_json(whole)
    if name == "settings/broker.yaml":
        return SettingsFile(whole)
    if name in _SECRETS:
        return Secret(whole, _SECRETS[name])
    raise BackupError(f"the backup has a part {name[:80]!r} that no mimi-mqtt writes")


def _bounded(name: str, size: int, content: IO[bytes], most: int) -> bytes:
    if size > most:
        raise BackupError(f"the backup has a part {name[:80]!r} of {size} bytes: at most {most} are possible")
    return content.read()


def _unpacked(packed: bytes) -> list[bytes]:
    unpacking = zlib.decompressobj(31)
    content = unpacking.decompress(packed, MAX_PART_BYTES)
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise BackupError("the backup has rows that are longer than rows can be, or cut off")
    return content.splitlines(keepends=True)
