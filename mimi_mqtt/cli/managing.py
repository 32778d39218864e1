"""Managed resources for commands of this machine, which work on the database with the server on or off."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mimi_mqtt.cli.opening import database
from mimi_mqtt.config import Settings, load_settings
from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.managed.merging import merge
from mimi_mqtt.managed.resources import ManagedResources, live_entries
from mimi_mqtt.store import managed


@asynccontextmanager
async def managed_resources(config: Path | None) -> AsyncIterator[tuple[Settings, ManagedResources]]:
    """The settings of broker.yaml and the environment, and the managed resources under them. Raises
    ConfigError, StoreError, StartupError."""
    settings = load_settings(config, os.environ)
    store = database(settings)
    await store.open(create=False)
    try:
        credentials = Credentials.load(settings.server.data_dir)
        yield settings, ManagedResources(store, credentials, os.environ, lambda: settings)
    finally:
        await store.aclose()


async def in_force(settings: Settings) -> Settings:
    """`settings` with what people set under them, as the server has them; as they are where there is no
    database, or none that can be read."""
    store = database(settings)
    try:
        await store.open(create=False)
        credentials = Credentials.load(settings.server.data_dir)
        async with store.read() as session:
            rows = await managed.changed_since(session, 0)
    except StoreError:
        return settings
    finally:
        await store.aclose()
    return merge(settings, live_entries(rows, credentials), os.environ).settings


def printable(text: str) -> str:
    """`text` without control characters, which would move the terminal's cursor; line breaks stay."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
