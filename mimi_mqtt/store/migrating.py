"""Migration of a database's schema, forward and back, inside a transaction of `store.engine`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, text

from mimi_mqtt.errors import Invalid, StoreError
from mimi_mqtt.store.migrations import HEAD

if TYPE_CHECKING:
    from alembic.config import Config

EMPTY: Final = "base"
"""The name of a database without any table of this program, as a revision to go back to."""

_FOLDER = Path(__file__).with_name("migrations")
# Any constant: with it two nodes that start at once migrate one after the other.
_POSTGRES_LOCK = 0x6D696D69


@dataclass(frozen=True, slots=True)
class Revision:
    """One step of the schema; `told` says what it brings."""

    name: str
    told: str


def revision_of(connection: Connection) -> str | None:
    """The revision of the schema; None for a database without one. Cheap, and without Alembic."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found is not None else None


def is_current(connection: Connection) -> bool:
    """True when the schema is exactly this program's; cheap, and without Alembic."""
    return revision_of(connection) == HEAD


@cache
def revisions() -> tuple[Revision, ...]:
    """Every revision that this program knows, the oldest first."""
    from alembic.script import ScriptDirectory

    steps = list(ScriptDirectory.from_config(_config()).walk_revisions())
    return tuple(Revision(step.revision, (step.doc or "").strip()) for step in reversed(steps))


def migrate(
    connection: Connection, wanted: str = HEAD, before: Callable[[Connection, str], None] | None = None
) -> None:
    """Brings the schema to the revision `wanted`, forward or back; does nothing when it is there.

    `before` is called with the present revision when there are tables to be changed. Raises StoreError when
    the database is of a newer version than this program, Invalid when there is no such revision.
    """
    # Importing Alembic takes a tenth of a second, which a start with a current schema saves.
    from alembic import command
    from alembic.util.exc import CommandError

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
    found = revision_of(connection)
    if found == wanted:
        return
    known = [step.name for step in revisions()]
    if found is not None and found not in known:
        raise newer(found)
    if wanted not in (*known, EMPTY):
        raise Invalid(f"there is no schema {wanted!r}: `mimi-mqtt database status` lists those there are")
    if found is not None and before is not None:
        before(connection, found)
    back = wanted == EMPTY or (found is not None and known.index(wanted) < known.index(found))
    config = _config()
    config.attributes["connection"] = connection
    try:
        (command.downgrade if back else command.upgrade)(config, wanted)
    except CommandError as error:
        raise StoreError(f"the database can't be brought to schema {wanted}: {error}") from error


def newer(revision: str) -> StoreError:
    """The error for a database, or a backup, of a newer version of this program."""
    return StoreError(
        f"the database is of a newer mimi-mqtt (schema {revision}, this program knows up to {HEAD}): "
        "install that version again, or restore the backup made before it"
    )


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config
