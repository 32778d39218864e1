"""Queries about managed resources and their versions, inside transactions of `managed.resources`.

Writers take turns (`take_turn`), so revisions become visible in their order, on PostgreSQL too: a reader that
has seen one has seen all before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, func, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store import tables
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import ManagedResource, ManagedVersion
from mimi_mqtt.store.values import bounded

MAX_VERSIONS: Final = 50
"""Versions that are kept of one resource; the oldest are deleted."""
MAX_DELETED: Final = 100
"""Deleted resources of one kind that are kept, with their versions, to be restored."""

# Any constant: with it two nodes of PostgreSQL write one after the other.
_POSTGRES_LOCK: Final = 0x6D6D616E


@dataclass(frozen=True, slots=True)
class NewState:
    """The state that a change gives a resource: its content, its sealed secrets by option with the id of the
    server's secret that they are sealed with, and the names of those that the change set or removed."""

    content: Mapping[str, object]
    action: str
    deleted: bool = False
    secrets: Mapping[str, object] = field(default_factory=dict, repr=False)
    secret_id: str = ""
    secrets_changed: Sequence[str] = ()


async def take_turn(session: AsyncSession, store: Store) -> None:
    """Keeps other writers of managed resources out until the transaction ends."""
    if not store.is_sqlite:  # SQLite has one writer at a time in any case
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})


async def get(session: AsyncSession, kind: str, key: str) -> ManagedResource | None:
    """The resource, deleted or not; None when there is none."""
    return await session.get(ManagedResource, (kind, key))


async def list_live(session: AsyncSession, kind: str) -> Sequence[ManagedResource]:
    """All resources of a kind that were not deleted, by key."""
    query = select(ManagedResource).where(
        col(ManagedResource.kind) == kind, col(ManagedResource.deleted).is_(False)
    )
    return (await session.scalars(query.order_by(col(ManagedResource.key)))).all()


async def count_live(session: AsyncSession, kind: str) -> int:
    """The number of resources of a kind that were not deleted."""
    query = select(func.count()).select_from(ManagedResource)
    query = query.where(col(ManagedResource.kind) == kind, col(ManagedResource.deleted).is_(False))
    return (await session.scalars(query)).one()


async def changed_since(session: AsyncSession, revision: int) -> Sequence[ManagedResource]:
    """Resources whose `revision` is greater, deleted ones among them, in the order of their changes."""
    query = select(ManagedResource).where(col(ManagedResource.revision) > revision)
    return (await session.scalars(query.order_by(col(ManagedResource.revision)))).all()


async def with_secrets(session: AsyncSession) -> Sequence[ManagedResource]:
    """Resources with secrets, deleted ones among them."""
    query = select(ManagedResource).where(col(ManagedResource.secret_id) != "")
    return (await session.scalars(query.order_by(col(ManagedResource.key)))).all()


async def save(
    session: AsyncSession, kind: str, key: str, state: NewState, author: Author, now: datetime
) -> ManagedResource:
    """Gives the resource a new state and adds a version to its history. The caller has the turn to write."""
    row = await get(session, kind, key)
    if row is None:
        row = ManagedResource(
            kind=kind, key=key, version=0, revision=0, content={}, secrets={}, created_at=now, updated_at=now
        )
        session.add(row)
    highest = (await session.scalars(select(func.max(ManagedResource.revision)))).one()
    row.version += 1
    row.revision = max(highest or 0, row.revision) + 1
    row.content, row.secrets, row.secret_id = dict(state.content), dict(state.secrets), state.secret_id
    row.deleted, row.updated_at = state.deleted, now
    session.add(
        ManagedVersion(
            kind=kind,
            key=key,
            version=row.version,
            at=now,
            author=bounded(author.name, tables.AUTHOR_CHARS),
            user_id=bounded(author.user_id, tables.USER_ID_CHARS),
            action=state.action,
            content=dict(state.content),
            secrets_changed=list(state.secrets_changed),
        )
    )
    await session.flush()
    await session.execute(
        delete(ManagedVersion).where(
            *_of(kind, key), col(ManagedVersion.version) <= row.version - MAX_VERSIONS
        )
    )
    if state.deleted:
        await _forget_long_deleted(session, kind)
    return row


async def _forget_long_deleted(session: AsyncSession, kind: str) -> None:
    """Forgets all but the last `MAX_DELETED` deleted resources of a kind. The highest revision stays."""
    gone = (col(ManagedResource.kind) == kind, col(ManagedResource.deleted))
    query = select(ManagedResource.key).where(*gone).order_by(col(ManagedResource.revision).desc())
    for key in (await session.scalars(query.offset(MAX_DELETED))).all():
        await session.execute(delete(ManagedVersion).where(*_of(kind, key)))
        await session.execute(
            delete(ManagedResource).where(col(ManagedResource.kind) == kind, col(ManagedResource.key) == key)
        )


async def versions(session: AsyncSession, kind: str, key: str) -> Sequence[ManagedVersion]:
    """The versions that are kept, the newest first."""
    query = select(ManagedVersion).where(*_of(kind, key))
    return (await session.scalars(query.order_by(col(ManagedVersion.version).desc()))).all()


async def version(session: AsyncSession, kind: str, key: str, number: int) -> ManagedVersion | None:
    """One version; None when it was never there, or is kept no more."""
    query = select(ManagedVersion).where(*_of(kind, key), col(ManagedVersion.version) == number)
    return (await session.scalars(query)).one_or_none()


async def last_authors(session: AsyncSession, kind: str) -> Mapping[str, str]:
    """The author of the newest version of each resource of a kind, by key."""
    query = select(ManagedVersion.key, ManagedVersion.author).join(
        ManagedResource,
        (col(ManagedResource.kind) == col(ManagedVersion.kind))
        & (col(ManagedResource.key) == col(ManagedVersion.key))
        & (col(ManagedResource.version) == col(ManagedVersion.version)),
    )
    rows = await session.execute(query.where(col(ManagedVersion.kind) == kind))
    return {row[0]: row[1] for row in rows}


async def forget_author(session: AsyncSession, user_id: str) -> None:
    """Takes a person's name out of all histories; the versions stay."""
    of_person = update(ManagedVersion).where(col(ManagedVersion.user_id) == user_id)
    await session.execute(of_person.values(author="", user_id=""))


def _of(kind: str, key: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(ManagedVersion.kind) == kind, col(ManagedVersion.key) == key
