"""The last session id of each device survives the server."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from mimi_mqtt.errors import StoreError
from mimi_mqtt.session.last_sessions import LastSessions
from mimi_mqtt.store import last_sessions
from mimi_mqtt.store.engine import Store

ONE, OTHER = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"


async def _stored(store: Store, now: datetime | None = None) -> Mapping[str, str]:
    async with store.write() as session:
        return await last_sessions.load(session, now or datetime.now(UTC))


async def _until(store: Store, wanted: Mapping[str, str]) -> None:
    async with asyncio.timeout(20):
        while await _stored(store) != wanted:
            pass


async def test_ids_are_there_after_the_server_was_killed(store: Store) -> None:
    killed = LastSessions(store)
    await killed.start()
    killed.opened(ONE, "s1")
    killed.opened(OTHER, "s2")
    killed.opened(ONE, "s3")
    await _until(store, {ONE: "s3", OTHER: "s2"})
    again = LastSessions(store)
    await again.start()
    assert (again.get(ONE), again.get(OTHER)) == ("s3", "s2")
    for each in (killed, again):
        await each.aclose()


async def test_a_stop_writes_what_waits(store: Store) -> None:
    last = LastSessions(store)
    await last.start()
    last.opened(ONE, "s1")
    last.opened(OTHER, "s2")
    last.over(OTHER, "s2")
    await last.aclose()
    await last.aclose()
    assert await _stored(store) == {ONE: "s1"}


async def test_a_session_that_is_over_is_forgotten_unless_it_was_replaced(store: Store) -> None:
    last = LastSessions(store)
    await last.start()
    last.opened(ONE, "s1")
    last.opened(ONE, "s2")
    last.over(ONE, "s1")
    assert last.get(ONE) == "s2"
    await _until(store, {ONE: "s2"})
    last.over(ONE, "s2")
    assert last.get(ONE) is None
    await _until(store, {})
    await last.aclose()


async def test_ids_of_devices_that_never_return_are_dropped(store: Store) -> None:
    async with store.write() as session:
        await last_sessions.save(session, {ONE: "s1"}, datetime.now(UTC) - timedelta(days=31))
        await last_sessions.save(session, {OTHER: "s2"}, datetime.now(UTC))
    assert await _stored(store) == {OTHER: "s2"}


async def test_a_database_that_fails_is_told_and_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = LastSessions(store)
    await last.start()
    save = last_sessions.save
    failures: list[bool] = []

    async def failing(*arguments: object) -> None:
        if not failures:
            failures.append(last.healthy)
            last.opened(ONE, "s2")
            raise StoreError("the disk is full")
        await save(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(last_sessions, "save", failing)
    last.opened(ONE, "s1")
    last.opened(OTHER, "s3")
    await _until(store, {ONE: "s2", OTHER: "s3"})
    assert failures == [True]
    await last.aclose()


async def test_without_a_store_it_is_a_memory() -> None:
    last = LastSessions()
    await last.start()
    last.opened(ONE, "s1")
    assert last.get(ONE) == "s1"
    assert last.healthy
    await last.aclose()
