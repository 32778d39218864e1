"""The managed resources as one process knows them, kept up with the changes of every process; and the
settings that follow from them."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from mimi_mqtt.config import Settings
from mimi_mqtt.errors import MimiError
from mimi_mqtt.managed.kinds import Kind
from mimi_mqtt.managed.merging import Entry, Merged, merge
from mimi_mqtt.managed.resources import ManagedResources, live_entries
from mimi_mqtt.managed.sealing import SecretKeys
from mimi_mqtt.store import managed
from mimi_mqtt.store.engine import Store
from mimi_mqtt.supervision import SupervisedLoop

_log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
"""Seconds between two looks for the changes of other processes."""
SETTLE_S: Final = 5.0
"""Longest wait of a change's author until it is in force, in seconds."""


class WatchedResources:
    """Keeps up with `resources`. `load` before use; `start` calls `put_in_force` after each change from then
    on, and `aclose` ends that."""

    def __init__(
        self,
        store: Store,
        keys: SecretKeys,
        environ: Mapping[str, str],
        resources: ManagedResources,
        put_in_force: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._keys = keys
        self._environ = environ
        self._resources = resources
        self._put_in_force = put_in_force
        self._entries: dict[tuple[Kind, str], Entry] = {}
        self._revision = 0
        self._sealed_with = ""
        self._pending = False
        self._asked = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._loop = SupervisedLoop("managed resources", self._round)
        self._told: frozenset[str] = frozenset()
        self._problems: Mapping[tuple[Kind, str], tuple[str, ...]] = {}
        self.failure = ""
        """Why the newest changes are not in force; empty when they are."""
        resources.on_changed = self._asked.set

    @property
    def healthy(self) -> bool:
        """True while changes are noticed and put in force."""
        return self._loop.healthy and not self.failure

    def __len__(self) -> int:
        return len(self._entries)

    async def load(self) -> None:
        """Reads every resource. Raises StoreError."""
        await self._read()
        self._pending = False

    def start(self) -> None:
        """Begins to keep up."""
        self._loop.start()

    async def aclose(self) -> None:
        """Keeps up no more; safe to call twice."""
        await self._loop.aclose()

    def look(self) -> None:
        """Has changes looked for at once, and secrets encrypted again after a rotation."""
        self._asked.set()

    async def settled(self) -> None:
        """Returns when the changes made until now are in force, or failed to be, or after `SETTLE_S`; at once
        when nothing is watched."""
        if not self._loop.running:
            return
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(settled)
        self._asked.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await settled

    def merged(self, base: Settings) -> Merged:
        """`base` with what works of the managed resources under it. Takes some ms for each agent: call it
        from a thread."""
        return merge(base, dict(self._entries), self._environ)

    def took(self, merged: Merged) -> None:
        """Keeps what `merged`, now in force, says is wrong, and logs what is new of it."""
        self._problems, self.failure = merged.problems, ""
        lines = frozenset(
            f"{kind} {key}: {each}" for (kind, key), told in merged.problems.items() for each in told
        )
        for line in sorted(lines - self._told):
            _log.warning("managed %s", line)
        self._told = lines

    def problems(self, kind: Kind, key: str) -> tuple[str, ...]:
        """The faults of a resource as things are, a sentence each."""
        return self._problems.get((kind, key), ())

    def entry(self, kind: Kind, key: str) -> Entry | None:
        """The resource as it is known here, with its secrets in clear: never for a reply."""
        return self._entries.get((kind, key))

    async def _round(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._asked.wait()
        self._asked.clear()
        waiting, self._waiting = self._waiting, []
        try:
            await self._take_over()
        finally:
            for settled in waiting:
                if not settled.done():
                    settled.set_result(None)

    async def _take_over(self) -> None:
        await self._read()
        if self._sealed_with != self._keys.secret_id:
            await self._resources.reseal(self._entries)
            self._sealed_with = self._keys.secret_id
        if self._pending:
            try:
                await self._put_in_force()
            except MimiError as error:
                self.failure = str(error)
                raise
            self._pending = False

    async def _read(self) -> None:
        async with self._store.read() as session:
            rows = await managed.changed_since(session, self._revision)
        changed = {(row.kind, row.key) for row in rows}
        kept = {place: entry for place, entry in self._entries.items() if place not in changed}
        self._entries = kept | live_entries(rows, self._keys)
        self._pending = self._pending or bool(rows)
        self._revision = max([self._revision, *(row.revision for row in rows)])
