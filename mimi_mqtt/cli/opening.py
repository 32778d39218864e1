"""The database of the settings, for commands: each obeys what the settings say of it, as the server does."""

from mimi_mqtt.config import Settings
from mimi_mqtt.store.engine import Store


def database(settings: Settings) -> Store:
    """The database, not open yet. Opening it migrates it, with as many copies as the settings want."""
    return Store(settings.database_url, keep_copies=settings.store.keep_copies)
