"""Deletion of a person with all that is kept of him, inside transactions of `people`.

His conversations, recordings, pictures, reminders, statistics and what a companion server saved are deleted.
His devices stay, as nobody's: their credentials are rotated, and what tells of him is cleared; those that are
browsers are deleted. What he did to things of others stays in the audit and in histories, without his name.
`tests/unit/people/test_removal.py` searches every table for what is left.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, String, cast, delete, or_, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from mimi_mqtt.store import companion, conversation_pages, devices, idempotency, managed, statistics
from mimi_mqtt.store.tables import (
    AuditEntry,
    Conversation,
    Device,
    ListedDevice,
    Reminder,
    RollOut,
    StoredBlob,
    User,
)

REMOVED: Final = "(removed)"
"""Stands for the name of a person who was deleted, and for his account in lists of accounts."""
LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)

_AT_ONCE: Final = 20
_BY_NAME: Final = (
    ("firmware_images", "uploaded_by"),
    ("assets", "uploaded_by"),
    ("rollouts", "created_by"),
    ("backups", "author"),
)
"""Columns that tell who made a row by his user name alone."""


async def forget_some(session: AsyncSession, user_id: str) -> int:
    """Deletes a part of a person's conversations, then of his statistics; returns how many rows.

    Call it, in a transaction each, until there are none: other writers wait no longer than for a part.
    """
    if gone := await conversation_pages.forget_person(session, user_id):
        return gone
    own = select(col(Device.id)).where(col(Device.owner_id) == user_id)
    before_owned = select(col(Conversation.id)).where(
        col(Conversation.owner_id) == "", col(Conversation.device_id).in_(own)
    )
    if ids := (await session.scalars(before_owned.limit(_AT_ONCE))).all():
        await session.execute(delete(Conversation).where(col(Conversation.id).in_(ids)))
        return len(ids)
    return await statistics.forget_person(session, user_id)


async def forget_rest(session: AsyncSession, user: User, now: datetime) -> None:
    """Deletes the account and all that `forget_some` leaves."""
    await _forget_files(session, user.id)
    # A browser's device is of no use to anybody else.
    browsers = [device.id for device in await devices.browsers_of(session, user.id)]
    await devices.forget(session, browsers, now)
    for device in await _devices(session, user.id):
        await devices.leave_owner(session, device, "", now)
        await devices.save_changed(session, device, now)
    await session.execute(delete(Reminder).where(col(Reminder.owner) == user.id))
    await session.execute(delete(ListedDevice).where(col(ListedDevice.owner_id) == user.id))
    revoked = update(Device).where(col(Device.disabled_by) == user.id)
    await session.execute(revoked.values(disabled_by=""))
    await companion.forget_person(session, user.id)
    await idempotency.forget_caller(session, user.id)
    await managed.forget_author(session, user.id)
    await _forget_as_author(session, user)
    await _forget_in_audit(session, user)
    await session.delete(user)


async def _devices(session: AsyncSession, user_id: str) -> Sequence[Device]:
    query = select(Device).where(col(Device.owner_id) == user_id).order_by(col(Device.id))
    return (await session.scalars(query.with_for_update())).all()


async def _forget_files(session: AsyncSession, user_id: str) -> None:
    """Deletes recordings and pictures, and lets the collector delete their bytes at once."""
    own = select(col(Device.id)).where(col(Device.owner_id) == user_id)
    for name in ("recordings", "uploads"):
        table = SQLModel.metadata.tables[name]
        his: ColumnElement[bool] = or_(
            table.c.owner_id == user_id, (table.c.owner_id == "") & table.c.device_id.in_(own)
        )
        found = select(table.c.sha256).where(his)
        blobs = update(StoredBlob).where(col(StoredBlob.sha256).in_(found)).values(touched_at=LONG_AGO)
        await session.execute(blobs.execution_options(synchronize_session=False))
        await session.execute(delete(table).where(his))


async def rename_author(session: AsyncSession, names: Collection[str], new: str) -> None:
    """Has rows that tell of a person by one of `names` tell of him by `new`."""
    for name, column in _BY_NAME:
        table = SQLModel.metadata.tables[name]
        await session.execute(update(table).where(table.c[column].in_(names)).values({column: new}))


async def _names(session: AsyncSession, user: User) -> Collection[str]:
    """The user names of a person: an upload that ran while he was renamed has the one before."""
    renamed = select(col(AuditEntry.before)).where(
        col(AuditEntry.target) == f"user:{user.id}", col(AuditEntry.action) == "user.change"
    )
    former = {str(before["name"]) for before in await session.scalars(renamed) if "name" in before}
    others = select(col(User.name)).where(col(User.name).in_(former), col(User.id) != user.id)
    return former - set(await session.scalars(others)) | {user.name}


async def _forget_as_author(session: AsyncSession, user: User) -> None:
    await rename_author(session, await _names(session, user), REMOVED)
    for rollout in (await session.scalars(select(RollOut).where(_mentions(RollOut.owners, user.id)))).all():
        # A list that became empty would be for all.
        rollout.owners = [REMOVED if owner == user.id else owner for owner in rollout.owners]
        session.add(rollout)


async def _forget_in_audit(session: AsyncSession, user: User) -> None:
    his = update(AuditEntry).where(col(AuditEntry.user_id) == user.id)
    await session.execute(his.values(author=REMOVED, user_id="", address=""))
    nothing: dict[str, Any] = {}
    of_him = update(AuditEntry).where(
        or_(
            col(AuditEntry.target) == f"user:{user.id}",
            _mentions(AuditEntry.before, user.id),
            _mentions(AuditEntry.after, user.id),
        )
    )
    emptied = type_coerce(nothing, JSON)
    await session.execute(
        of_him.values(before=emptied, after=emptied).execution_options(synchronize_session=False)
    )
    named = update(AuditEntry).where(col(AuditEntry.target) == f"user:{user.id}")
    # What nobody's account did to his, such as an OpenID provider, was done from his address.
    nobodys = named.where(col(AuditEntry.user_id) == "")
    await session.execute(nobodys.values(address="").execution_options(synchronize_session=False))
    await session.execute(named.values(target=f"user:{REMOVED}").execution_options(synchronize_session=False))


def _mentions(column: Any, text: str) -> ColumnElement[bool]:
    """True where a JSON column has the text `text`, which needs no escape in JSON."""
    return cast(column, String).contains(f'"{text}"', autoescape=True)
