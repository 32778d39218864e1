"""A model in this process: loaded once, used in its own threads, closed without waiting."""

import asyncio
import contextvars
import threading
from collections.abc import Sequence

import pytest

from mimi_mqtt.errors import ProviderNotConfigured, ProviderUnavailable
from mimi_mqtt.providers.runtime.fair_queue import bind_holder
from mimi_mqtt.providers.runtime.local_model import MAX_WAITING, LocalModel


class Loader:
    """Counts how often it loads; `lacking` keeps it from loading."""

    def __init__(self) -> None:
        self.loads = 0
        self.lacking = False

    def __call__(self) -> int:
        if self.lacking:
            raise ProviderNotConfigured("local", "no model")
        self.loads += 1
        return self.loads


async def test_it_is_loaded_once_for_all_who_ask() -> None:
    load = Loader()
    model = LocalModel("local", load)
    found = await asyncio.gather(*(model.get() for _ in range(5)))
    assert {one.model for one in found} == {1}
    assert load.loads == 1
    assert model.loaded
    model.close()


async def test_work_runs_beside_the_event_loop() -> None:
    model = LocalModel("local", Loader())
    loaded = await model.get()
    assert await loaded.run(threading.get_ident) != threading.get_ident()
    model.close()


async def test_what_it_lacked_may_be_there_the_next_time() -> None:
    load = Loader()
    load.lacking = True
    model = LocalModel("local", load)
    with pytest.raises(ProviderNotConfigured):
        await model.get()
    load.lacking = False
    assert (await model.get()).model == 1
    model.close()


async def test_after_the_end_nothing_runs_and_the_next_use_loads_anew() -> None:
    model = LocalModel("local", Loader())
    loaded = await model.get()
    model.close()
    model.close()
    with pytest.raises(ProviderUnavailable, match="was closed"):
        await loaded.run(threading.get_ident)
    assert (await model.get()).model == 2
    model.close()


class Busy:
    """A model of one thread, which is busy until `free`."""

    def __init__(self) -> None:
        self.model = LocalModel("local", Loader())
        self._gate = threading.Event()
        self.done: list[str] = []

    async def begin(self) -> "asyncio.Task[bool]":
        self._loaded = await self.model.get()
        first = asyncio.create_task(self._loaded.run(lambda: self._gate.wait(20)))
        await asyncio.sleep(0)
        return first

    def ask(self, device: str, cost: float = 1.0) -> "asyncio.Task[None]":
        async def run() -> None:
            bind_holder(device)
            await self._loaded.run(lambda: self.done.append(device), cost)

        return asyncio.create_task(run())

    def free(self) -> None:
        self._gate.set()


async def test_sentences_of_many_devices_take_turns_and_short_audio_goes_first() -> None:
    busy = Busy()
    first = await busy.begin()
    asked = [busy.ask("flood") for _ in range(4)] + [busy.ask("quiet"), busy.ask("short", 0.5)]
    await asyncio.sleep(0)
    busy.free()
    await asyncio.gather(first, *asked)
    assert busy.done == ["short", "flood", "quiet", "flood", "flood", "flood"]
    busy.model.close()


