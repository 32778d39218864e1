"""The spare child: short finished utterances don't wait for long ones, for whose time it is kept."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.vendors.offline.sphinx import pool as pool_module
from mimi_mqtt.providers.vendors.offline.sphinx.pool import Pool
from tests.unit.providers.vendors.offline.sphinx.held import HeldChild, submit


class House:
    """A pool of one child that decodes everything, and the spares that it starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.child: HeldChild
        self.spares: list[HeldChild] = []
        self.spares_fail = False
        self._new = asyncio.Event()
        monkeypatch.setattr(pool_module, "Worker", self._worker)
        self.pool = Pool("offline", 1)
        self.pool.start()
        self.decoded = self.child.decoded

    def _worker(self, _: str, niceness: int = 0) -> HeldChild:
        if niceness:
            self.child = HeldChild([], asyncio.Semaphore(0))
            return self.child
        spare = HeldChild([], asyncio.Semaphore(0), fails=self.spares_fail)
        self.spares.append(spare)
        self._new.set()
        return spare

    async def at_long(self) -> None:
        """The child is at a piece of a long utterance."""
        self.long = submit(self.pool, "long", 28)
        await self.child.begun.wait()

    async def step(self) -> None:
        """Lets the child finish what it is at, and begin the next."""
        self.child.begun.clear()
        self.child.go.release()
        await self.child.begun.wait()

    async def spare(self) -> HeldChild:
        """The newest spare, once there is one."""
        await self._new.wait()
        self._new.clear()
        return self.spares[-1]


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    house = House(monkeypatch)
    yield house
    await house.pool.aclose()


async def test_a_short_question_does_not_wait_for_a_piece_of_a_long_one(house: House) -> None:
    await house.at_long()
    short = submit(house.pool, "short", 2)
    spare = await house.spare()
    spare.go.release()
    assert (await short.result).text == "short"
    assert (house.decoded, spare.decoded) == (["long"], ["short"])
    assert house.pool.pids == (house.child.pid, spare.pid)


async def test_the_spare_decodes_one_question_after_another_and_is_one(house: House) -> None:
    await house.at_long()
    questions = [submit(house.pool, f"device {number}", 2) for number in range(5)]
    spare = await house.spare()
    for _ in questions:
        spare.go.release()
    await asyncio.gather(*(question.result for question in questions))
    later = submit(house.pool, "later", 2)
    spare.go.release()
    await later.result
    assert len(house.spares) == 1
    assert house.decoded == ["long"]


async def test_long_utterances_and_long_guesses_never_use_the_spare(house: House) -> None:
    await house.at_long()
    guess = submit(house.pool, "guess", 5, urgent=False)
    await asyncio.sleep(0)
    assert not house.spares
    submit(house.pool, "other", 20)
    spare = await house.spare()  # in time for the next question
    short = submit(house.pool, "short", 2)
    for _ in range(3):
        spare.go.release()
    await short.result
    for _ in range(20):
        house.child.go.release()
    await guess.result
    assert spare.decoded == ["short"]


async def test_a_long_utterance_alone_needs_no_spare(house: House) -> None:
    await house.at_long()
    for _ in range(20):
        house.child.go.release()
    await house.long.result
    assert not house.spares


async def test_a_brief_guess_is_decoded_by_the_spare_after_finished_ones(house: House) -> None:
    await house.at_long()
    guess = submit(house.pool, "guess", 2, urgent=False)
    short = submit(house.pool, "short", 4)
    spare = await house.spare()
    for _ in range(2):
        spare.go.release()
    await asyncio.gather(guess.result, short.result)
    assert spare.decoded == ["short", "guess"]


async def test_a_longer_guess_goes_to_the_spare_once_its_utterance_has_ended(house: House) -> None:
    await house.at_long()
    guess = submit(house.pool, "guess", 5, urgent=False)
    house.pool.hurry(guess)
    spare = await house.spare()
    spare.go.release()
    assert (await guess.result).text == "guess"
    assert spare.decoded == ["guess"]


async def test_a_question_that_waits_when_a_long_one_is_begun_goes_to_the_spare(house: House) -> None:
    submit(house.pool, "brief", 1)
    await house.child.begun.wait()
    submit(house.pool, "same", 28)
    short = submit(house.pool, "same", 2)  # after the long one of its device
    await asyncio.sleep(0)
    assert not house.spares
    await house.step()
    spare = await house.spare()
    spare.go.release()
    await short.result
    assert spare.decoded == ["same"]


async def test_no_spare_is_started_for_the_wait_for_another_short_one(house: House) -> None:
    submit(house.pool, "first", 2)
    await house.child.begun.wait()
    second = submit(house.pool, "second", 2)
    await house.step()
    house.child.go.release()
    await second.result
    assert not house.spares


