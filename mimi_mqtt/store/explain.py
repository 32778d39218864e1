"""Database errors in words for the person who runs the server."""

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from mimi_mqtt.errors import StoreError


def place(url: URL) -> str:
    """The place of the database: the file of SQLite, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or "an SQLite database in memory"
    return url.render_as_string(hide_password=True)


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
        return StoreError(f"{where} is locked by another program: end that program and try again")
    if "full" in lowered:
        return StoreError(f"{where} can't grow: the disk is full")
    return StoreError(f"database {where}: {reason}")
