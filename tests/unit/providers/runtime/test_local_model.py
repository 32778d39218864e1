"""A model in this process: loaded once, used in its own threads, closed without waiting."""

import asyncio
import threading

import pytest

from mimi_mqtt.errors import ProviderNotConfigured, ProviderUnavailable
from mimi_mqtt.providers.runtime.local_model import LocalModel


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
