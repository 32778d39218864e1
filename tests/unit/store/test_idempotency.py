"""Requests with an idempotency key, in the database and in memory."""

from datetime import UTC, datetime, timedelta

import pytest

from mimi_mqtt.errors import LimitReached
from mimi_mqtt.http.api.idempotency import RequestRows
from mimi_mqtt.store import idempotency
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.idempotency import KEPT_FOR, IdempotencyTable, KnownRequest, forget_caller
from tests.fakes.api_scene import MemoryRequests

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["database", "memory"])
async def rows(request: pytest.FixtureRequest, store: Store) -> RequestRows:
    return IdempotencyTable(store) if request.param == "database" else MemoryRequests()


async def test_a_request_is_begun_once_and_has_its_result(rows: RequestRows) -> None:
    assert await rows.begin("a", "u-bob", "digest", NOW) is None
    assert await rows.begin("a", "u-bob", "other", NOW) == KnownRequest("digest", "")
    await rows.finish("a", "result")
    assert await rows.begin("a", "u-bob", "digest", NOW) == KnownRequest("digest", "result")
    assert await rows.begin("b", "u-bob", "digest", NOW) is None


async def test_a_forgotten_request_may_be_made_again(rows: RequestRows) -> None:
    await rows.begin("a", "u-bob", "digest", NOW)
    await rows.forget("a")
    await rows.forget("a")
    assert await rows.begin("a", "u-bob", "digest", NOW) is None


async def test_results_are_kept_for_a_day(store: Store) -> None:
    rows = IdempotencyTable(store)
    await rows.begin("a", "u-bob", "digest", NOW)
    assert await rows.begin("a", "u-bob", "digest", NOW + KEPT_FOR) is not None
    assert await rows.begin("a", "u-bob", "digest", NOW + KEPT_FOR + timedelta(seconds=1)) is None


@pytest.mark.parametrize(("bound", "others"), [("MAX_PER_CALLER", True), ("MAX_IN_ALL", False)])
async def test_results_are_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch, bound: str, others: bool
) -> None:
    monkeypatch.setattr(idempotency, bound, 2)
    rows = IdempotencyTable(store)
    for id_ in ("a", "b"):
        await rows.begin(id_, "u-bob", "digest", NOW)
    with pytest.raises(LimitReached):
        await rows.begin("c", "u-bob", "digest", NOW)
    assert await rows.begin("a", "u-bob", "digest", NOW) is not None
    if others:
        assert await rows.begin("d", "u-ada", "digest", NOW) is None
    else:
        with pytest.raises(LimitReached):
            await rows.begin("d", "u-ada", "digest", NOW)


async def test_the_results_of_a_person_go_with_him(store: Store) -> None:
    rows = IdempotencyTable(store)
    for id_, caller in (("a", "u-bob"), ("b", "u-ada")):
        await rows.begin(id_, caller, "digest", NOW)
    async with store.write() as session:
        await forget_caller(session, "u-bob")
    assert await rows.begin("a", "u-bob", "digest", NOW) is None
    assert await rows.begin("b", "u-ada", "digest", NOW) is not None
