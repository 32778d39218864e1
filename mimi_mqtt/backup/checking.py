"""Proof of a backup: all of it is read and every row understood; nothing is changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mimi_mqtt.backup.archive import (
    FILE_READ_BYTES,
    End,
    Manifest,
    Part,
    Rows,
    Secret,
    SettingsFile,
    StoredFile,
)
from mimi_mqtt.backup.archive import parts_of as parts_of_archive
from mimi_mqtt.backup.sealing import unsealed
from mimi_mqtt.errors import BackupError
from mimi_mqtt.store.migrating import newer, revisions
from mimi_mqtt.store.portable import PortableTable, tables_of


@dataclass(frozen=True, slots=True)
class Checked:
    """The contents of a backup; it can be restored by this program."""

    manifest: Manifest
    end: End
    has_settings: bool


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file of a backup. Raises BackupError."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BackupError(f"{path} can't be read: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def parts_of(file: BinaryIO, passphrase: str) -> Iterator[Iterator[Part]]:
    """The parts of a backup, from its beginning. Raises BackupError, see `sealing.unsealed` and
    `archive.parts_of`."""
    file.seek(0)
    with unsealed(file, passphrase) as stream:
        yield parts_of_archive(stream)


def check(file: BinaryIO, passphrase: str) -> Checked:
    """Reads all of a backup. Raises BackupError when it can't be restored, StoreError when a row of it can't
    be read or its schema is newer."""
    manifest: Manifest | None = None
    end: End | None = None
    tables: dict[str, PortableTable] = {}
    secrets = 0
    has_settings = False
    with parts_of(file, passphrase) as parts:
        for part in parts:
            match part:
                case Manifest():
                    manifest = part
                    tables = known_tables(manifest)
                case Secret():
                    secrets += not part.old
                case SettingsFile():
                    has_settings = True
                case Rows():
                    check_rows(tables, part)
                case StoredFile():
                    while part.content.read(FILE_READ_BYTES):
                        pass
                case End():
                    end = part
    if manifest is None or end is None or secrets != 1:
        raise BackupError("the backup is not whole: the server's secret is missing")
    return Checked(manifest, end, has_settings)


def known_tables(manifest: Manifest) -> dict[str, PortableTable]:
    """The tables of the backup's schema. Raises StoreError when that is newer than this program."""
    if manifest.schema_revision not in {step.name for step in revisions()}:
        raise newer(manifest.schema_revision)
    return tables_of(manifest.schema_revision)


def check_rows(tables: dict[str, PortableTable], part: Rows) -> PortableTable:
    """The table of these rows, each of which can be read. Raises BackupError, StoreError."""
    table = tables.get(part.table)
    if table is None:
        raise BackupError(f"the backup has rows of a table {part.table} that its schema does not have")
    for line in part.lines:
        table.row(line)
    return table
