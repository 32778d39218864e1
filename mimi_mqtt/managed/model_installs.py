"""Installations of local models that people ask for: one at a time, with their progress, to be cancelled.

A model that was installed is put in use at once, without a restart of the server: `put_in_force` has the
providers chosen anew.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from mimi_mqtt.errors import Conflict, Invalid, LimitReached, MimiError, ModelError, NotFound
from mimi_mqtt.events import EventBus, ModelInstall
from mimi_mqtt.models.catalog import Model, catalog
from mimi_mqtt.models.folder import ModelsFolder
from mimi_mqtt.models.installing import Installer
from mimi_mqtt.models.progress import Progress
from mimi_mqtt.store import audit
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store

MAX_WAITING: Final = 10
"""Installations that wait for the one that runs."""
RETRY_AFTER_S: Final = 30.0
CLOSE_S: Final = 5.0
"""Longest wait for a running download at the server's end, in seconds; it goes on where it was, next time."""

State = Literal["waiting", "running", "installed", "failed", "cancelled"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Installation:
    """How far the installation of a model is; `step` is for people, `error` the reason of a failure."""

    model: str
    state: State
    done_bytes: int = 0
    total_bytes: int = 0
    step: str = ""
    error: str = ""


class _Cancelled(Exception):
    """The end of an installation that no person wants any more."""


class _Watched:
    """Progress of one installation, which its thread writes and the loop reads. A `Progress`."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.cancelled = threading.Event()
        self.running = False
        self._step = ""
        self._done: dict[str, int] = {}

    def say(self, text: str) -> None:
        """Takes the step over."""
        self._stop_if_cancelled()
        self._step = text

    def downloaded(self, name: str, done: int, total: int) -> None:
        """Takes the bytes over."""
        self._stop_if_cancelled()
        self._done[name] = min(done, total)

    def _stop_if_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise _Cancelled

    def told(self) -> Installation:
        """The state now."""
        total = self.model.download_bytes
        done = min(total, sum(list(self._done.values())))
        return Installation(
            self.model.name, "running" if self.running else "waiting", done, total, self._step
        )


MakeInstaller = Callable[[ModelsFolder, Progress], Installer]


class ModelInstalls:
    """Installs into the folder that `folder` returns. Belongs to the loop's thread; `aclose` at the end."""

    def __init__(
        self,
        store: Store,
        events: EventBus,
        folder: Callable[[], ModelsFolder],
        put_in_force: Callable[[], Awaitable[None]],
        *,
        installer: MakeInstaller = Installer,
    ) -> None:
        self._store = store
        self._events = events
        self._folder = folder
        self._put_in_force = put_in_force
        self._installer = installer
        self._asked: set[str] = set()
        """Models whose installation is being written to the audit; only then they are wanted."""
        self._wanted: dict[str, _Watched] = {}
        self._over: dict[str, Installation] = {}
        self._work: asyncio.Task[None] | None = None

    def of(self, name: str) -> Installation | None:
        """The installation of a model since the server's start; None when nobody asked for one."""
        watched = self._wanted.get(name)
        return watched.told() if watched is not None else self._over.get(name)

    async def install(self, name: str, author: Author, *, accept_licence: bool) -> Installation:
        """Begins to install a model, or to wait for others. Raises NotFound, Conflict, Invalid,
        LimitReached."""
        model = _named(name)
        if model.package:
            raise Conflict(f"{name} comes with a package: pip install 'mimi-mqtt[{model.needs}]'")
        if name in self._wanted or name in self._asked:
            raise Conflict(f"{name} is being installed already")
        if self._folder().has(model):
            raise Conflict(f"{name} is installed already")
        if model.limits and not accept_licence:
            use = (
                "under a community licence only" if model.limits == "community" else "not for commercial use"
            )
            raise Invalid(
                f"accept_licence: the licence of {name} ({model.licence}) lets it be used {use}: agree to it"
            )
        if len(self._wanted) + len(self._asked) > MAX_WAITING:
            raise LimitReached(f"{MAX_WAITING} models wait to be installed, which is the most", RETRY_AFTER_S)
        self._asked.add(name)
        try:
            async with self._store.write() as session:
                audit.record(
                    session, author, "model.install", f"model:{name}",
                    after={"licence": model.licence, "accepted": accept_licence},
                )  # fmt: skip
        finally:
            self._asked.remove(name)
        self._over.pop(name, None)
        watched = self._wanted[name] = _Watched(model)
        self._tell(name, "waiting")
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._install_all(), name="installation of models")
        return watched.told()

    async def cancel(self, name: str, author: Author) -> None:
        """Ends an installation soon; what was downloaded is kept for the next one. Raises NotFound."""
        _named(name)
        watched = self._wanted.get(name)
        if watched is None:
            raise NotFound(f"{name} is not being installed")
        async with self._store.write() as session:
            audit.record(session, author, "model.cancel", f"model:{name}")
        watched.cancelled.set()

    async def remove(self, name: str, author: Author) -> None:
        """Deletes an installed model; conversations that use it go on with others. Raises NotFound, Conflict,
        ModelError."""
        model = _named(name)
        if model.package:
            raise Conflict(f"{name} comes with its package, and goes with it")
        if name in self._wanted or name in self._asked:
            raise Conflict(f"{name} is being installed: cancel that first")
        folder = self._folder()
        if not folder.has(model):
            raise NotFound(f"{name} is not installed")
        async with self._store.write() as session:
            audit.record(session, author, "model.remove", f"model:{name}")
        await asyncio.to_thread(self._installer(folder, _Watched(model)).remove, model)
        self._over.pop(name, None)
        await self._use()
        self._events.publish(ModelInstall(model=name, state="removed"))

    async def aclose(self) -> None:
        """Ends what runs, bounded in time; safe to call twice."""
        for watched in self._wanted.values():
            watched.cancelled.set()
        work, self._work = self._work, None
        if work is not None:
            await asyncio.wait({work}, timeout=CLOSE_S)
            work.cancel()
            await asyncio.wait({work})

    async def _install_all(self) -> None:
        while self._wanted:
            watched = next(iter(self._wanted.values()))
            ended = replace(watched.told(), state="failed", error="it ended without a result")
            try:
                ended = await self._install_one(watched)
            finally:
                name = watched.model.name
                del self._wanted[name]
                self._over[name] = ended
                self._tell(name, ended.state)

    async def _install_one(self, watched: _Watched) -> Installation:
        if watched.cancelled.is_set():
            return replace(watched.told(), state="cancelled")
        watched.running = True
        self._tell(watched.model.name, "running")
        installer = self._installer(self._folder(), watched)
        try:
            await _in_thread(lambda: installer.install(watched.model))
        except _Cancelled:
            return replace(watched.told(), state="cancelled")
        except ModelError as error:
            if watched.cancelled.is_set():
                return replace(watched.told(), state="cancelled")
            return replace(watched.told(), state="failed", error=str(error))
        except Exception:  # noqa: BLE001 - the border of one installation: the others go on
            _log.exception("installing %s failed", watched.model.name)
            return replace(watched.told(), state="failed", error="it failed: see the server's log")
        total = watched.model.download_bytes
        return replace(watched.told(), state="installed", done_bytes=total, error=await self._use())

    async def _use(self) -> str:
        """Has the providers chosen anew; the reason why that failed, empty when it did not."""
        try:
            await self._put_in_force()
        except MimiError as error:
            _log.error("the models that are installed now can't be put in use: %s", error)
            return str(error)
        return ""

    def _tell(self, name: str, state: str) -> None:
        self._events.publish(ModelInstall(model=name, state=state))


def _named(name: str) -> Model:
    model = catalog().get(name)
    if model is None:
        raise NotFound(f"there is no model {name[:64]!r}: see GET /models")
    return model


async def _in_thread(work: Callable[[], object]) -> None:
    """Runs `work` in a thread of its own, which does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if over.done():
            return
        if error is None:
            over.set_result(None)
        else:
            over.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:  # noqa: BLE001 - it is raised where it is awaited
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="model installation", daemon=True).start()
    await over
