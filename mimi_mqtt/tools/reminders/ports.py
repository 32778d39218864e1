"""The interfaces of reminders to what is around them: where they are kept, and who tells them."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias

from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.reminders import ReminderRecord

Told: TypeAlias = Literal["told", "away", "failed", "unknown"]
"""Outcome of telling a device: it was told, or a notice that tells it is kept; it is away and is to be told
once it connects; it is to be tried again; there is no such device."""
Announcer: TypeAlias = Callable[[str, str, float], Awaitable[Told]]
"""`(device id, text, expires_s)`: tells a device a text that is worth telling for so many seconds."""
LanguageOf: TypeAlias = Callable[[str], str]
"""`(device id)`: the language in which the device is told something."""


class ReminderRows(Protocol):
    """Where records are kept: `store.reminders.ReminderTable`, which documents the methods."""

    async def add(
        self, record: ReminderRecord, *, most_of_device: int, most: int, author: Author | None = None
    ) -> str | None:
        """Adds a record; returns why it could not."""

    async def get(self, reminder_id: str) -> ReminderRecord | None:
        """One record."""

    async def list(self, device_id: str | None = None, *, ended: bool = False) -> Sequence[ReminderRecord]:
        """Records, soonest first."""

    async def due(self, now: datetime, limit: int) -> Sequence[ReminderRecord]:
        """Records that are due."""

    async def next_due(self) -> datetime | None:
        """The next moment at which one is due."""

    async def pending(self, *, expired_by: datetime | None = None) -> Sequence[ReminderRecord]:
        """Records that are to be told."""

    async def change(
        self, before: ReminderRecord, after: ReminderRecord, author: Author
    ) -> ReminderRecord | None:
        """Writes one changed record that nobody else has changed."""

    async def replace(self, records: Sequence[ReminderRecord]) -> Sequence[ReminderRecord]:
        """Writes changed records that nobody else has changed."""

    async def delete(
        self, reminder_id: str, author: Author | None = None, *, version: int | None = None
    ) -> bool:
        """Deletes one record, where `version` is given only in that version."""

    async def delete_of_device(self, device_id: str) -> None:
        """Deletes the records of a device."""

    async def delete_ended(self, before: datetime) -> None:
        """Deletes the records that ended before a moment."""

    async def shift(self, ids: Collection[str], by: timedelta) -> None:
        """Moves records that are not due yet."""
