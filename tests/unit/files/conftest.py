from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimi_mqtt.store.engine import Store
from tests.databases import sqlite_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = sqlite_store(tmp_path)
    await opened.open()
    yield opened
    await opened.aclose()
