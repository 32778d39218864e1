"""Recordings of conversations, and deletion of pictures and recordings of devices, conversations and people,
and of those that are too old.
Their bytes go with the next collection (`files.collection`)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from mimi_mqtt.store.tables import Conversation, StoredRecording, StoredUpload

UNRECORDED_S: Final = 2 * 3600.0
"""Time after which what belongs to a conversation is deleted when there is no such conversation, in seconds:
turns are written behind."""
_AT_ONCE: Final = 500


async def recordings_of(session: AsyncSession, session_id: str) -> Sequence[StoredRecording]:
    """The recordings of a conversation, in order of its turns, the user's side first."""
    mine = select(StoredRecording).where(col(StoredRecording.session_id) == session_id)
    order = mine.order_by(col(StoredRecording.turn), col(StoredRecording.side).desc())
    return (await session.scalars(order)).all()


async def delete_of_devices(session: AsyncSession, device_ids: Sequence[str]) -> None:
    """Deletes all pictures and recordings of devices."""
    for start in range(0, len(device_ids), _AT_ONCE):
        some = device_ids[start : start + _AT_ONCE]
        await session.execute(delete(StoredUpload).where(col(StoredUpload.device_id).in_(some)))
        await session.execute(delete(StoredRecording).where(col(StoredRecording.device_id).in_(some)))


async def delete_of_conversations(session: AsyncSession, session_ids: Sequence[str]) -> None:
    """Deletes all pictures and recordings of conversations."""
    for start in range(0, len(session_ids), _AT_ONCE):
        some = session_ids[start : start + _AT_ONCE]
        await session.execute(delete(StoredUpload).where(col(StoredUpload.session_id).in_(some)))
        await session.execute(delete(StoredRecording).where(col(StoredRecording.session_id).in_(some)))


async def delete_of_owner(session: AsyncSession, owner_id: str) -> None:
    """Deletes all pictures and recordings of devices that were a person's at that time."""
    await session.execute(delete(StoredUpload).where(col(StoredUpload.owner_id) == owner_id))
    await session.execute(delete(StoredRecording).where(col(StoredRecording.owner_id) == owner_id))


async def unshare(session: AsyncSession, device_id: str) -> None:
    """Leaves the pictures and recordings of a device to those whose it was then: its group sees them no
    more."""
    for table in (StoredUpload, StoredRecording):
        kept = update(table).where(col(table.device_id) == device_id, col(table.group_id) != "")
        await session.execute(kept.values(group_id="").execution_options(synchronize_session=False))


async def expire_uploads(session: AsyncSession, now: datetime) -> None:
    """Deletes pictures whose time is over, or whose conversation was deleted."""
    await session.execute(delete(StoredUpload).where(col(StoredUpload.expires_at) <= now))
    known = exists(select(1).where(col(Conversation.id) == col(StoredUpload.session_id)))
    late = col(StoredUpload.created_at) < now - timedelta(seconds=UNRECORDED_S)
    of_one = col(StoredUpload.session_id) != ""
    gone = delete(StoredUpload).where(of_one, late, ~known)
    await session.execute(gone.execution_options(synchronize_session=False))


async def expire_recordings(session: AsyncSession, now: datetime, keep: timedelta) -> None:
    """Deletes recordings that are too old, or whose conversation was deleted."""
    await session.execute(delete(StoredRecording).where(col(StoredRecording.created_at) < now - keep))
    known = exists(select(1).where(col(Conversation.id) == col(StoredRecording.session_id)))
    late = col(StoredRecording.created_at) < now - timedelta(seconds=UNRECORDED_S)
    gone = delete(StoredRecording).where(late, ~known)
    await session.execute(gone.execution_options(synchronize_session=False))
