from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.managed.resources import ManagedResources
from mimi_mqtt.store.engine import Store
from tests.databases import sqlite_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = sqlite_store(tmp_path)
    await opened.open()
    yield opened
    await opened.aclose()


@pytest.fixture
def credentials() -> Credentials:
    return Credentials(b"s" * 32)


@pytest.fixture
def resources(store: Store, credentials: Credentials) -> ManagedResources:
    """Managed resources beside a broker.yaml that sets nothing."""
    return ManagedResources(store, credentials, {}, Settings)
