from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mimi_mqtt.store.engine import Store
from tests.databases import sqlite_store
from tests.servers.s3 import S3Server, s3_server


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = sqlite_store(tmp_path)
    await opened.open()
    yield opened
    await opened.aclose()


@pytest.fixture
async def s3() -> AsyncIterator[S3Server]:
    async with s3_server() as server:
        yield server
