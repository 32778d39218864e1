"""Conversations, search and statistics on SQLite; `tests/integration/store` has the same on PostgreSQL."""

import pytest

from mimi_mqtt.store.engine import Store
from tests.unit.store.conversation_checks import CHECKS, Check


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_on_sqlite(check: Check, store: Store) -> None:
    await check(store)