async def test_a_child_without_work_is_asked_and_not_the_spare(house: House) -> None:
    await house.at_long()
    submit(house.pool, "short", 2)
    spare = await house.spare()
    for _ in range(20):
        spare.go.release()
        house.child.go.release()
    await house.long.result
    house.child.begun.clear()
    alone = submit(house.pool, "alone", 2)
    assert (await alone.result).text == "alone"
    assert (house.decoded[-1], spare.decoded) == ("alone", ["short"])


async def test_a_spare_that_is_not_needed_is_ended_and_comes_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "SPARE_KEPT_S", 0.01)
    await house.at_long()
    for number in range(3):
        short = submit(house.pool, "short", 2)
        spare = await house.spare()
        spare.go.release()
        await short.result
        await spare.ended.wait()
        assert len(house.spares) == number + 1
        await asyncio.sleep(0)
        assert house.pool.pids == (house.child.pid,)


async def test_a_wait_for_short_ones_only_does_not_keep_the_spare(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "SPARE_KEPT_S", 0.05)
    await house.at_long()
    short = submit(house.pool, "short", 2)
    spare = await house.spare()
    spare.go.release()
    for _ in range(20):
        house.child.go.release()
    await asyncio.gather(house.long.result, short.result)
    house.child.go = asyncio.Semaphore(0)
    ended = asyncio.create_task(spare.ended.wait())
    async with asyncio.timeout(10):
        while not ended.done():
            submit(house.pool, "one", 1)
            either: list[asyncio.Future[Any]] = [submit(house.pool, "two", 1).result, ended]
            spare.go.release()
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            house.child.go.release()
            await asyncio.sleep(0)
    assert len(spare.decoded) > 1


async def test_without_a_spare_the_question_is_next_after_the_piece(house: House) -> None:
    house.spares_fail = True
    await house.at_long()
    short = submit(house.pool, "short", 2)
    await (await house.spare()).ended.wait()
    others = [submit(house.pool, "other", 2) for _ in range(3)]
    await house.step()
    assert house.decoded == ["long", "short"]
    for _ in range(20):
        house.child.go.release()
    await asyncio.gather(short.result, *(other.result for other in others))
    assert len(house.spares) == 1  # it is not tried again and again


async def test_a_spare_that_could_not_be_had_is_tried_again_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "SPARE_COOL_DOWN_S", 0.0)
    house.spares_fail = True
    await house.at_long()
    first = submit(house.pool, "first", 2)
    house.pool.give_up(first)
    await (await house.spare()).ended.wait()
    house.spares_fail = False
    second = submit(house.pool, "second", 2)
    spare = await house.spare()
    spare.go.release()
    assert (await second.result).text == "second"


async def test_a_spare_that_dies_loses_no_question(house: House) -> None:
    await house.at_long()
    short = submit(house.pool, "short", 2)
    spare = await house.spare()
    await spare.begun.wait()
    spare.dies = True
    spare.go.release()
    await spare.ended.wait()
    for _ in range(20):
        house.child.go.release()
    assert (await short.result).text == "short"
    assert house.decoded[:2] == ["long", "short"]
    assert house.pool.pids == (house.child.pid,)


async def test_closing_ends_the_spare_and_fails_what_it_is_at(house: House) -> None:
    await house.at_long()
    short = submit(house.pool, "short", 2)
    spare = await house.spare()
    await spare.begun.wait()
    await house.pool.aclose()
    assert spare.ended.is_set()
    assert isinstance(short.result.exception(), ProviderUnavailable)
    assert house.pool.pids == ()


async def test_a_question_given_up_needs_no_spare_and_stops_none(house: House) -> None:
    await house.at_long()
    first = submit(house.pool, "first", 2)
    spare = await house.spare()
    await spare.begun.wait()
    house.pool.give_up(first)
    house.pool.give_up(submit(house.pool, "dropped", 2))
    cancelled = submit(house.pool, "cancelled", 2)
    last = submit(house.pool, "last", 2)
    spare.go.release()
    await asyncio.sleep(0)
    cancelled.result.cancel()
    spare.go.release()
    assert (await last.result).text == "last"
    assert spare.decoded == ["first", "last"]


async def test_long_ones_are_decoded_although_short_ones_keep_coming(house: House) -> None:
    await house.at_long()
    other = submit(house.pool, "other", 28)
    spare: HeldChild | None = None
    for number in range(100):
        for each in range(2):
            submit(house.pool, f"new {number} {each}", 2)
        spare = spare or await house.spare()
        spare.go.release()
        await house.step()
        if house.long.result.done() and other.result.done():
            break
    else:
        raise AssertionError("the long ones were never finished")
    assert house.decoded.count("rest") >= 8
