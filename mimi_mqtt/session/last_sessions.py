"""The last session id that each device was given, kept as long as the device may believe in that session.

A device whose session ended without its knowledge goes on streaming (device contract, section 3). It is sent
`goodbye` with that id when it connects; so the ids outlive the server: written behind the callers' backs,
loaded at the start.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.errors import StoreError
from mimi_mqtt.store import last_sessions
from mimi_mqtt.store.engine import Store
from mimi_mqtt.supervision import SupervisedLoop

_log = logging.getLogger(__name__)

MAX_WAITING: Final = 20_000
"""Devices whose change waits for the database; of more, the change is lost at a crash."""

_PAUSE_S: Final = 0.25
"""Between two writes: what happens meanwhile is one transaction."""
_CLOSE_S: Final = 5.0

_dropped = Counter("mimi_last_sessions_dropped_total", "Last session ids that could not be stored.")


class RemembersSessions(Protocol):
    """The interface of `LastSessions` to the session manager. No call waits or raises."""

    def get(self, device_id: str) -> str | None:
        """The session that the device may believe in although it is over or lost; None when there is none."""

    def opened(self, device_id: str, session_id: str) -> None:
        """The device was given `session_id`."""

    def over(self, device_id: str, session_id: str) -> None:
        """The device knows that `session_id` is over. Nothing happens when it was given another since."""


class LastSessions:
    """Implements `RemembersSessions`; without a store it forgets with the process."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._ids: dict[str, str] = {}
        self._changed: dict[str, str | None] = {}
        self._wake = asyncio.Event()
        self._writer = SupervisedLoop("last sessions", self._write)

    @property
    def healthy(self) -> bool:
        """True while the ids are being stored."""
        return self._store is None or self._writer.healthy

    async def start(self) -> None:
        """Loads the ids. Raises StoreError."""
        if self._store is None:
            return
        async with self._store.write() as session:
            self._ids.update(await last_sessions.load(session, datetime.now(UTC)))
        self._writer.start()

    async def aclose(self) -> None:
        """Writes what waits, bounded in time, and ends; safe to call twice."""
        await self._writer.aclose()
        if self._store is not None and self._changed:
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await self._save()
            except (StoreError, TimeoutError) as error:
                _dropped.inc(len(self._changed))
                _log.warning("the last session ids could not be stored: %s", error)
                self._changed.clear()

    def get(self, device_id: str) -> str | None:
        """Implements `RemembersSessions`, as the methods below."""
        return self._ids.get(device_id)

    def opened(self, device_id: str, session_id: str) -> None:
        """Replaces the device's id."""
        self._ids[device_id] = session_id
        self._note(device_id, session_id)

    def over(self, device_id: str, session_id: str) -> None:
        """Forgets the device's id, if it is this one."""
        if self._ids.get(device_id) == session_id:
            del self._ids[device_id]
            self._note(device_id, None)

    def _note(self, device_id: str, session_id: str | None) -> None:
        if self._store is None:
            return
        changed = self._changed
        if len(changed) >= MAX_WAITING and device_id not in changed:
            _dropped.inc()
            return
        changed[device_id] = session_id
        if len(changed) == 1:
            self._wake.set()

    async def _write(self) -> None:
        await self._wake.wait()
        await asyncio.sleep(_PAUSE_S)
        await self._save()

    async def _save(self) -> None:
        if self._store is None:
            return
        self._wake.clear()
        changes: Mapping[str, str | None] = self._changed
        self._changed = {}
        try:
            async with self._store.write() as session:
                await last_sessions.save(session, changes, datetime.now(UTC))
        except BaseException:
            # Later changes of the same device win.
            self._changed = {**changes, **self._changed}
            self._wake.set()
            raise
