"""Entries of the audit: written in the transaction of the change that they tell, read, and deleted by age."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store import tables
from mimi_mqtt.store.tables import AuditEntry
from mimi_mqtt.store.values import bounded, bounded_object, is_storable


@dataclass(frozen=True, slots=True)
class Author:
    """The author of a change: a name for people, the account ("" for none), and the holder of the address."""

    name: str
    user_id: str = ""
    address: str = ""


SERVER: Final = Author("server")
"""The server itself."""
COMMAND_LINE: Final = Author("command line")
"""A command on the server's machine."""


def record(
    session: AsyncSession,
    author: Author,
    action: str,
    target: str,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Adds an entry to the transaction of the change. `before` and `after` hold the fields that changed, and
    no secret: a password or key that changed stands there as `"changed"`."""
    session.add(
        AuditEntry(
            at=datetime.now(UTC),
            author=bounded(author.name, tables.AUTHOR_CHARS),
            user_id=bounded(author.user_id, tables.USER_ID_CHARS),
            address=bounded(author.address, tables.AUDIT_ADDRESS_CHARS),
            action=bounded(action, tables.ACTION_CHARS),
            target=bounded(target, tables.TARGET_CHARS),
            before=bounded_object(before or {}, tables.CHANGE_CHARS),
            after=bounded_object(after or {}, tables.CHANGE_CHARS),
        )
    )


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """The entries to read; an empty text and None stand for all. `action` and `target` that end with a colon
    or a dot stand for all that begin so, such as `user:` and `device.`."""

    target: str = ""
    user_id: str = ""
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None


async def entries(
    session: AsyncSession, wanted: AuditFilter, number: int, *, before: int | None = None
) -> Sequence[AuditEntry]:
    """Entries with ids below `before`, the newest first."""
    if not is_storable(wanted.target, wanted.action, wanted.user_id):
        return ()
    query = select(AuditEntry).order_by(col(AuditEntry.id).desc()).limit(number)
    if before is not None:
        query = query.where(col(AuditEntry.id) < max(0, min(before, 2**62)))
    for column, value in ((col(AuditEntry.target), wanted.target), (col(AuditEntry.action), wanted.action)):
        if value.endswith((":", ".")):
            query = query.where(column.startswith(value, autoescape=True))
        elif value:
            query = query.where(column == value)
    if wanted.user_id:
        query = query.where(AuditEntry.user_id == wanted.user_id)
    if wanted.since is not None:
        query = query.where(col(AuditEntry.at) >= wanted.since)
    if wanted.until is not None:
        query = query.where(col(AuditEntry.at) < wanted.until)
    return (await session.scalars(query)).all()


async def forget_older(session: AsyncSession, before: datetime, number: int) -> int:
    """Deletes `number` entries at most that are from before that moment. Returns how many those are."""
    oldest = select(AuditEntry.id).where(col(AuditEntry.at) < before).order_by(col(AuditEntry.at))
    ids = (await session.scalars(oldest.limit(number))).all()
    await session.execute(delete(AuditEntry).where(col(AuditEntry.id).in_(ids)))
    return len(ids)
