"""Managed resources on PostgreSQL, written by two nodes at once."""

import asyncio

from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.managed.resources import Change, ManagedResources
from mimi_mqtt.managed.watching import WatchedResources
from mimi_mqtt.store.audit import COMMAND_LINE
from mimi_mqtt.store.engine import Store


async def test_two_nodes_write_and_watch_managed_resources(postgres_url: str) -> None:
    credentials = Credentials(b"s" * 32)
    stores = [Store(postgres_url), Store(postgres_url)]
    for store in stores:
        await store.open()
    nodes = [ManagedResources(store, credentials, {}, Settings) for store in stores]

    async def nothing() -> None:
        pass

    watching = WatchedResources(stores[1], credentials, {}, nodes[1], nothing)
    seen: list[int] = []
    try:

        async def write(number: int) -> None:
            node = nodes[number % 2]
            await node.put(Change("agent", f"a{number % 5}", {"speed": 0.5 + number / 100}), COMMAND_LINE)
            await watching.load()
            seen.append(len(watching))

        await asyncio.gather(*(write(number) for number in range(40)))
        await nodes[0].put(
            Change("provider", "openai", {"llm_model": "m"}, {"api_key": "sk-1"}), COMMAND_LINE
        )
        await nodes[0].delete("agent", "a0", COMMAND_LINE)
        # What was read step by step while both wrote is all that there is.
        await watching.load()
        fresh = WatchedResources(stores[0], credentials, {}, nodes[0], nothing)
        await fresh.load()
        for kind, key in (("agent", f"a{number}") for number in range(5)):
            assert watching.entry("agent", key) == fresh.entry("agent", key), kind
        entry = watching.entry("provider", "openai")
        assert entry is not None
        assert (entry.content, entry.secrets) == ({"llm_model": "m"}, {"api_key": "sk-1"})
        assert watching.entry("agent", "a0") is None
        versions = await nodes[1].versions("agent", "a1")
        assert [each.number for each in versions] == list(range(len(versions), 0, -1))
        assert max(seen) == 5
    finally:
        for store in stores:
            await store.aclose()
