"""Idempotency keys while the store fails, the request fails, or another one waits."""

import asyncio
from typing import Any

import pytest

from mimi_mqtt.errors import Conflict, StoreError
from mimi_mqtt.http.api.idempotency import Idempotency, Outcome
from mimi_mqtt.store.idempotency import KnownRequest
from tests.fakes.api import MEMBER
from tests.fakes.api_scene import MemoryRequests

pytestmark = pytest.mark.virtual_time


class Failing(MemoryRequests):
    """Rows whose methods fail when they are named in `fails`."""

    def __init__(self, *fails: str) -> None:
        super().__init__()
        self.fails = fails

    async def begin(self, *given: Any) -> KnownRequest | None:
        if "begin" in self.fails:
            raise StoreError("locked")
        return await super().begin(*given)

    async def finish(self, id_: str, result: str) -> None:
        if "finish" in self.fails:
            raise StoreError("locked")
        await super().finish(id_, result)


async def fine() -> Outcome:
    return Outcome("result")


async def test_nothing_is_carried_out_when_it_can_not_be_noted() -> None:
    carried_out = False

    async def carry_out() -> Outcome:
        nonlocal carried_out
        carried_out = True
        return Outcome("result")

    with pytest.raises(StoreError):
        await Idempotency(Failing("begin")).once(MEMBER, "key", b"", carry_out)
    assert not carried_out


async def test_a_result_that_can_not_be_kept_is_told_and_never_made_again() -> None:
    once = Idempotency(rows := Failing("finish"))
    assert await once.once(MEMBER, "key", b"", fine) == ("result", False)
    assert rows.rows
    with pytest.raises(Conflict):
        await Idempotency(_Again(rows)).once(MEMBER, "key", b"", fine)


class _Again(MemoryRequests):
    """The rows of another process on the same database."""

    def __init__(self, other: MemoryRequests) -> None:
        super().__init__()
        self.rows = other.rows


async def test_after_a_request_that_broke_off_its_result_is_not_known() -> None:
    rows = MemoryRequests()

    async def breaks() -> Outcome:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Idempotency(rows).once(MEMBER, "key", b"", breaks)
    with pytest.raises(Conflict, match="another key"):
        await Idempotency(rows).once(MEMBER, "key", b"", fine)


async def test_the_wait_for_the_first_request_is_bounded() -> None:
    once = Idempotency(MemoryRequests(), wait_s=5)
    goes_on = asyncio.Event()

    async def slow() -> Outcome:
        await goes_on.wait()
        return Outcome("result")

    first = asyncio.create_task(once.once(MEMBER, "key", b"", slow))
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="ask again later"):
        await once.once(MEMBER, "key", b"", fine)
    goes_on.set()
    assert await first == ("result", False)
    assert await once.once(MEMBER, "key", b"", fine) == ("result", True)
