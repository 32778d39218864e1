from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimi_mqtt.store.engine import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(f"sqlite+aiosqlite:///{tmp_path / 'mimi.db'}")
    await opened.open()
    yield opened
    await opened.aclose()
