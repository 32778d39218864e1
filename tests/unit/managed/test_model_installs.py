import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import select

from mimi_mqtt.errors import Conflict, Invalid, LimitReached, ModelError, NotFound, StoreError
from mimi_mqtt.events import EventBus, ModelInstall
from mimi_mqtt.managed import model_installs
from mimi_mqtt.managed.model_installs import ModelInstalls
from mimi_mqtt.models.catalog import Model, catalog
from mimi_mqtt.models.folder import MANIFEST, ModelsFolder
from mimi_mqtt.models.installing import Installer
from mimi_mqtt.models.progress import Progress
from mimi_mqtt.store.audit import COMMAND_LINE
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AuditEntry
from tests.databases import sqlite_store

FREE = next(name for name, model in catalog().items() if model.sources and not model.limits)
OTHERS = [name for name, model in catalog().items() if model.sources and not model.limits and name != FREE]
LIMITED = next(name for name, model in catalog().items() if model.limits)
PACKAGED = next(name for name, model in catalog().items() if model.package)


class Slow(Installer):
    """Downloads until it is let go, or fails as told."""

    go = threading.Event()
    failure = ""
    at_once = 0
    most = 0

    def __init__(self, folder: ModelsFolder, progress: Progress) -> None:
        super().__init__(folder, progress)
        self.folder, self.progress = folder, progress

    def install(self, model: Model, *, again: bool = False) -> bool:
        Slow.at_once += 1
        Slow.most = max(Slow.most, Slow.at_once)
        try:
            done = 0
            while not Slow.go.wait(0.01):
                done += 1
                self.progress.downloaded("part", done, model.download_bytes)
            if Slow.failure:
                raise ModelError(Slow.failure)
            (self.folder.path / model.name).mkdir(parents=True)
            (self.folder.path / model.name / MANIFEST).write_text("{}", encoding="utf-8")
        finally:
            Slow.at_once -= 1
        return True


class World:
    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = ModelsFolder(folder)
        self.events = EventBus()
        self.told: list[tuple[str, str]] = []
        self.taken = 0
        self.events.subscribe(self._happened, ModelInstall, name="test")
        self.installs = ModelInstalls(
            store, self.events, lambda: self.folder, self._put_in_force, installer=Slow
        )

    def _happened(self, event: ModelInstall) -> None:
        self.told.append((event.model, event.state))

    async def _put_in_force(self) -> None:
        self.taken += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - a thread tells no event
                await asyncio.sleep(0.01)

    def state(self, name: str) -> str:
        found = self.installs.of(name)
        return found.state if found is not None else ""

    async def audit(self) -> list[str]:
        async with self.store.read() as session:
            return [entry.action for entry in await session.scalars(select(AuditEntry))]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    Slow.go, Slow.failure, Slow.most = threading.Event(), "", 0
    store = sqlite_store(tmp_path)
    await store.open()
    made = World(store, tmp_path / "models")
    yield made
    await made.installs.aclose()
    await store.aclose()


async def test_a_model_is_installed_with_progress_and_put_in_use_without_a_restart(world: World) -> None:
    begun = await world.installs.install(FREE, COMMAND_LINE, accept_licence=False)
    assert begun.total_bytes == catalog()[FREE].download_bytes
    await world.until(lambda: (going := world.installs.of(FREE)) is not None and going.done_bytes > 0)
    Slow.go.set()
    await world.until(lambda: world.state(FREE) == "installed")
    assert world.folder.has(catalog()[FREE])
    assert world.taken == 1
    assert world.told == [(FREE, "waiting"), (FREE, "running"), (FREE, "installed")]
    assert await world.audit() == ["model.install"]


async def test_one_is_installed_at_a_time_and_a_bounded_number_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_installs, "MAX_WAITING", 1)
    await world.installs.install(FREE, COMMAND_LINE, accept_licence=False)
    await world.installs.install(OTHERS[0], COMMAND_LINE, accept_licence=False)
    with pytest.raises(LimitReached):
        await world.installs.install(OTHERS[1], COMMAND_LINE, accept_licence=False)
    with pytest.raises(Conflict, match="being installed"):
        await world.installs.install(FREE, COMMAND_LINE, accept_licence=False)
    await world.until(lambda: world.state(FREE) == "running")
    assert world.state(OTHERS[0]) == "waiting"
    Slow.go.set()
    await world.until(lambda: world.state(OTHERS[0]) == "installed")
    assert Slow.most == 1


