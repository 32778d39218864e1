"""Database errors in words for the person who runs the server."""

import errno
import shutil
from pathlib import Path
from typing import Final

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from mimi_mqtt.errors import StoreError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_ROOM_BYTES: Final = 65_536
"""Room that SQLite needs at least, for its index of the write-ahead log and a page of it."""


def place(url: URL) -> str:
    """The place of the database: the file of SQLite, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or "an SQLite database in memory"
    return url.render_as_string(hide_password=True)


def locked(url: URL) -> StoreError:
    """The error for a database that another program, or another writer of this one, holds for too long."""
    return StoreError(f"{place(url)} is locked by another program: end that program and try again")


def crowded(url: URL) -> StoreError:
    """The error for a writer that waited too long for others before it."""
    return StoreError(
        f"more is written to {place(url)} than its disk takes: try again later, or put server.data_dir on a "
        "faster disk"
    )


def explain(error: Exception, url: URL) -> StoreError:
    """A StoreError that says what to do. Never contains the parameters of a statement: they may be speech."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    where = place(url)
    if isinstance(cause, ModuleNotFoundError):
        return StoreError(
            f"the database driver {cause.name} is missing: `pip install 'mimi-mqtt[postgres]'` brings it"
        )
    if url.get_backend_name() != "sqlite":
        return StoreError(f"database {where}: {reason}: check store.url and that the database is running")
    lowered = reason.lower()
    if _is_full(cause, lowered, url):
        return StoreError(
            f"{where} can't grow: the disk is full. Free some space, set server.data_dir to a folder on "
            "another disk, or keep less (store.max_size_mb, store.keep_conversations_days)"
        )
    if "not a database" in lowered or "malformed" in lowered:
        return StoreError(
            f"{where} is damaged or is no SQLite database: restore a backup of it, or move it away and start "
            "again (a new one is made, and devices register again by themselves)"
        )
    if "readonly" in lowered or "unable to open" in lowered or "permission" in lowered:
        return StoreError(
            f"{where} can't be opened for writing: let this user write to it and its folder, or set "
            "server.data_dir to a folder where it may"
        )
    if "locked" in lowered or "busy" in lowered:
        return locked(url)
    return StoreError(f"database {where}: {reason}")


def _is_full(cause: Exception, lowered: str, url: URL) -> bool:
    """True when the disk of an SQLite database has no room: SQLite may call that an I/O error, or a file that
    can't be opened."""
    if "is full" in lowered or (isinstance(cause, OSError) and cause.errno in _FULL):
        return True
    if "i/o error" not in lowered and "unable to open" not in lowered:
        return False
    try:
        return shutil.disk_usage(Path(url.database or "").parent).free < _ROOM_BYTES
    except OSError:
        return False
