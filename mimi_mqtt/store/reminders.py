"""Timers, alarms and reminders: one row each, from being set until some days after their end.

A row that is due is first marked (`pending_at`), then told, then settled. What was marked and not settled
when the process ended is still there, so that it is told late and not lost.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import CursorResult, and_, bindparam, delete, func, or_, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store import audit
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Reminder

Kind: TypeAlias = Literal["timer", "alarm", "reminder"]

_AT_ONCE: Final = 500
_MOST_DEVICES: Final = 10_000  # of which one page is, at most: databases bound the values of a statement
# Any constant: with it two nodes of PostgreSQL count and add one after the other.
_POSTGRES_LOCK: Final = 0x6D72656D


@dataclass(frozen=True, slots=True)
class ReminderRecord:
    """A timer, alarm or reminder of a device.

    `due_at` is when it is due next; None: never again. `pending_at` is when it was due and has not been told
    yet, `pending_until` when telling it has lost its point. `ended_at` is set with the end of both. `owner`
    is the person whom it belongs to, where persons are known.

    An alarm and a reminder have the wall time of `due_at` in the time zone `zone`, which is what stays the
    same while clocks are changed; `rule` is its repetition by RFC 5545 from `wall` on, with COUNT, where it
    has one, reduced to what is left. A timer has neither: `duration_s` is the seconds it was set for.
    """

    id: str
    device_id: str
    kind: Kind
    text: str = field(repr=False)
    due_at: datetime | None
    created_at: datetime
    expires_s: int
    duration_s: int = 0
    wall: datetime | None = None
    zone: str = ""
    rule: str = ""
    owner: str | None = None
    pending_at: datetime | None = None
    pending_until: datetime | None = None
    told_at: datetime | None = None
    ended_at: datetime | None = None
    version: int = 1
    """Raised with each change: a change that was made from an older one is refused."""


def sort_key(record: ReminderRecord) -> datetime:
    """The moment by which lists are ordered: when it was or is due, else when it ended."""
    return record.pending_at or record.due_at or record.ended_at or record.created_at


class ReminderTable:
    """The table of reminders. Every method is one transaction, of many records several, and raises
    StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(
        self, record: ReminderRecord, *, most_of_device: int, most: int, author: Author | None = None
    ) -> str | None:
        """Adds a record. Returns None, or why not: `id` is taken, `device` or `all` have their most. With an
        `author` the audit has an entry, here and below."""
        async with self._store.write() as session:
            if not self._store.is_sqlite:
                await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
            live = select(func.count()).select_from(Reminder).where(col(Reminder.ended_at).is_(None))
            if (
                await session.scalar(live.where(Reminder.device_id == record.device_id)) or 0
            ) >= most_of_device:
                return "device"
            if (await session.scalar(live) or 0) >= most:
                return "all"
            if await session.get(Reminder, record.id) is not None:
                return "id"
            session.add(_row(record))
            _audit(session, author, "reminder.create", record, after=_told(record))
            return None

    async def get(self, reminder_id: str) -> ReminderRecord | None:
        """The record with that id."""
        async with self._store.read() as session:
            row = await session.get(Reminder, reminder_id)
        return None if row is None else _record(row)

    async def list(self, device_id: str | None = None, *, ended: bool = False) -> Sequence[ReminderRecord]:
        """The records of a device, or of all, soonest first; `ended`: also those that have ended."""
        query = select(Reminder).order_by(
            func.coalesce(Reminder.pending_at, Reminder.due_at, Reminder.ended_at), col(Reminder.id)
        )
        if device_id is not None:
            query = query.where(Reminder.device_id == device_id)
        if not ended:
            query = query.where(col(Reminder.ended_at).is_(None))
        async with self._store.read() as session:
            return [_record(row) for row in (await session.scalars(query)).all()]

    async def devices(self, *, ended: bool = False) -> Sequence[str]:
        """The devices that have records; `ended`: also those that have ended."""
        query = select(Reminder.device_id).distinct()
        if not ended:
            query = query.where(col(Reminder.ended_at).is_(None))
        async with self._store.read() as session:
            return (await session.scalars(query)).all()

    async def page(
        self,
        of: Sequence[str] | None,
        after: tuple[datetime, str] | None,
        limit: int,
        *,
        ended: bool = False,
        running: bool = True,
    ) -> Sequence[ReminderRecord]:
        """At most `limit` records of the devices `of`, or of all, soonest first, behind the record with the
        `sort_key` and id of `after`; `ended`: also those that have ended, `running`: those that have not."""
        if of is not None and not of:
            return ()
        when = func.coalesce(Reminder.pending_at, Reminder.due_at, Reminder.ended_at, Reminder.created_at)
        query = select(Reminder).order_by(when, col(Reminder.id)).limit(limit)
        if of is not None:
            query = query.where(col(Reminder.device_id).in_(of[:_MOST_DEVICES]))
        if not ended:
            query = query.where(col(Reminder.ended_at).is_(None))
        if not running:
            query = query.where(col(Reminder.ended_at).is_not(None))
        if after is not None:
            query = query.where(or_(when > after[0], and_(when == after[0], col(Reminder.id) > after[1])))
        async with self._store.read() as session:
            return [_record(row) for row in (await session.scalars(query)).all()]

    async def due(self, now: datetime, limit: int) -> Sequence[ReminderRecord]:
        """At most `limit` records that are due by `now`, the longest due first."""
        query = select(Reminder).where(col(Reminder.due_at) <= now)
        query = query.order_by(col(Reminder.due_at), col(Reminder.id)).limit(limit)
        async with self._store.read() as session:
            return [_record(row) for row in (await session.scalars(query)).all()]

    async def next_due(self) -> datetime | None:
        """When the next record is due."""
        async with self._store.read() as session:
            return await session.scalar(select(func.min(Reminder.due_at)))

    async def pending(self, *, expired_by: datetime | None = None) -> Sequence[ReminderRecord]:
        """The records that were due and have not been told; only those of no use any more by `expired_by`."""
        query = select(Reminder).where(col(Reminder.pending_at).is_not(None))
        if expired_by is not None:
            query = query.where(col(Reminder.pending_until) <= expired_by)
        async with self._store.read() as session:
            return [_record(row) for row in (await session.scalars(query.order_by(col(Reminder.id)))).all()]

    async def change(
        self, before: ReminderRecord, after: ReminderRecord, author: Author
    ) -> ReminderRecord | None:
        """Writes one changed record as `replace` does, with an entry in the audit; None when somebody else
        has changed it."""
        async with self._store.write() as session:
            written = await _replace(session, [after])
            if not written:
                return None
            _audit(session, author, "reminder.change", after, before=_told(before), after=_told(after))
            return written[0]

    async def replace(self, records: Sequence[ReminderRecord]) -> Sequence[ReminderRecord]:
        """Writes changed records where nobody else has changed them since; returns those that were written,
        with their new version."""
        written: list[ReminderRecord] = []
        # In one order everywhere: two nodes that write the same rows don't lock each other out.
        ordered = sorted(records, key=lambda record: record.id)
        for start in range(0, len(ordered), _AT_ONCE):
            async with self._store.write() as session:
                written += await _replace(session, ordered[start : start + _AT_ONCE])
        return written

    async def delete(
        self, reminder_id: str, author: Author | None = None, *, version: int | None = None
    ) -> bool:
        """Deletes a record, in whatever version or in this one alone; False when there is none."""
        query = delete(Reminder).where(col(Reminder.id) == reminder_id)
        if version is not None:
            query = query.where(col(Reminder.version) == version)
        async with self._store.write() as session:
            row = await session.get(Reminder, reminder_id) if author is not None else None
            record = _record(row) if row is not None else None
            gone = _rows(await session.execute(query)) > 0
            if gone and record is not None:
                _audit(session, author, "reminder.cancel", record, before=_told(record))
            return gone

    async def delete_of_device(self, device_id: str) -> None:
        """Deletes all records of a device."""
        async with self._store.write() as session:
            await delete_of_device(session, device_id)

    async def delete_ended(self, before: datetime) -> None:
        """Deletes the records that ended before a moment."""
        async with self._store.write() as session:
            await session.execute(delete(Reminder).where(col(Reminder.ended_at) < before))

    async def shift(self, ids: Collection[str], by: timedelta) -> None:
        """Moves the records with these ids that are not due yet by a duration."""
        async with self._store.write() as session:
            some = sorted(ids)
            for start in range(0, len(some), _AT_ONCE):
                query = select(Reminder).where(
                    col(Reminder.id).in_(some[start : start + _AT_ONCE]), col(Reminder.due_at).is_not(None)
                )
                for row in (await session.scalars(query.with_for_update())).all():
                    row.due_at = row.due_at + by if row.due_at is not None else None
                    row.version += 1


