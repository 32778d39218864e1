"""The accounts in the database for a command, while the server runs or not."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from mimi_mqtt.cli.opening import database
from mimi_mqtt.config import Settings, load_settings
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.people.accounts import Accounts


def with_people(config: Path | None, act: Callable[[Accounts, Settings], Awaitable[None]]) -> None:
    """Runs `act` on the database of a configuration. Raises ConfigError, StoreError and what `act` raises."""
    settings = load_settings(config, os.environ)

    async def open_and_act() -> None:
        store = database(settings)
        await store.open(create=False)
        people = Accounts.build(
            store, Credentials.load(settings.server.data_dir), people=settings.people, oidc=settings.oidc
        )
        try:
            await act(people, settings)
        finally:
            await people.aclose()
            await store.aclose()

    asyncio.run(open_and_act())


def printable(text: str) -> str:
    """`text` without control characters: the words of others must not move the terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)