class Batches(Busy):
    """Doubles numbers, several at once; `together` has what was given to it at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.together: list[list[int]] = []

    def double(self, number: int, kind: str = "", most: int = 4) -> "asyncio.Task[int]":
        def work(numbers: Sequence[int]) -> Sequence[int]:
            self.together.append([*numbers])
            if 13 in numbers:
                raise ArithmeticError("13")
            return [2 * given for given in numbers]

        async def run() -> int:
            bind_holder(f"device {number}")
            return await self._loaded.run_many(work, number, kind, most=most)

        return asyncio.create_task(run())


async def test_what_waits_is_done_at_once_as_far_as_it_is_of_a_kind() -> None:
    busy = Batches()
    first = await busy.begin()
    asked = [busy.double(number, "odd" if number % 2 else "even") for number in range(1, 12)]
    await asyncio.sleep(0)
    busy.free()
    await first
    assert await asyncio.gather(*asked) == [2 * number for number in range(1, 12)]
    assert busy.together == [[1, 3, 5, 7], [2, 4, 6, 8], [9, 11], [10]]
    assert await busy.double(20) == 40
    busy.model.close()


async def test_who_goes_away_is_left_out_or_unheard_and_the_others_get_theirs() -> None:
    busy = Batches()
    first = await busy.begin()
    asked = [busy.double(number) for number in range(5)]
    await asyncio.sleep(0)
    asked[1].cancel()
    busy.free()
    await first
    asked[0].cancel()  # its call goes on for those that it has taken
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert done[2:] == [4, 6, 8]
    assert all(isinstance(gone, asyncio.CancelledError) for gone in done[:2])
    assert 1 not in [number for numbers in busy.together for number in numbers]
    assert await busy.double(20) == 40
    busy.model.close()


async def test_a_failure_is_only_that_of_the_one_who_causes_it() -> None:
    busy = Batches()
    first = await busy.begin()
    asked = [busy.double(number) for number in (12, 13, 14)]
    await asyncio.sleep(0)
    busy.free()
    await first
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert (done[0], type(done[1]), done[2]) == (24, ArithmeticError, 28)
    assert await busy.double(20) == 40
    busy.model.close()


async def test_where_no_thread_can_be_started_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Batches()
    first = await busy.begin()
    asked = [busy.double(number) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    threads = busy._loaded._threads
    submit = threads.submit

    def refuse(*_: object) -> None:
        monkeypatch.setattr(threads, "submit", submit)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "submit", refuse)
    busy.free()
    await first
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(error) for error in done] == ["can't start new thread"] * 3
    assert await busy.double(20) == 40
    busy.model.close()


@pytest.mark.filterwarnings("error")
async def test_the_failure_of_one_who_went_away_is_nobodys() -> None:
    busy = Batches()
    first = await busy.begin()
    asked = [busy.double(number) for number in (12, 13)]
    await asyncio.sleep(0)
    busy.free()
    await first
    asked[1].cancel()
    assert await asked[0] == 24
    with pytest.raises(asyncio.CancelledError):
        await asked[1]
    busy.model.close()


async def test_results_that_are_too_few_are_an_error() -> None:
    busy = Batches()
    first = await busy.begin()
    busy.free()
    await first
    with pytest.raises(RuntimeError, match="0 results of 1 items"):
        await busy._loaded.run_many(lambda items: [], 1, "")
    busy.model.close()


async def test_work_whose_asker_went_away_frees_its_place_in_the_queue() -> None:
    busy = Busy()
    first = await busy.begin()
    gone, stays = busy.ask("gone"), busy.ask("stays")
    await asyncio.sleep(0)
    gone.cancel()
    busy.free()
    await asyncio.gather(first, stays)
    assert busy.done == ["stays"]
    await busy.ask("later")
    assert busy.done == ["stays", "later"]
    busy.model.close()


async def test_work_that_waits_when_the_provider_closes_fails() -> None:
    busy = Busy()
    first = await busy.begin()
    waiting = busy.ask("waiting")
    await asyncio.sleep(0)
    busy.model.close()
    busy.free()
    with pytest.raises(ProviderUnavailable, match="was closed"):
        await waiting
    await first


def busy_for(model: LocalModel[int], device: str) -> bool:
    """`busy` of the model, as work for `device` sees it."""

    def asked() -> bool:
        bind_holder(device)
        return model.busy

    return contextvars.copy_context().run(asked)


async def test_only_the_device_whose_work_waits_is_told_so() -> None:
    """The work that is under way may be noise: nobody waits for others there."""
    busy = Busy()
    first = await busy.begin()
    assert not busy_for(busy.model, "waiting")
    waiting = busy.ask("waiting")
    await asyncio.sleep(0)
    assert busy_for(busy.model, "waiting")
    assert not busy_for(busy.model, "other")
    busy.free()
    await asyncio.gather(first, waiting)
    assert not busy_for(busy.model, "waiting")
    busy.model.close()


async def test_work_that_is_too_much_is_refused_and_the_rest_is_done() -> None:
    model = LocalModel("local", Loader())
    loaded = await model.get()
    held = threading.Event()
    begun = [asyncio.create_task(loaded.run(held.wait)) for _ in range(1 + MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(ProviderUnavailable, match="too many"):
        await loaded.run(lambda: None)
    held.set()
    assert await asyncio.gather(*begun) == [True] * len(begun)
    assert await loaded.run(lambda: "room again") == "room again"
    model.close()


async def test_who_waits_no_more_does_not_end_the_loading_and_the_next_one_finds_it() -> None:
    gate = threading.Event()
    loads: list[int] = []

    def load() -> int:
        loads.append(gate.wait())
        return len(loads)

    model = LocalModel("local", load)
    for _ in range(30):
        waiting = asyncio.create_task(model.get())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
    gate.set()
    assert (await model.get()).model == 1
    assert len(loads) == 1
    model.close()


async def test_a_model_that_is_closed_while_it_is_loaded_is_given_to_nobody_afterwards() -> None:
    gate = threading.Event()
    model = LocalModel("local", gate.wait)
    waiting = asyncio.create_task(model.get())
    await asyncio.sleep(0)
    model.close()
    gate.set()
    with pytest.raises(ProviderUnavailable):
        await (await waiting).run(lambda: None)
    assert not model.loaded
    assert await (await model.get()).run(lambda: "anew") == "anew"
    model.close()