async def test_a_cancelled_installation_ends_and_the_next_one_goes_on(world: World) -> None:
    await world.installs.install(FREE, COMMAND_LINE, accept_licence=False)
    await world.installs.install(OTHERS[0], COMMAND_LINE, accept_licence=False)
    await world.until(lambda: world.state(FREE) == "running")
    await world.installs.cancel(FREE, COMMAND_LINE)
    await world.until(lambda: world.state(FREE) == "cancelled" and world.state(OTHERS[0]) == "running")
    await world.installs.cancel(OTHERS[0], COMMAND_LINE)
    await world.until(lambda: world.state(OTHERS[0]) == "cancelled")
    assert not world.folder.has(catalog()[FREE])
    with pytest.raises(NotFound):
        await world.installs.cancel(FREE, COMMAND_LINE)


async def test_a_model_is_installed_only_with_its_line_in_the_audit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are installed whatever becomes of it."""
    await world.installs.install(FREE, COMMAND_LINE, accept_licence=False)
    await world.until(lambda: world.state(FREE) == "running")
    begun, go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def fails() -> AsyncIterator[AsyncSession]:
        async with AsyncSession() as session:
            yield session
        begun.set()
        await go_on.wait()
        raise StoreError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(world.store, "write", fails)
        asked = asyncio.create_task(world.installs.install(OTHERS[0], COMMAND_LINE, accept_licence=False))
        await begun.wait()
        with pytest.raises(Conflict, match="being installed"):
            await world.installs.install(OTHERS[0], COMMAND_LINE, accept_licence=False)
        Slow.go.set()
        await world.until(lambda: world.state(FREE) == "installed")
        go_on.set()
        with pytest.raises(StoreError, match="full"):
            await asked
    await world.installs.install(OTHERS[1], COMMAND_LINE, accept_licence=False)
    await world.until(lambda: world.state(OTHERS[1]) == "installed")
    assert world.state(OTHERS[0]) == ""
    assert not world.folder.has(catalog()[OTHERS[0]])


async def test_a_failure_is_told_with_its_reason_and_can_be_tried_again(world: World) -> None:
    Slow.failure = "the disk is full: make room and try again"
    Slow.go.set()
    await world.installs.install(FREE, COMMAND_LINE, accept_licence=False)
    await world.until(lambda: world.state(FREE) == "failed")
    found = world.installs.of(FREE)
    assert found is not None
    assert found.error == Slow.failure
    Slow.failure = ""
    await world.installs.install(FREE, COMMAND_LINE, accept_licence=False)
    await world.until(lambda: world.state(FREE) == "installed")


async def test_a_licence_that_limits_the_use_has_to_be_agreed_to(world: World) -> None:
    with pytest.raises(Invalid, match="accept_licence"):
        await world.installs.install(LIMITED, COMMAND_LINE, accept_licence=False)
    await world.installs.install(LIMITED, COMMAND_LINE, accept_licence=True)
    assert world.state(LIMITED) == "waiting"


async def test_an_installed_model_is_removed_and_others_take_its_place(world: World) -> None:
    Slow.go.set()
    await world.installs.install(FREE, COMMAND_LINE, accept_licence=False)
    await world.until(lambda: world.state(FREE) == "installed")
    await world.installs.remove(FREE, COMMAND_LINE)
    assert not world.folder.has(catalog()[FREE])
    assert world.taken == 2
    assert world.installs.of(FREE) is None
    with pytest.raises(NotFound):
        await world.installs.remove(FREE, COMMAND_LINE)


async def test_what_can_not_be_installed_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        await world.installs.install("no-such-model", COMMAND_LINE, accept_licence=False)
    with pytest.raises(Conflict, match="comes with a package"):
        await world.installs.install(PACKAGED, COMMAND_LINE, accept_licence=False)
    with pytest.raises(Conflict, match="goes with it"):
        await world.installs.remove(PACKAGED, COMMAND_LINE)
    assert await world.audit() == []
