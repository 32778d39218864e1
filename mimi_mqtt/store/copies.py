"""Copies of a database beside it, made before its schema is changed.

Of SQLite a file in the same folder, of PostgreSQL a schema of the same database: neither needs another
program, and a copy is whole or not there at all.
"""

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from mimi_mqtt.errors import StoreError

KEPT: Final = 2
"""Copies that are kept, unless told otherwise."""

_FILE = re.compile(r"\.schema-(?P<revision>\w+)\.(?P<at>\d{8}T\d{6}Z)\.copy$")
_SCHEMA = re.compile(r"mimi_copy_(?P<revision>\w+)_(?P<at>\d{8}t\d{6}z)")
_SPARE_BYTES: Final = 16_000_000
"""Room that a copy leaves on the disk: the migration itself needs some."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a database as it was before a migration; `name` is its file's or PostgreSQL schema's."""

    name: str
    revision: str
    made_at: datetime


def copies_of_file(path: Path) -> list[Copy]:
    """The copies of a database of SQLite, the newest first."""
    names = [each.name for each in path.parent.glob(f"{path.name}.schema-*.copy")]
    return _copies(names, _FILE.search)


def copy_file(path: Path, revision: str, keep: int, now: datetime) -> None:
    """Copies the database of SQLite at `path` as it was last committed, and deletes all but the `keep` newest
    copies. Raises StoreError when the disk has no room for it."""
    final = path.with_name(f"{path.name}.schema-{revision}.{now:%Y%m%dT%H%M%SZ}.copy")
    size = sum(each.stat().st_size for each in (path, Path(f"{path}-wal")) if each.exists())
    free = shutil.disk_usage(path.parent).free
    if free < size + _SPARE_BYTES:
        raise StoreError(
            f"there is no room for the copy of {path} that is made before its migration: it needs "
            f"{(size + _SPARE_BYTES) // 1_000_000 + 1} MB, and {free // 1_000_000} MB are free. Free some "
            "space, or set store.keep_copies to 0 when you have a backup"
        )
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-copy-", dir=path.parent)  # mode 0600
    os.close(descriptor)
    draft = Path(name)
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)
            # One file, not three: whoever puts it back moves only this one.
            copy.execute("PRAGMA journal_mode=DELETE")
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(final)
    finally:
        for left in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm"), Path(f"{draft}-journal")):
            left.unlink(missing_ok=True)
    for old in copies_of_file(path)[keep:]:
        with contextlib.suppress(OSError):
            path.with_name(old.name).unlink()


def copies_in(connection: Connection) -> list[Copy]:
    """The copies in a database of PostgreSQL, the newest first."""
    return _copies(inspect(connection).get_schema_names(), _SCHEMA.fullmatch)


def copy_tables(
    connection: Connection, tables: Iterable[str], revision: str, keep: int, now: datetime
) -> None:
    """Copies `tables` of PostgreSQL into a schema of their own, in this transaction, and drops all but the
    `keep` newest copies. Raises StoreError when the user may not make a schema."""
    name = f"mimi_copy_{revision}_{now:%Y%m%dt%H%M%Sz}"
    allowed = connection.execute(
        text("SELECT has_database_privilege(current_database(), 'CREATE')")
    ).scalar_one()
    if not allowed:
        raise StoreError(
            "the copy that is made before a migration can't be made: the user of store.url may not make a "
            "schema. `GRANT CREATE ON DATABASE …` lets it, or set store.keep_copies to 0 when you have a "
            "backup"
        )
    connection.execute(text(f'CREATE SCHEMA "{name}"'))
    for table in tables:
        connection.execute(text(f'CREATE TABLE "{name}"."{table}" AS TABLE "{table}"'))
    for old in copies_in(connection)[keep:]:
        connection.execute(text(f'DROP SCHEMA "{old.name}" CASCADE'))


def _moment(digits: str) -> datetime:
    return datetime.strptime(digits.upper(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _copies(names: Iterable[str], parse: Callable[[str], re.Match[str] | None]) -> list[Copy]:
    """The copies among `names`, the newest first."""
    found = [
        Copy(name, match["revision"], _moment(match["at"]))
        for name in names
        if (match := parse(name)) is not None
    ]
    return sorted(found, key=lambda each: (each.made_at, each.name), reverse=True)