async def delete_of_device(session: AsyncSession, device_id: str) -> None:
    """Deletes all records of a device, inside another transaction."""
    await session.execute(delete(Reminder).where(col(Reminder.device_id) == device_id))


async def _replace(session: AsyncSession, records: Sequence[ReminderRecord]) -> Sequence[ReminderRecord]:
    known = col(Reminder.id).in_([record.id for record in records])
    query = select(Reminder.id, Reminder.version).where(known).order_by(col(Reminder.id)).with_for_update()
    versions = {row[0]: row[1] for row in await session.execute(query)}
    written = [
        replace(record, version=record.version + 1)
        for record in records
        if versions.get(record.id) == record.version
    ]
    if written:
        unchanged = col(Reminder.id) == bindparam("known")
        values = [{"known": record.id, **_values(record)} for record in written]
        # On the connection: the session would want the primary key among the values.
        await (await session.connection()).execute(update(Reminder).where(unchanged), values)
    return written


def _audit(
    session: AsyncSession,
    author: Author | None,
    action: str,
    record: ReminderRecord,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    if author is not None:
        audit.record(session, author, action, f"reminder:{record.id}", before=before, after=after)


def _told(record: ReminderRecord) -> dict[str, object]:
    """A record as the audit has it: without its words."""
    return {
        "device": record.device_id,
        "kind": record.kind,
        "due_at": record.due_at.isoformat() if record.due_at is not None else None,
        "rule": record.rule,
    }


def _rows(result: object) -> int:
    """The number of rows that a statement changed."""
    return result.rowcount if isinstance(result, CursorResult) else 0


def _row(record: ReminderRecord) -> Reminder:
    return Reminder(id=record.id, **_values(record))


def _values(record: ReminderRecord) -> dict[str, Any]:
    """The columns of a record but its id."""
    return {
        "version": record.version,
        "device_id": record.device_id,
        "owner": record.owner,
        "kind": record.kind,
        "text": record.text,
        "duration_s": record.duration_s,
        "wall": record.wall.isoformat(timespec="seconds") if record.wall is not None else "",
        "zone": record.zone,
        "rule": record.rule,
        "expires_s": record.expires_s,
        "due_at": record.due_at,
        "pending_at": record.pending_at,
        "pending_until": record.pending_until,
        "told_at": record.told_at,
        "ended_at": record.ended_at,
        "created_at": record.created_at,
    }


def _kind(text: str) -> Kind:
    return "timer" if text == "timer" else "alarm" if text == "alarm" else "reminder"


def _record(row: Reminder) -> ReminderRecord:
    return ReminderRecord(
        id=row.id,
        version=row.version,
        device_id=row.device_id,
        owner=row.owner,
        kind=_kind(row.kind),
        text=row.text,
        duration_s=row.duration_s,
        wall=datetime.fromisoformat(row.wall) if row.wall else None,
        zone=row.zone,
        rule=row.rule,
        expires_s=row.expires_s,
        due_at=row.due_at,
        pending_at=row.pending_at,
        pending_until=row.pending_until,
        told_at=row.told_at,
        ended_at=row.ended_at,
        created_at=row.created_at,
    )
