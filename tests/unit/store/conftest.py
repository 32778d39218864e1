from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimi_mqtt.store.engine import Store


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'mimi.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = Store(url)
    await opened.open()
    yield opened
    await opened.aclose()
