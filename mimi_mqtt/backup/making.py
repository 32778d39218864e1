"""Making of a backup, also while the server runs: one moment's rows, the secret, the files, the settings."""

import contextlib
import errno
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mimi_mqtt import __version__
from mimi_mqtt.backup.archive import ArchiveWriter, End, Manifest
from mimi_mqtt.backup.ports import DRAFT_SUFFIX, FilePlace, Installation, Progress, silent
from mimi_mqtt.backup.sealing import Sealer, check_passphrase
from mimi_mqtt.errors import BackupError, StoreError
from mimi_mqtt.fleet.secret_files import OLD_SECRET_FILE, SECRET_FILE
from mimi_mqtt.store.migrating import newer, revision_of, revisions
from mimi_mqtt.store.portable import PortableTable, tables_of

BLOBS: Final = "blobs"
"""The table of stored files; its column `object` has their names in the place of files."""
_MAX_SETTINGS_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made: its size in bytes and what it has."""

    path: Path
    bytes: int
    manifest: Manifest
    end: End


async def make(
    of: Installation, path: Path, passphrase: str, progress: Progress = silent, *, now: datetime | None = None
) -> Made:
    """Writes a backup to `path`, which appears there whole or not at all, for this user alone.

    Raises BackupError when there is something already, the disk is full, or nothing can be read; StoreError.
    """
    check_passphrase(passphrase)
    with _explained(path), _draft(path) as file, Sealer(file, passphrase) as sealer:
        archive = ArchiveWriter(sealer.stream)
        manifest, end = await _write(of, archive, now or datetime.now(UTC), progress)
    return Made(path, _size(path), manifest, end)


async def _write(
    of: Installation, archive: ArchiveWriter, now: datetime, progress: Progress
) -> tuple[Manifest, End]:
    async with _snapshot(of) as (snapshot, revision):
        manifest = Manifest(
            version=__version__,
            schema_revision=revision,
            made_at=now,
            database="sqlite" if of.store.is_sqlite else "postgresql",
        )
        archive.manifest(manifest)
        _write_files_of(of, archive)
        tables = tables_of(revision)
        await snapshot.run_sync(_write_rows, archive, tables, progress)
        names = await snapshot.run_sync(_object_names) if BLOBS in tables else []
    missing = 0
    if names and of.files is not None:
        progress(f"files: {len(names)}")
        missing = await _write_objects(of.files, names, archive)
    elif names:
        missing = len(names)
    return manifest, archive.end(missing)


@asynccontextmanager
async def _snapshot(of: Installation) -> AsyncIterator[tuple[AsyncConnection, str]]:
    await of.store.revision()  # that there is a database
    async with of.store.maintenance(writes=False) as connection:
        revision = await connection.run_sync(revision_of)
        if revision is None:
            raise StoreError(f"there is no database at {of.store.place}: start the server once")
        if revision not in {step.name for step in revisions()}:
            raise newer(revision)
        yield connection, revision


def _write_files_of(of: Installation, archive: ArchiveWriter) -> None:
    secret = of.data_dir / SECRET_FILE
    try:
        archive.secret(secret.read_bytes())
    except OSError as error:
        raise BackupError(f"the server's secret {secret} can't be read: {error.strerror}") from error
    with contextlib.suppress(FileNotFoundError):
        archive.secret((of.data_dir / OLD_SECRET_FILE).read_bytes(), old=True)
    if of.settings_file is not None and of.settings_file.is_file():
        if of.settings_file.stat().st_size > _MAX_SETTINGS_BYTES:
            raise BackupError(f"{of.settings_file} is larger than {_MAX_SETTINGS_BYTES} bytes")
        archive.settings(of.settings_file.read_bytes())


def _write_rows(
    connection: Connection, archive: ArchiveWriter, tables: dict[str, PortableTable], progress: Progress
) -> None:
    for name, table in tables.items():
        if count := archive.rows(name, table.read(connection)):
            progress(f"{name}: {count}")


def _object_names(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT object FROM blobs ORDER BY object")).scalars())


async def _write_objects(files: FilePlace, names: list[str], archive: ArchiveWriter) -> int:
    """Adds the files, and returns how many of them are not there."""
    await files.open()
    missing = 0
    for name in names:
        size = await files.size(name)
        if size is None:
            missing += 1
            continue
        await archive.file(name, size, files.read(name, 0, size))
    return missing


def _size(path: Path) -> int:
    return path.stat().st_size


@contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that gets its name when the block ends well."""
    if path.exists():
        raise BackupError(f"{path} is there already: choose another name, or delete it")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT_SUFFIX}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        try:
            path.hardlink_to(draft)  # a link never replaces
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "free some space, or name another folder" if full else "let this user write to its folder"
        told = "the disk is full" if full else error.strerror
        raise BackupError(f"the backup {path} can't be written: {told}; {cure}") from error
