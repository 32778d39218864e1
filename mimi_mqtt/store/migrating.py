"""Migration of a database's schema to this version, inside a transaction of `store.engine`."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from mimi_mqtt.errors import StoreError
from mimi_mqtt.store.migrations import HEAD

_FOLDER = Path(__file__).with_name("migrations")
# Any constant: with it two nodes that start at once migrate one after the other.
_POSTGRES_LOCK = 0x6D696D69


def is_current(connection: Connection) -> bool:
    """True when the schema is exactly this program's; cheap, and without Alembic."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD


def migrate(connection: Connection) -> None:
    """Runs the missing revisions. Raises StoreError when the database is of a newer version than this
    program."""
    # Importing Alembic takes a tenth of a second, which a start with a current schema saves.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
    if is_current(connection):
        return
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    _refuse_newer(connection, known)
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"the database can't be brought up to date: {error}") from error


def _refuse_newer(connection: Connection, known: set[str]) -> None:
    if not inspect(connection).has_table("alembic_version"):
        return
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and found not in known:
        raise StoreError(
            f"the database is of a newer mimi-mqtt (schema {found}, this program knows up to {HEAD}): "
            "install that version again, or restore the backup made before it"
        )
