"""The context of an action on devices: the database, the settings, the accounts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mimi_mqtt.config import Settings
from mimi_mqtt.errors import MimiError
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.device_keys import DeviceKeys
from mimi_mqtt.people.rules import folded
from mimi_mqtt.store import people
from mimi_mqtt.store.engine import Store

NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Context:
    """The open database of a configuration; `load` reads the server's secret in a folder."""

    store: Store
    settings: Settings
    load: Callable[[Path], Credentials]

    @property
    def keys(self) -> DeviceKeys:
        """The keys of chips. Raises StartupError."""
        return DeviceKeys(self.store, self.load(self.settings.server.data_dir))

    async def owner_id(self, name: str) -> str:
        """The id of the user of that name; "" for nobody. Raises MimiError."""
        if name == NOBODY:
            return ""
        async with self.store.read() as session:
            user = await people.user_named(session, folded(name)) or await people.user(session, name)
        if user is None:
            raise MimiError(f"there is no user {name!r}; `mimi-mqtt users list` shows those there are")
        return user.id

    async def owner_name(self, user_id: str) -> str:
        """The name of a user; the id where there is none of it any more."""
        if not user_id:
            return ""
        async with self.store.read() as session:
            user = await people.user(session, user_id)
        return user.name if user is not None else user_id
