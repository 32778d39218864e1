"""Conversations, search and statistics on PostgreSQL; `tests/unit/store` has the same on SQLite."""

from mimi_mqtt.store.engine import Store
from tests.unit.store.conversation_checks import CHECKS, clear


async def test_on_postgresql(postgres_url: str) -> None:
    store = Store(postgres_url)
    await store.open()
    try:
        for check in CHECKS:
            try:
                await check(store)
            except BaseException as error:
                error.add_note(f"in {check.__name__}")
                raise
            await clear(store)
    finally:
        await store.aclose()
