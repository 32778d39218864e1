"""Deletion of sessions and links that are over, and of entries of the audit that are too old."""

from datetime import UTC, datetime, timedelta
from typing import Final

from mimi_mqtt.store import audit, credentials
from mimi_mqtt.store.engine import Store
from mimi_mqtt.supervision import SupervisedLoop

EVERY_S: Final = 3_600.0
"""Seconds between two rounds."""
AT_ONCE: Final = 500
"""Entries that are deleted in one transaction: other writers wait for it."""


class Upkeep:
    """Deletes what is over once an hour, and entries of the audit after `keep_audit_days`."""

    def __init__(self, store: Store, keep_audit_days: int) -> None:
        self._store = store
        self._keep = timedelta(days=keep_audit_days)
        self._loop = SupervisedLoop("upkeep of accounts", self._round, every_s=EVERY_S)

    @property
    def healthy(self) -> bool:
        """True while what is over is deleted."""
        return self._loop.healthy

    def start(self) -> None:
        """Starts deleting."""
        self._loop.start()

    async def aclose(self) -> None:
        """Ends."""
        await self._loop.aclose()

    async def _round(self) -> None:
        await self.delete(datetime.now(UTC))

    async def delete(self, now: datetime) -> None:
        """Deletes what is over at `now`. Raises StoreError."""
        async with self._store.write() as session:
            await credentials.forget_expired(session, now)
        while True:
            async with self._store.write() as session:
                gone = await audit.forget_older(session, now - self._keep, AT_ONCE)
            if gone < AT_ONCE:
                return
