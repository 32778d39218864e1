"""Reminders kept in memory, and a clock that stands still or goes with the loop."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.reminders import ReminderRecord, sort_key
from mimi_mqtt.tools.reminders.ports import Told
from mimi_mqtt.tools.reminders.scheduler import ReminderScheduler
from mimi_mqtt.tools.reminders.service import Reminders
from mimi_mqtt.tools.reminders.tools import ReminderTools

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
"""A Friday."""


class MemoryRows:
    """Implements `ports.ReminderRows`; the contract tests are in `tests/unit/store/test_reminders.py`."""

    def __init__(self) -> None:
        self.records: dict[str, ReminderRecord] = {}

    async def add(
        self, record: ReminderRecord, *, most_of_device: int, most: int, author: Author | None = None
    ) -> str | None:
        live = [kept for kept in self.records.values() if kept.ended_at is None]
        if sum(kept.device_id == record.device_id for kept in live) >= most_of_device:
            return "device"
        if len(live) >= most:
            return "all"
        if record.id in self.records:
            return "id"
        self.records[record.id] = record
        return None

    async def get(self, reminder_id: str) -> ReminderRecord | None:
        return self.records.get(reminder_id)

    async def list(self, device_id: str | None = None, *, ended: bool = False) -> Sequence[ReminderRecord]:
        found = [
            record
            for record in self.records.values()
            if device_id in (None, record.device_id) and (ended or record.ended_at is None)
        ]
        return sorted(found, key=lambda it: (it.pending_at or it.due_at or it.ended_at or NOW, it.id))

    async def due(self, now: datetime, limit: int) -> Sequence[ReminderRecord]:
        due = [(it.due_at, it.id, it) for it in self.records.values() if it.due_at and it.due_at <= now]
        return [record for _, _, record in sorted(due, key=lambda row: row[:2])[:limit]]

    async def next_due(self) -> datetime | None:
        return min((record.due_at for record in self.records.values() if record.due_at), default=None)

    async def pending(self, *, expired_by: datetime | None = None) -> Sequence[ReminderRecord]:
        return [
            record
            for _, record in sorted(self.records.items())
            if record.pending_until and (expired_by is None or record.pending_until <= expired_by)
        ]

    async def replace(self, records: Sequence[ReminderRecord]) -> Sequence[ReminderRecord]:
        written = []
        for record in records:
            kept = self.records.get(record.id)
            if kept is not None and kept.version == record.version:
                self.records[record.id] = replace(record, version=record.version + 1)
                written.append(self.records[record.id])
        return written

    async def change(
        self, before: ReminderRecord, after: ReminderRecord, author: Author
    ) -> ReminderRecord | None:
        return next(iter(await self.replace([after])), None)

    async def devices(self, *, ended: bool = False) -> Sequence[str]:
        return [*{record.device_id: None for record in await self.list(ended=ended)}]

    async def page(
        self,
        of: Sequence[str] | None,
        after: tuple[datetime, str] | None,
        limit: int,
        *,
        ended: bool = False,
        running: bool = True,
    ) -> Sequence[ReminderRecord]:
        keyed = sorted(
            ((sort_key(it), it.id), it)
            for it in self.records.values()
            if (ended or not it.ended_at) and (running or it.ended_at)
        )
        fits = [it for key, it in keyed if (of is None or it.device_id in of) and (not after or key > after)]
        return fits[:limit]

    async def delete(
        self, reminder_id: str, author: Author | None = None, *, version: int | None = None
    ) -> bool:
        record = self.records.get(reminder_id)
        if record is None or version not in (None, record.version):
            return False
        del self.records[reminder_id]
        return True

    async def delete_of_device(self, device_id: str) -> None:
        self.records = {key: it for key, it in self.records.items() if it.device_id != device_id}

    async def delete_ended(self, before: datetime) -> None:
        self.records = {
            key: it for key, it in self.records.items() if it.ended_at is None or it.ended_at >= before
        }

    async def shift(self, ids: Collection[str], by: timedelta) -> None:
        for key in ids:
            record = self.records.get(key)
            if record is not None and record.due_at is not None:
                self.records[key] = replace(record, due_at=record.due_at + by, version=record.version + 1)


@dataclass
class Clock:
    """The system's clock, which goes with the loop's, and may be set."""

    ahead: timedelta = timedelta()
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.steady() - self.began) + self.ahead

    def steady(self) -> float:
        return asyncio.get_running_loop().time()


def reminders(
    announce: Callable[[str, str], bool], language_of: Callable[[str], str], rows: MemoryRows | None = None
) -> tuple[ReminderTools, ReminderScheduler]:
    """Reminders in memory, told by a function that says whether the device is there; the caller starts
    them."""

    async def tell(device_id: str, text: str, _: float) -> Told:
        return "told" if announce(device_id, text) else "away"

    rows, clock = rows if rows is not None else MemoryRows(), Clock()
    scheduler = ReminderScheduler(rows, tell, language_of, now=clock.now, steady=clock.steady)
    return ReminderTools(Reminders(rows, "Europe/Berlin", now=clock.now), scheduler), scheduler
