"""Idempotency keys on PostgreSQL: two nodes that get the same request carry it out once."""

import asyncio
from datetime import UTC, datetime

from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.idempotency import IdempotencyTable, KnownRequest
from mimi_mqtt.store.reminders import ReminderRecord, ReminderTable, sort_key

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


async def test_two_nodes_begin_a_request_once(postgres_url: str) -> None:
    nodes = [Store(postgres_url), Store(postgres_url)]
    await asyncio.gather(*(node.open() for node in nodes))
    tables = [IdempotencyTable(node) for node in nodes]
    for number in range(20):
        found = await asyncio.gather(*(each.begin(f"id{number}", "u-bob", "d", NOW) for each in tables))
        assert sorted(found, key=lambda each: each is not None) == [None, KnownRequest("d", "")]
    await tables[0].finish("id0", "result")
    assert await tables[1].begin("id0", "u-bob", "d", NOW) == KnownRequest("d", "result")

    rows = ReminderTable(nodes[0])
    for number in range(3):
        timer = ReminderRecord(str(number), "aa-bb-cc-00-11-22", "timer", "", NOW, NOW, 60, duration_s=60)
        assert await rows.add(timer, most_of_device=9, most=9) is None
    (first,) = await rows.page(None, None, 1)
    assert [each.id for each in await rows.page(None, (sort_key(first), first.id), 9)] == ["1", "2"]
    assert await rows.devices() == ["aa-bb-cc-00-11-22"]
    for node in nodes:
        await node.aclose()
