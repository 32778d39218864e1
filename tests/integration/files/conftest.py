from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimi_mqtt.store.engine import Store
from tests.servers.s3 import S3Server, s3_server


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(f"sqlite+aiosqlite:///{tmp_path / 'mimi.db'}")
    await opened.open()
    yield opened
    await opened.aclose()


@pytest.fixture
async def s3() -> AsyncIterator[S3Server]:
    async with s3_server() as server:
        yield server
