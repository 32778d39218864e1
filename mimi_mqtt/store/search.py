"""Search in what was heard and replied: the index of words, and the query.

SQLite has an FTS5 table, PostgreSQL a GIN index over `tsvector`; both are given the words that
`store.words` finds, so that both find the same. Owner and device of a turn are words of the index too: what
somebody may not see costs a search nothing. A row of the index goes with its turn, by a trigger or a foreign
key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, String, and_, literal, literal_column, text
from sqlalchemy import cast as sa_cast
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.errors import Invalid
from mimi_mqtt.store.tables import Conversation, Turn
from mimi_mqtt.store.time_bounds import within
from mimi_mqtt.store.values import UtcDateTime
from mimi_mqtt.store.viewers import Viewer
from mimi_mqtt.store.words import Asked, asked, indexed

SEARCH_S: Final = 2.0
"""Longest time of a search, in seconds."""
MAX_QUERY_CHARS: Final = 200
"""Longest text that is searched for."""

_INSERT: Final = {
    "sqlite": text("INSERT OR REPLACE INTO turn_words (rowid, words) VALUES (:id, :words)"),
    "postgresql": text(
        "INSERT INTO turn_words (turn_id, words) VALUES "
        "(:id, array_to_tsvector(string_to_array(CAST(:words AS TEXT), ' '))) ON CONFLICT DO NOTHING"
    ),
}
# SQLite is told the order of the joins: it would else look each turn of a person up in the index.
_FROM: Final = {
    "sqlite": text(
        "turn_words CROSS JOIN turns ON turns.id = turn_words.rowid "
        "CROSS JOIN conversations ON conversations.id = turns.conversation_id"
    ),
    "postgresql": text(
        "turn_words JOIN turns ON turns.id = turn_words.turn_id "
        "JOIN conversations ON conversations.id = turns.conversation_id"
    ),
}
_OWNER: Final = literal_column("conversations.owner_id", String())
_DEVICE: Final = literal_column("conversations.device_id", String())
_AGENT: Final = literal_column("conversations.agent", String())
_OUTCOME: Final = literal_column("conversations.outcome", String())
_STARTED: Final = literal_column("turns.started_at", UtcDateTime())


@dataclass(frozen=True, slots=True)
class Words:
    """A turn to be indexed."""

    turn_id: int
    owner_id: str
    device_id: str
    heard: str
    reply: str


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that was found, with its conversation."""

    turn: Turn
    conversation: Conversation


async def index(session: AsyncSession, turns: Iterable[Words]) -> None:
    """Adds turns to the index; one that is there already stays."""
    rows = [
        {
            "id": turn.turn_id,
            "words": row_words(indexed(turn.heard, turn.reply), turn.owner_id, turn.device_id),
        }
        for turn in turns
    ]
    if rows:
        dialect = (await session.connection()).dialect.name
        await session.execute(_INSERT[dialect], rows)


def row_words(words: Iterable[str], owner_id: str, device_id: str) -> str:
    """The words of a row of the index, of a turn with these `words`."""
    return " ".join([*words, _owner(owner_id), _device(device_id)])


async def find(
    session: AsyncSession,
    viewer: Viewer,
    query: str,
    *,
    limit: int,
    before: int | None = None,
    device_id: str | None = None,
    agent: str | None = None,
    outcome: str | None = None,
    owner_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Sequence[Found]:
    """The turns with all words of `query` that `viewer` sees, the newest first, of those older than the turn
    `before`; `light*` is a word that begins so.

    Raises Invalid: there is no word in `query`, or the search takes longer than SEARCH_S.
    """
    wanted = asked(query[:MAX_QUERY_CHARS])
    if not wanted:
        raise Invalid("q: there is no word in it to search for")
    scopes = None if viewer.everything else viewer.scopes()
    if scopes == []:
        return []
    places = [] if device_id is None else [[_device(device_id)]]
    if scopes is not None:
        places.append([_owner(owner) for owner, _ in scopes])
    if owner_id is not None:
        places.append([_owner(owner_id)])
    sqlite = (await session.connection()).dialect.name == "sqlite"
    key: ColumnElement[int]
    conditions: list[ColumnElement[bool]]
    if sqlite:
        key = literal_column("turn_words.rowid", BigInteger())
        conditions = [literal_column("turn_words").bool_op("MATCH")(fts_query(wanted, places))]
    else:
        key = literal_column("turn_words.turn_id", BigInteger())
        from sqlalchemy.dialects.postgresql import TSQUERY  # a start with SQLite does without

        words = sa_cast(literal(tsquery(wanted, places)), TSQUERY)
        conditions = [literal_column("turn_words.words").bool_op("@@")(words)]
    conditions.append(viewer.condition(_OWNER, _DEVICE))
    if before is not None:
        conditions.append(key < before)
    if device_id is not None:
        conditions.append(_DEVICE.is_not_distinct_from(device_id))
    if agent is not None:
        conditions.append(_AGENT.is_not_distinct_from(agent))
    if outcome is not None:
        conditions.append(_OUTCOME.is_not_distinct_from(outcome))
    if owner_id is not None:
        conditions.append(_OWNER.is_not_distinct_from(owner_id))
    if since is not None:
        conditions.append(since <= _STARTED)
    if until is not None:
        conditions.append(until > _STARTED)
    found = (
        select(literal_column("turns.id", BigInteger()))
        .select_from(_FROM["sqlite" if sqlite else "postgresql"])
        .where(and_(*conditions))
        .order_by(key.desc())
        .limit(limit)
    )
    advice = "search for a rarer word, or in the turns of one device"
    async with within(session, SEARCH_S, advice):
        ids = (await session.scalars(found)).all()
    rows = await session.execute(
        select(Turn, Conversation)
        .join(Conversation, col(Conversation.id) == col(Turn.conversation_id))
        .where(col(Turn.id).in_(ids))
        .order_by(col(Turn.id).desc())
    )
    return [Found(turn, conversation) for turn, conversation in rows]


async def empty(session: AsyncSession) -> bool:
    """True when no turn is in the index."""
    return (await session.execute(text("SELECT 1 FROM turn_words LIMIT 1"))).first() is None


def _owner(owner_id: str) -> str:
    """The word of the index for an owner: letters and digits alone, after a sign that no word has."""
    return f":o{owner_id.encode().hex()}"


def _device(device_id: str) -> str:
    return f":d{device_id.encode().hex()}"


def fts_query(wanted: Asked, places: Sequence[Sequence[str]]) -> str:
    """The query of FTS5 for turns with all `wanted`, and one of each of `places`; words have no quotes in
    them."""
    parts = [f'"{word}"' for word in wanted.words] + [f'"{prefix}" *' for prefix in wanted.prefixes]
    parts += ["(" + " OR ".join(f'"{place}"' for place in either) + ")" for either in places]
    return " AND ".join(parts)


def tsquery(wanted: Asked, places: Sequence[Sequence[str]]) -> str:
    """The same for PostgreSQL; words have no quotes and no backslashes in them."""
    parts = [f"'{word}'" for word in wanted.words] + [f"'{prefix}':*" for prefix in wanted.prefixes]
    parts += ["(" + " | ".join(f"'{place}'" for place in either) + ")" for either in places]
    return " & ".join(parts)
