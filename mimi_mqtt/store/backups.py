"""Queries about the backups that this server made."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, or_, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store import tables
from mimi_mqtt.store.tables import BackupRow
from mimi_mqtt.store.values import bounded

RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
GIVEN_UP_AFTER: Final = timedelta(hours=6)
"""A backup that runs for longer has ended without telling: its machine did."""
FAILED_KEPT: Final = 20
"""Failed backups that are remembered."""

# Any constant: with it two nodes that look at once begin one backup.
_POSTGRES_LOCK: Final = 0x6D696D6A


async def begin(
    session: AsyncSession,
    now: datetime,
    *,
    node: str,
    name: str,
    every: timedelta | None,
    retry: timedelta,
    author: str = "",
) -> BackupRow | None:
    """Begins a backup of this node, or returns None: one runs on any node, or with `every`, for a scheduled
    one, none is due yet. After a failed one the next is due after `retry`. `author` asked for it."""
    if (await session.connection()).dialect.name == "postgresql":
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
    running = select(BackupRow.id).where(
        col(BackupRow.state) == RUNNING, col(BackupRow.started_at) > now - GIVEN_UP_AFTER
    )
    if (await session.scalars(running.limit(1))).first() is not None:
        return None
    if every is not None:
        done = select(BackupRow.id).where(
            col(BackupRow.state) == DONE, col(BackupRow.started_at) > now - every
        )
        failed = select(BackupRow.id).where(
            col(BackupRow.state) == FAILED, col(BackupRow.started_at) > now - retry
        )
        for query in (done, failed):
            if (await session.scalars(query.limit(1))).first() is not None:
                return None
    row = BackupRow(
        node=bounded(node, tables.NODE_CHARS),
        name=bounded(name, tables.BACKUP_NAME_CHARS),
        state=RUNNING,
        scheduled=every is not None,
        author=bounded(author, tables.AUTHOR_CHARS),
        started_at=now,
    )
    session.add(row)
    await session.flush()
    return row


async def end(
    session: AsyncSession,
    backup_id: int,
    now: datetime,
    *,
    size: int | None = None,
    missing_files: int = 0,
    problem: str = "",
) -> None:
    """Takes note that a backup ended, with a `problem` when it failed."""
    await session.execute(
        update(BackupRow)
        .where(col(BackupRow.id) == backup_id)
        .values(
            state=FAILED if problem else DONE,
            ended_at=now,
            bytes=size,
            missing_files=missing_files,
            problem=bounded(problem, tables.BACKUP_PROBLEM_CHARS),
        )
    )


async def end_interrupted(session: AsyncSession, node: str, now: datetime) -> None:
    """Takes note that this node's backups that ran when it ended did not come to their end. SQLite has one
    node, whatever it was called then: a container has another name after each update."""
    ended = update(BackupRow).where(col(BackupRow.state) == RUNNING)
    if (await session.connection()).dialect.name != "sqlite":
        ended = ended.where(col(BackupRow.node) == bounded(node, tables.NODE_CHARS))
    await session.execute(ended.values(state=FAILED, ended_at=now, problem="the server ended meanwhile"))


async def last_done(session: AsyncSession) -> datetime | None:
    """When the last backup that succeeded was begun, on whatever node; None: never."""
    query = select(BackupRow.started_at).where(col(BackupRow.state) == DONE)
    return (await session.scalars(query.order_by(col(BackupRow.id).desc()).limit(1))).first()


async def latest(session: AsyncSession, limit: int, before: int | None = None) -> Sequence[BackupRow]:
    """The last backups of all nodes, the newest first; those begun before that of the id `before`."""
    query = select(BackupRow).order_by(col(BackupRow.id).desc()).limit(limit)
    if before is not None:
        query = query.where(col(BackupRow.id) < before)
    return (await session.scalars(query)).all()


async def of_id(session: AsyncSession, backup_id: int) -> BackupRow | None:
    """A backup, or None."""
    return await session.get(BackupRow, backup_id)


async def forget(session: AsyncSession, backup_id: int) -> None:
    """Forgets a backup."""
    await session.execute(delete(BackupRow).where(col(BackupRow.id) == backup_id))


async def forget_old(
    session: AsyncSession, node: str, keep: int, here: Collection[str] = ()
) -> Sequence[str]:
    """Forgets this node's backups but for the `keep` newest; returns the names of their files.

    This node's are also those whose files lie in its folder, `here`, whatever it was called then: a container
    has another name after each update.
    """
    mine = or_(col(BackupRow.node) == bounded(node, tables.NODE_CHARS), col(BackupRow.name).in_(sorted(here)))
    gone: list[str] = []
    for state, kept in ((DONE, keep), (FAILED, FAILED_KEPT)):
        query = select(BackupRow).where(mine, col(BackupRow.state) == state)
        old = (await session.scalars(query.order_by(col(BackupRow.id).desc()).offset(kept))).all()
        gone += [row.name for row in old if state == DONE]
        await session.execute(delete(BackupRow).where(col(BackupRow.id).in_([row.id for row in old])))
    return gone
