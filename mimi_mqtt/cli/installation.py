"""The server's installation as its settings describe it, for commands that work on all of it."""

import os
from collections.abc import Mapping
from pathlib import Path

from mimi_mqtt.backup.ports import Installation
from mimi_mqtt.cli.opening import database
from mimi_mqtt.config import Settings, settings_file
from mimi_mqtt.files.opening import blob_store


def installation(
    settings: Settings, path: Path | None, environ: Mapping[str, str] = os.environ
) -> Installation:
    """The database, data folder and settings file that `settings`, read from `path`, are of."""
    store = database(settings)
    return Installation(
        store,
        settings.server.data_dir,
        files=blob_store(settings, store, environ).place,
        settings_file=settings_file(path, environ),
    )
