"""The numbers at a glance."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from mimi_mqtt.config import AccountSettings
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.ownership import StoredPeople
from mimi_mqtt.fleet.registry import DeviceRegistry
from mimi_mqtt.memory.history import ConversationHistory
from mimi_mqtt.store.engine import Store
from tests.fakes.api_scene import FakeSessions, session
from tests.unit.http.api.isolation.devices import Connected
from tests.unit.http.api.isolation.example import Example
from tests.unit.http.api.isolation.house import BOBS, opened


@asynccontextmanager
async def overview(folder: Path) -> AsyncIterator[Mapping[str, object]]:
    """bob's device talks."""
    async with opened(folder) as store:
        yield await parts_of(store)


async def parts_of(store: Store) -> Mapping[str, object]:
    """The parts of a server with that database, in which bob's device talks."""
    directory = DeviceDirectory(store, Credentials(b"s" * 32), Accounts(AccountSettings()))
    await directory.refresh()
    return {
        "conversations": ConversationHistory(store, ZoneInfo("UTC")),
        "devices": DeviceRegistry(store, directory, Connected(), StoredPeople(store)),
        "directory": directory,
        "sessions": FakeSessions(session(device_id=BOBS)),
    }


EXAMPLES = {"read_overview": Example("/overview", overview, marker='"received":95')}
