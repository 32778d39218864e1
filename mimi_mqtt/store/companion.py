"""Queries about the conversations that a companion server saves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import CompanionConversation, CompanionMessage
from mimi_mqtt.store.values import bounded, is_storable

MAX_CONVERSATIONS: Final = 200
"""Conversations kept of one person; beyond, the oldest go."""
MAX_MESSAGES: Final = 500
"""Messages kept of one conversation; beyond, the oldest go."""
MAX_CONTENT_CHARS: Final = 8_000
"""Longest message, and longest summary."""
MAX_TOLD_CHARS: Final = 400
"""Words that are told of each message of a last exchange, in place of a summary."""
MAX_PERSON_CHARS: Final = 10_000_000
"""Characters kept of one person; beyond, the oldest conversations go."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its role (`user`, `assistant` or `system`), its words, and when it was said."""

    role: str
    content: str = field(repr=False)
    said_at: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """One conversation in short. One without a summary has the first words of its last exchange."""

    conversation_id: str
    summary: str = field(repr=False)
    last_updated: datetime


async def add_messages(
    session: AsyncSession, user_id: str, conversation_id: str, messages: Sequence[Message], now: datetime
) -> None:
    """Appends messages to a conversation, which is made if there is none."""
    conversation = await _conversation(session, user_id, conversation_id, now)
    _append(session, conversation, messages)
    await session.flush()
    await _bound(session, conversation)


async def replace_messages(
    session: AsyncSession,
    user_id: str,
    conversation_id: str,
    messages: Sequence[Message],
    summary: str,
    now: datetime,
) -> None:
    """Puts messages and a summary in the place of those that a conversation had."""
    conversation = await _conversation(session, user_id, conversation_id, now)
    await session.execute(delete(CompanionMessage).where(*_of(conversation)))
    conversation.summary = bounded(summary, MAX_CONTENT_CHARS)
    conversation.chars = len(conversation.summary)
    _append(session, conversation, messages)
    await session.flush()
    await _bound(session, conversation)


async def memories(session: AsyncSession, user_id: str) -> Sequence[Memory]:
    """A person's conversations in short, the latest first."""
    if not is_storable(user_id):
        return ()
    query = select(CompanionConversation).where(CompanionConversation.user_id == user_id)
    query = query.order_by(col(CompanionConversation.last_updated).desc()).limit(MAX_CONVERSATIONS)
    found = (await session.scalars(query)).all()
    unsummed = [each.conversation_id for each in found if not each.summary]
    last = await _last_exchanges(session, user_id, unsummed)
    return [
        Memory(each.conversation_id, each.summary or last.get(each.conversation_id, ""), each.last_updated)
        for each in found
    ]


async def messages_of(session: AsyncSession, user_id: str, conversation_id: str) -> Sequence[Message]:
    """The messages of a conversation, in order."""
    query = select(CompanionMessage).where(
        CompanionMessage.user_id == user_id, CompanionMessage.conversation_id == conversation_id
    )
    found = (await session.scalars(query.order_by(col(CompanionMessage.id)))).all()
    return [Message(each.role, each.content, each.said_at) for each in found]


async def forget_person(session: AsyncSession, user_id: str) -> None:
    """Deletes all conversations of a person."""
    await session.execute(delete(CompanionConversation).where(col(CompanionConversation.user_id) == user_id))


async def forget_older(session: AsyncSession, before: datetime, at_most: int) -> int:
    """Deletes conversations that were last changed before a moment; returns how many those were."""
    old = select(CompanionConversation).where(col(CompanionConversation.last_updated) < before)
    found = (await session.scalars(old.limit(at_most))).all()
    for conversation in found:
        await session.delete(conversation)
    return len(found)


async def _conversation(
    session: AsyncSession, user_id: str, conversation_id: str, now: datetime
) -> CompanionConversation:
    found = await session.get(CompanionConversation, (user_id, conversation_id), with_for_update=True)
    if found is None:
        found = CompanionConversation(user_id=user_id, conversation_id=conversation_id, last_updated=now)
        session.add(found)
        await session.flush()
    found.last_updated = now
    return found


def _append(session: AsyncSession, conversation: CompanionConversation, messages: Sequence[Message]) -> None:
    for message in messages[-MAX_MESSAGES:]:
        content = bounded(message.content, MAX_CONTENT_CHARS)
        conversation.chars += len(content)
        session.add(
            CompanionMessage(
                user_id=conversation.user_id,
                conversation_id=conversation.conversation_id,
                role=message.role,
                content=content,
                said_at=message.said_at,
            )
        )


async def _bound(session: AsyncSession, conversation: CompanionConversation) -> None:
    """Deletes what is beyond the bounds: the conversation's oldest messages, the person's oldest others."""
    kept = select(CompanionMessage.id).where(*_of(conversation)).order_by(col(CompanionMessage.id).desc())
    oldest_kept = (await session.scalars(kept.offset(MAX_MESSAGES - 1).limit(1))).one_or_none()
    if oldest_kept is not None:
        older = (*_of(conversation), col(CompanionMessage.id) < oldest_kept)
        gone = select(func.coalesce(func.sum(func.length(CompanionMessage.content)), 0)).where(*older)
        conversation.chars -= int((await session.execute(gone)).scalar_one())
        await session.execute(delete(CompanionMessage).where(*older))
    own = col(CompanionConversation.user_id) == conversation.user_id
    others = select(CompanionConversation.conversation_id, CompanionConversation.chars).where(
        own, CompanionConversation.conversation_id != conversation.conversation_id
    )
    others = others.order_by(col(CompanionConversation.last_updated).desc())
    chars, beyond = conversation.chars, []
    for number, (other, length) in enumerate((await session.execute(others)).all(), start=2):
        chars += length
        if number > MAX_CONVERSATIONS or chars > MAX_PERSON_CHARS:
            beyond.append(other)
    if beyond:
        ids = col(CompanionConversation.conversation_id).in_(beyond)
        await session.execute(delete(CompanionConversation).where(own, ids))


async def _last_exchanges(
    session: AsyncSession, user_id: str, conversation_ids: Sequence[str]
) -> dict[str, str]:
    """The first words of the last message of each role, by conversation."""
    if not conversation_ids:
        return {}
    last = select(func.max(CompanionMessage.id)).where(
        CompanionMessage.user_id == user_id, col(CompanionMessage.conversation_id).in_(conversation_ids)
    )
    last = last.group_by(col(CompanionMessage.conversation_id), col(CompanionMessage.role))
    query = select(CompanionMessage).where(col(CompanionMessage.id).in_(last))
    told: dict[str, str] = {}
    for message in (await session.scalars(query.order_by(col(CompanionMessage.id)))).all():
        before = told.get(message.conversation_id)
        words = message.content[:MAX_TOLD_CHARS]
        told[message.conversation_id] = f"{before}\n{words}" if before else words
    return told


def _of(conversation: CompanionConversation) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (
        col(CompanionMessage.user_id) == conversation.user_id,
        col(CompanionMessage.conversation_id) == conversation.conversation_id,
    )
