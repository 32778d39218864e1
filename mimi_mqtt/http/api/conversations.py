"""Conversations and their turns: lists, search, and deletion.

A member sees what he said to devices of his, and of devices that are shared with him what was said since they
belong to their present owner. What he said stays his when the device moves on.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from mimi_mqtt.errors import Invalid
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.conversation_models import Conversation, Turn, audio_of, conversation_of, turn_of
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.scalars import NoNumber
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.http.api.visibility import shown_name
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store import tables
from mimi_mqtt.store.conversation_pages import Filter
from mimi_mqtt.store.search import MAX_QUERY_CHARS
from mimi_mqtt.store.viewers import Asker

router = APIRouter(prefix="/conversations", tags=["conversations"])

Reader = Annotated[Caller, callers(Scope.CONVERSATIONS_READ)]
Writer = Annotated[Caller, callers(Scope.CONVERSATIONS_WRITE)]
Device = Annotated[str | None, Query(pattern="^[0-9a-f]{2}(-[0-9a-f]{2}){5}$", description="Id of a device")]
Agent = Annotated[str | None, Query(max_length=tables.TURN_AGENT_CHARS, description="Key of an agent")]
Outcome = Annotated[
    str | None,
    Query(max_length=tables.WORD_CHARS, description="Gravest outcome of its turns, such as `failed`"),
]
Since = Annotated[
    datetime | None,
    NoNumber,
    Query(alias="from", description="Begin of the time (ISO 8601; UTC without a zone)"),
]
Until = Annotated[datetime | None, NoNumber, Query(alias="to", description="End of the time, not included")]
Owner = Annotated[
    str | None, Query(max_length=tables.USER_ID_CHARS, description="Id of the person whose they are")
]
ConversationId = Annotated[str, Path(max_length=tables.SESSION_ID_CHARS, pattern="^[^\\x00-\\x1f]+$")]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ConversationTurns(Conversation):
    """A conversation with a page of its turns."""

    page: Page[Turn]


class FoundTurn(BaseModel):
    """A turn that was found, with its conversation."""

    turn: Turn
    conversation: Conversation


class DeletedConversations(BaseModel):
    """The result of a deletion."""

    deleted: int
    more: bool = Field(description="True when there are more: ask again")


@router.get("")
async def list_conversations(
    services: Services,
    caller: Reader,
    device: Device = None,
    agent: Agent = None,
    outcome: Outcome = None,
    owner: Owner = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
) -> Page[Conversation]:
    """Conversations, the latest first; a conversation is of the time of its last turn."""
    wanted = filter_of(device, agent, outcome, owner, since, until)
    before = _place(key_of(cursor, int, str))
    found = await services.conversations.page(asker_of(caller), wanted, limit=limit + 1, before=before)
    openings = await services.conversations.openings([each.id for each in found])
    items = [
        conversation_of(
            each, shown_name(services.directory, caller, each.device_id), openings.get(each.id, "")
        )
        for each in found
    ]
    if not items:
        return Page(items=[])
    last = items[:limit][-1]
    return page_of(items, limit, _microseconds(last.last_turn_at), last.id)


@router.get("/search")
async def search_turns(
    services: Services,
    caller: Reader,
    q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY_CHARS, description="Words to search for")],
    device: Device = None,
    agent: Agent = None,
    outcome: Outcome = None,
    owner: Owner = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
) -> Page[FoundTurn]:
    """Turns in which all words of `q` were heard or replied, the newest first. `light*` is a word
    that begins so; case and accents do not count."""
    key = key_of(cursor, int)
    found = await services.conversations.search(
        asker_of(caller), q, limit=limit + 1, before=None if key is None else _serial(key[0]),
        device_id=device, agent=agent, outcome=outcome, owner_id=owner,
        since=_aware(since), until=_aware(until),
    )  # fmt: skip
    items = [
        FoundTurn(
            turn=turn_of(each.turn),
            conversation=conversation_of(
                each.conversation, shown_name(services.directory, caller, each.conversation.device_id)
            ),
        )
        for each in found
    ]
    return page_of(items, limit, (found[:limit][-1].turn.id or 0) if found else 0)


@router.get("/{conversation_id}")
async def read_conversation(
    services: Services,
    caller: Reader,
    conversation_id: ConversationId,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
) -> ConversationTurns:
    """A conversation, with a page of its turns in their order."""
    key = key_of(cursor, int)
    found, turns = await services.conversations.read(
        asker_of(caller), conversation_id, limit=limit + 1, after=0 if key is None else _number(key[0])
    )
    sounds = await services.conversations.sounds(asker_of(caller), conversation_id)
    items = [turn_of(each, audio_of(sounds, each.number)) for each in turns]
    page = page_of(items, limit, items[:limit][-1].number if items else 0)
    name = shown_name(services.directory, caller, found.device_id)
    return ConversationTurns(**conversation_of(found, name).model_dump(), page=page)


@router.get("/{conversation_id}/turns/{number}")
async def read_turn(
    services: Services,
    caller: Reader,
    conversation_id: ConversationId,
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
) -> Turn:
    """One turn of a conversation."""
    _, turn = await services.conversations.turn(asker_of(caller), conversation_id, number)
    sounds = await services.conversations.sounds(asker_of(caller), conversation_id)
    return turn_of(turn, audio_of(sounds, turn.number))


@router.delete("/{conversation_id}", status_code=204)
async def delete_conversation(services: Services, caller: Writer, conversation_id: ConversationId) -> None:
    """Deletes a conversation for ever. A member deletes those that are his."""
    await services.conversations.delete(asker_of(caller), caller.author, conversation_id)


@router.delete("")
async def delete_conversations(
    services: Services,
    caller: Writer,
    device: Device = None,
    agent: Agent = None,
    outcome: Outcome = None,
    owner: Owner = None,
    since: Since = None,
    until: Until = None,
) -> DeletedConversations:
    """Deletes the conversations that fit, for ever; a member's own ones alone. Some hundred at once: ask
    again as long as there are more."""
    wanted = filter_of(device, agent, outcome, owner, since, until)
    if wanted == Filter():
        raise Invalid("name a device, an agent, an outcome, an owner, or a time by `from` or `to`")
    deleted = await services.conversations.delete_some(asker_of(caller), caller.author, wanted)
    return DeletedConversations(deleted=deleted.conversations, more=deleted.more)


def filter_of(
    device: str | None,
    agent: str | None,
    outcome: str | None,
    owner: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Filter:
    """The conversations that are asked for. Raises Invalid."""
    return Filter(
        device_id=device,
        agent=agent,
        outcome=outcome,
        owner_id=owner,
        since=_aware(since),
        until=_aware(until),
    )


def asker_of(caller: Caller) -> Asker:
    """The caller, as the store is asked for what he may see."""
    return Asker(caller.user_id, caller.groups, caller.is_admin)


def _aware(at: datetime | None) -> datetime | None:
    """The moment with a zone, UTC where none was given. Raises Invalid for one that no calendar has."""
    if at is None:
        return None
    try:
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise Invalid("from, to: use a time between the years 1 and 9999") from None


def _microseconds(at: datetime) -> int:
    """Exact, as a float is not."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _place(key: tuple[str | int | float, ...] | None) -> tuple[datetime, str] | None:
    if key is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=int(key[0])), str(key[1])
    except OverflowError:
        raise Invalid("cursor: use `next` of the page before, as it is") from None


def _serial(key: str | float) -> int:
    return max(0, min(int(key), 2**63 - 1))


def _number(key: str | float) -> int:
    return max(0, min(int(key), 2**31 - 1))
