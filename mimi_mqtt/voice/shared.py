"""Resources that several users share: made for the first user, closed after the last one.

A `Shelf` holds the providers of one role. Equal chains (the same providers in the same order, with the same
options, limits and prices) are one instance.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Coroutine, Hashable
from typing import Final, Generic, Protocol, TypeVar

from mimi_mqtt.config import ProviderSettings
from mimi_mqtt.events import EventBus
from mimi_mqtt.providers.catalog.selection import with_providers
from mimi_mqtt.providers.contract.provider import Provider, Role

_log = logging.getLogger(__name__)

_CLOSE_S: Final = 10.0
"""Longest time for one resource to close, in seconds."""

P = TypeVar("P", bound=Provider)


class Closeable(Protocol):
    """A resource that is closed once."""

    async def aclose(self) -> None:
        """Frees it."""


class Closer:
    """Closes resources in the background, each bounded in time; what fails to close is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self, resource: Closeable, name: str) -> None:
        """Begins to close `resource`."""
        self.spawn(self._close(resource, name), f"close {name}")

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Runs `work` to its end; `aclose` waits for it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Returns when everything begun has ended."""
        while self._tasks:
            await asyncio.wait([*self._tasks])

    async def _close(self, resource: Closeable, name: str) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await resource.aclose()
        except Exception as error:  # noqa: BLE001 - the border: nothing waits for it any more
            _log.warning("%s did not close: %s", name, str(error) or type(error).__name__)


class SharedProvider(Generic[P]):
    """One provider and how many use it.

    `provider` is what its users ask: until it has started that is `lazy`, which starts it with the first
    request.
    """

    def __init__(self, bare: P, lazy: P) -> None:
        self._bare = bare
        self._lazy = lazy
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._given = False
        self._started = False
        self.users = 0

    @property
    def name(self) -> str:
        """The names of its providers."""
        return self._bare.name

    @property
    def started(self) -> bool:
        """True once it has started."""
        return self._started

    @property
    def on_demand(self) -> bool:
        """True for one that has users and has not started: its requests start it, and tell what is wrong."""
        return self._given and not self._started

    @property
    def provider(self) -> P:
        """The provider as it is to be asked now."""
        if self._started:
            return self._bare
        self._given = True
        return self._lazy

    async def start(self) -> None:
        """Starts it unless it has started. Raises ProviderError."""
        async with self._starting:
            if not self._started:
                # A request of an earlier user may be starting it at this moment, which must not happen twice.
                await (self._lazy if self._given else self._bare).start()
                self._started = True

    def start_soon(self, started: Callable[[], None]) -> None:
        """Starts it in the background unless it has started, and calls `started` afterwards. A failure is
        logged; the next request tries again."""
        if not self._started and self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._start_in_background(), name=f"start {self.name}"
            )
        if self._task is not None:
            self._task.add_done_callback(lambda _: started())

    async def aclose(self) -> None:
        """Ends a start in the background, then closes the provider."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._bare.aclose()

    async def _start_in_background(self) -> None:
        try:
            await self.start()
        except Exception as error:  # noqa: BLE001 - the border: its requests fail, and tell the user
            _log.warning("%s can't start: %s", self.name, str(error) or type(error).__name__)


class Shelf(Generic[P]):
    """The providers of one role that are in use. `build` makes one, `lazy` makes of it one that starts itself
    with its first request; `events` is told of those that are rested."""

    def __init__(
        self,
        role: Role,
        build: Callable[[ProviderSettings], P],
        lazy: Callable[[P], P],
        closer: Closer,
        events: EventBus,
    ) -> None:
        self._role: Role = role
        self._build = build
        self._lazy = lazy
        self._closer = closer
        self._events = events
        self._shared: dict[Hashable, SharedProvider[P]] = {}

    def take(self, names: tuple[str, ...], settings: ProviderSettings) -> SharedProvider[P]:
        """The chain `names`, for one user more. Raises ConfigError."""
        key = (names, _made_of(names, settings))
        shared = self._shared.get(key)
        if shared is None:
            bare = self._build(with_providers(settings, self._role, names))
            bare.observe(self._events)
            shared = self._shared[key] = SharedProvider(bare, self._lazy(bare))
        shared.users += 1
        return shared

    def give_back(self, shared: SharedProvider[P]) -> None:
        """One user less; after the last one it is closed, in the background."""
        shared.users -= 1
        if not shared.users:
            self._shared = {key: other for key, other in self._shared.items() if other is not shared}
            self._closer.close(shared, f"{self._role} {shared.name}")


def _made_of(names: tuple[str, ...], settings: ProviderSettings) -> str:
    """A digest of all settings that go into the providers `names`; the settings may be secret."""
    prices = [settings.prices.get(name, settings.prices.get(name.partition(":")[0])) for name in names]
    content = (
        {name: settings.options.get(name, {}) for name in names},
        [price and price.model_dump() for price in prices],
        (settings.timeout_s, settings.retries, settings.hedge_ms),
    )
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
