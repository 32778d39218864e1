"""The end of a restore that was interrupted: forward when the database is the restored one, else back.

Apart from `restoring`, which it comes from, because each start looks for it and imports nothing more.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from mimi_mqtt.backup.ports import Installation
from mimi_mqtt.errors import BackupError
from mimi_mqtt.fleet.secret_files import OLD_SECRET_FILE, SECRET_FILE

STAGING: Final = "restoring"
"""The folder in the data folder in which a restore is prepared."""
JOURNAL: Final = "journal.json"
"""The file in `STAGING` with the id of the restore, once all is prepared."""
DATABASE: Final = "mimi.db"
"""The database of SQLite in `STAGING`, until it takes the old one's place."""
WITH_OLD_SECRET: Final = f"with-{OLD_SECRET_FILE}"
"""The mark in `STAGING` that the backup has the secret of before a rotation."""
SECRETS: Final = (SECRET_FILE, OLD_SECRET_FILE)


async def finish(at: Installation) -> bool:
    """Ends a restore that was interrupted, forward or back; returns True when it was completed. Does nothing
    when there was none. Raises StoreError, BackupError."""
    staging = at.data_dir / STAGING
    if not staging.is_dir():
        return False
    try:
        done = await _is_decided(at, staging)
        if done:
            for name in SECRETS:
                prepared = staging / name
                if prepared.exists():
                    prepared.replace(at.data_dir / name)
            if not (staging / WITH_OLD_SECRET).exists():
                (at.data_dir / OLD_SECRET_FILE).unlink(missing_ok=True)
            sync(at.data_dir)
        # The journal goes first: what is left without it is only thrown away.
        (staging / JOURNAL).unlink(missing_ok=True)
        shutil.rmtree(staging)
    except OSError as error:
        raise BackupError(f"the restore in {staging} can't be ended: {error.strerror}") from error
    return done


async def _is_decided(at: Installation, staging: Path) -> bool:
    """True when the database is the restored one."""
    try:
        journal = json.loads((staging / JOURNAL).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    if at.store.is_sqlite:
        return not (staging / DATABASE).exists()
    async with at.store.maintenance(writes=False) as connection:
        return await connection.run_sync(_mark) == str(journal["id"])


def _mark(connection: Connection) -> str | None:
    """The id that the last restore left in PostgreSQL."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT obj_description('alembic_version'::regclass)")).scalar()
    return str(found) if found is not None else None


def sync(folder: Path) -> None:
    """Has the names in `folder` written to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
