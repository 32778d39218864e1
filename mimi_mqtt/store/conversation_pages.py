"""Conversations as people read them: pages, turns and deletion, with what somebody may see in each query."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, func, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col, select

from mimi_mqtt.store import files
from mimi_mqtt.store.tables import Conversation, Turn
from mimi_mqtt.store.time_bounds import within
from mimi_mqtt.store.viewers import Viewer, of_scope

LIST_S: Final = 2.0
"""Longest time of a page, in seconds."""
OPENING_CHARS: Final = 160
"""Characters of a conversation's first words in a list."""
AT_ONCE: Final = 20
"""Conversations that are deleted in one transaction: other writers wait for it."""

_COLUMNS: Final = SQLModel.metadata.tables["conversations"].c

Place = tuple[datetime, str]
"""The place of a conversation in the list: its last turn, and its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conversations that are wanted: all that is given must fit. A conversation is of the time of its last
    turn, `until` not included."""

    device_id: str | None = None
    agent: str | None = None
    outcome: str | None = None
    owner_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions of a query."""
        found: list[ColumnElement[bool]] = []
        for column, value in (
            (Conversation.device_id, self.device_id),
            (Conversation.agent, self.agent),
            (Conversation.outcome, self.outcome),
            (Conversation.owner_id, self.owner_id),
        ):
            if value is not None:
                found.append(col(column) == value)
        if self.since is not None:
            found.append(col(Conversation.last_turn_at) >= self.since)
        if self.until is not None:
            found.append(col(Conversation.last_turn_at) < self.until)
        return found


async def page(
    session: AsyncSession, viewer: Viewer, wanted: Filter, *, limit: int, before: Place | None = None
) -> Sequence[Conversation]:
    """The conversations that `viewer` sees, the latest first: at most `limit`, behind the place `before`.

    Raises Invalid when it takes longer than LIST_S.
    """
    conditions = wanted.conditions()
    place = [_COLUMNS.last_turn_at, _COLUMNS.id]
    if before is not None:
        conditions.append(place[0] <= before[0])
        conditions.append(tuple_(*place) < tuple_(*before))
    latest = [column.desc() for column in place]
    advice = "ask for one device, or for a shorter time"
    async with within(session, LIST_S, advice):
        if viewer.everything:
            query = select(Conversation).where(*conditions).order_by(*latest).limit(limit)
            return (await session.scalars(query)).all()
        # One query for each owner: each reads an index from the end, and no more than a page of it.
        pages = [
            select(*place)
            .where(*conditions, of_scope(scope, _COLUMNS.owner_id, _COLUMNS.device_id))
            .order_by(*latest)
            .limit(limit)
            .subquery()
            for scope in viewer.scopes()
        ]
        if not pages:
            return []
        seen = union_all(*(select(each) for each in pages)).subquery()
        query_ids = select(seen.c.id).order_by(seen.c.last_turn_at.desc(), seen.c.id.desc()).limit(limit)
        ids = (await session.scalars(query_ids)).all()
        found = select(Conversation).where(col(Conversation.id).in_(ids)).order_by(*latest).limit(limit)
        return (await session.scalars(found)).all()


async def get(session: AsyncSession, viewer: Viewer, conversation_id: str) -> Conversation | None:
    """A conversation; None when there is none, or `viewer` does not see it."""
    found = await session.get(Conversation, conversation_id)
    if found is None or not viewer.sees(found.owner_id, found.device_id):
        return None
    return found


async def turns(session: AsyncSession, conversation_id: str, *, limit: int, after: int = 0) -> Sequence[Turn]:
    """The turns of a conversation in their order, behind the number `after`: at most `limit`."""
    query = select(Turn).where(Turn.conversation_id == conversation_id, col(Turn.number) > after)
    return (await session.scalars(query.order_by(col(Turn.number)).limit(limit))).all()


async def openings(session: AsyncSession, conversation_ids: Collection[str]) -> Mapping[str, str]:
    """The first words of some conversations: what was heard in the first turn, or what was said in it."""
    of_these = col(Turn.conversation_id).in_(conversation_ids)
    first = (
        select(col(Turn.conversation_id), func.min(col(Turn.number)))
        .where(of_these)
        .group_by(col(Turn.conversation_id))
    )
    place = tuple_(col(Turn.conversation_id), col(Turn.number))
    query = select(Turn.conversation_id, Turn.heard, Turn.reply).where(of_these, place.in_(first))
    return {row[0]: (row[1] or row[2])[:OPENING_CHARS] for row in await session.execute(query)}


async def turns_of(session: AsyncSession, conversation_ids: Collection[str]) -> Mapping[str, Sequence[Turn]]:
    """The turns of some conversations by these, in their order."""
    found: dict[str, list[Turn]] = {id_: [] for id_ in conversation_ids}
    query = select(Turn).where(col(Turn.conversation_id).in_(conversation_ids))
    for each in await session.scalars(query.order_by(col(Turn.conversation_id), col(Turn.number))):
        found[each.conversation_id].append(each)
    return found


async def turns_before(
    session: AsyncSession, conversation_id: str, number: int, *, limit: int
) -> Sequence[Turn]:
    """The last turns of a conversation before the one with this number, in their order: at most `limit`."""
    query = select(Turn).where(Turn.conversation_id == conversation_id, col(Turn.number) < number)
    found = (await session.scalars(query.order_by(col(Turn.number).desc()).limit(limit))).all()
    return found[::-1]


async def turn(session: AsyncSession, conversation_id: str, number: int) -> Turn | None:
    """One turn of a conversation."""
    query = select(Turn).where(Turn.conversation_id == conversation_id, Turn.number == number)
    return (await session.scalars(query)).first()


async def delete_some(session: AsyncSession, viewer: Viewer, wanted: Filter, number: int = AT_ONCE) -> int:
    """Deletes conversations that are wanted and that `viewer` sees, with their turns and the index of their
    words: `number` at most. Returns how many those are: call it until they are fewer."""
    seen = viewer.condition(_COLUMNS.owner_id, _COLUMNS.device_id)
    query = select(Conversation.id).where(and_(seen, *wanted.conditions())).limit(number)
    return await _delete(session, (await session.scalars(query)).all())


async def _delete(session: AsyncSession, ids: Sequence[str]) -> int:
    await files.delete_of_conversations(session, ids)
    await session.execute(delete(Conversation).where(col(Conversation.id).in_(ids)))
    return len(ids)


async def forget_devices(
    session: AsyncSession, device_ids: Collection[str], *, before: datetime | None = None
) -> int:
    """Deletes conversations of devices, `AT_ONCE` at most, without those that went on since `before`. Returns
    how many those are: call it, in a transaction each, until they are fewer."""
    query = select(Conversation.id).where(col(Conversation.device_id).in_(device_ids)).limit(AT_ONCE)
    if before is not None:
        query = query.where(col(Conversation.last_turn_at) < before)
    return await _delete(session, (await session.scalars(query)).all())


async def forget_person(session: AsyncSession, user_id: str) -> int:
    """Deletes conversations of a person, a few at most. Returns how many those are: call it until there are
    none."""
    if not user_id:
        return 0
    return await delete_some(session, Viewer(user_id), Filter(owner_id=user_id))
