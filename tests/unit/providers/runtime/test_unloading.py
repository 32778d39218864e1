"""Local models that nobody uses give their memory back while it is short."""

import asyncio
import gc
import threading
import weakref
from dataclasses import dataclass, field

import pytest

from mimi_mqtt.machine_memory import Memory
from mimi_mqtt.providers.runtime.local_model import LocalModel, loaded_models
from mimi_mqtt.providers.runtime.unloading import (
    LEAST_SHORT_BYTES,
    MOST_SHORT_BYTES,
    IdleUnloading,
    short_bytes,
)

GIB = 1024**3
SHORT = Memory(8 * GIB, GIB // 4)
PLENTY = Memory(8 * GIB, GIB)


class Weights:
    """Memory of a model."""


@dataclass
class House:
    """Models on a clock of their own, and the memory that is left."""

    now: float = 0.0
    memory: Memory = SHORT
    idle_min: int = 10
    models: list[LocalModel[Weights]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.unloading = IdleUnloading(lambda: self.idle_min, lambda: self.memory, lambda: self.models)

    async def model(self, name: str = "whisper") -> LocalModel[Weights]:
        """A loaded model."""
        model: LocalModel[Weights] = LocalModel(name, Weights, clock=lambda: self.now)
        await model.get()
        self.models.append(model)
        return model

    def after(self, minutes: float) -> None:
        """So much later it looks again."""
        self.now += 60 * minutes
        self.unloading.look()


def is_loaded(model: LocalModel[Weights]) -> bool:
    """True while it is in memory: a function, as a type checker believes that a property stays as it was."""
    return model.loaded


async def test_an_idle_model_is_unloaded_and_loaded_again_when_it_is_asked_for() -> None:
    house = House()
    model = await house.model()
    before = weakref.ref((await model.get()).model)
    house.after(9.9)
    assert model.loaded
    house.after(0.2)
    assert not is_loaded(model)
    await asyncio.sleep(0)  # what woke this task holds the result of loading until its next step
    gc.collect()
    assert before() is None
    again = await model.get()
    assert await again.run(lambda: 7) == 7
    model.close()


async def test_nothing_is_unloaded_while_there_is_memory() -> None:
    house = House(memory=PLENTY)
    model = await house.model()
    house.after(600)
    assert model.loaded
    model.close()


async def test_nothing_is_unloaded_where_the_owner_says_never() -> None:
    house = House(idle_min=0)
    model = await house.model()
    house.after(600)
    assert model.loaded
    model.close()


async def test_use_counts_from_its_end() -> None:
    house = House()
    model = await house.model()
    loaded = await model.get()
    go_on = threading.Event()
    use = asyncio.create_task(loaded.run(lambda: go_on.wait(20)))
    await asyncio.sleep(0)
    house.after(60)
    assert model.loaded
    go_on.set()
    await use
    house.after(9.9)
    assert model.loaded
    house.after(0.2)
    assert not model.loaded


async def test_the_one_that_was_idle_for_longest_goes_first_and_one_at_a_time() -> None:
    house = House()
    old = await house.model("old")
    house.now = 60
    young = await house.model("young")
    house.after(20)
    assert (old.loaded, young.loaded) == (False, True)
    house.after(0)
    assert not young.loaded


async def test_who_has_the_model_may_go_on_with_it() -> None:
    house = House()
    model = await house.model()
    loaded = await model.get()
    house.after(11)
    assert not model.loaded
    assert await loaded.run(lambda: 7) == 7


async def test_models_of_this_process_are_known_while_they_are_in_memory() -> None:
    model: LocalModel[Weights] = LocalModel("whisper", Weights)
    assert model not in loaded_models()
    await model.get()
    assert model in loaded_models()
    model.unload()
    assert model not in loaded_models()


@pytest.mark.parametrize(
    ("total", "short"),
    [
        (GIB // 2, LEAST_SHORT_BYTES),
        (2 * GIB, 2 * GIB // 10),
        (64 * GIB, MOST_SHORT_BYTES),
    ],
)
def test_memory_is_short_by_the_size_of_the_machine(total: int, short: int) -> None:
    assert short_bytes(total) == short
