"""Lists of devices: filtered, searched, sorted and paged; each query finds its way by an index."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import JSON, ColumnElement, Select, String, and_, cast, func, literal, or_
from sqlalchemy import select as sa_select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import Activation, Board, Device

SortKey = Literal["id", "name", "created_at", "last_seen_at"]

_COLUMNS: Final = {
    "id": col(Device.id),
    "name": col(Device.name),
    "created_at": col(Device.created_at),
    "last_seen_at": col(Device.last_seen_at),
}


@dataclass(frozen=True, slots=True)
class DeviceQuery:
    """The devices wanted; None stands for any. `person` and `groups` are those of a member, who sees his own
    and his groups' devices; `person` None: everybody's. `among` and `not_among` are ids, such as those
    connected; `search` is looked for in id, name, room and tags."""

    person: str | None = None
    groups: frozenset[str] = frozenset()
    allowed: bool | None = None
    owner_id: str | None = None
    group_id: str | None = None
    room: str | None = None
    tag: str | None = None
    board: str | None = None
    agent: str | None = None
    firmware_version: str | None = None
    search: str | None = None
    among: Sequence[str] | None = None
    not_among: Sequence[str] | None = None
    sort: SortKey = "id"
    descending: bool = False


async def page(
    session: AsyncSession, query: DeviceQuery, after: tuple[str | datetime, str] | None, limit: int
) -> Sequence[Device]:
    """Devices behind `after`, the sort key and id of the last one of the page before; at most `limit`."""
    sqlite = (await session.connection()).dialect.name == "sqlite"
    found = select(Device).where(*_conditions(query, sqlite=sqlite))
    key, device_id = _COLUMNS[query.sort], col(Device.id)
    if after is not None:
        further = key < after[0] if query.descending else key > after[0]
        same = and_(key == after[0], device_id < after[1] if query.descending else device_id > after[1])
        found = found.where(further if query.sort == "id" else or_(further, same))
    order = (key, device_id) if query.sort != "id" else (device_id,)
    found = found.order_by(*(each.desc() if query.descending else each.asc() for each in order))
    return (await session.scalars(found.limit(limit))).all()


def _conditions(query: DeviceQuery, *, sqlite: bool) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if query.person is not None:
        own = and_(col(Device.owner_id) == query.person, col(Device.owner_id) != "")
        shared = and_(col(Device.group_id).in_(sorted(query.groups)), col(Device.group_id) != "")
        wanted.append(or_(own, shared))
    for column, value in (
        (col(Device.owner_id), query.owner_id),
        (col(Device.group_id), query.group_id),
        (col(Device.room), query.room),
        (col(Device.board), query.board),
        (col(Device.agent), query.agent),
        (col(Device.firmware_version), query.firmware_version),
    ):
        if value is not None:
            wanted.append(column == value)
    if query.allowed is not None:
        wanted.append(col(Device.allowed).is_(query.allowed))
    if query.tag is not None:
        wanted.append(_is_tagged(query.tag, sqlite=sqlite))
        wanted.append(_searched(query.tag))
    wanted += [_searched(word) for word in (query.search or "").split()]
    if query.among is not None:
        wanted.append(col(Device.id).in_(ids_of(query.among, sqlite=sqlite)))
    if query.not_among is not None:
        wanted.append(col(Device.id).not_in(ids_of(query.not_among, sqlite=sqlite)))
    return wanted


def _is_tagged(tag: str, *, sqlite: bool) -> ColumnElement[bool]:
    # Not by LIKE, which takes "kitchen" for "Kitchen" on SQLite.
    position = func.instr if sqlite else func.strpos
    return position(cast(col(Device.tags), String), json.dumps(tag)) > 0


def _searched(word: str) -> ColumnElement[bool]:
    return col(Device.search).contains(word.casefold(), autoescape=True)


def ids_of(ids: Sequence[str], *, sqlite: bool) -> Select[tuple[str]]:
    """The ids as a table: a database takes any number in one parameter, and not in as many as there are."""
    listed = json.dumps(list(ids))
    if sqlite:
        return select(func.json_each(listed).table_valued("value").c.value)
    return select(
        func.json_array_elements_text(cast(literal(listed, String), JSON)).table_valued("value").c.value
    )


MAX_LABELS: Final = 500
"""Labels of one kind that are told."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels that devices have, in their order: what a list can be filtered by."""

    rooms: Sequence[str]
    tags: Sequence[str]
    boards: Sequence[str]
    versions: Sequence[str]


async def labels(session: AsyncSession, person: str | None, groups: frozenset[str]) -> Labels:
    """The labels of the devices that a person may see, None for everybody's."""
    mine = _conditions(DeviceQuery(person=person, groups=groups), sqlite=True)

    async def of(column: ColumnElement[str]) -> list[str]:
        query = sa_select(column).where(*mine).distinct().order_by(column).limit(MAX_LABELS)
        return [found for found in await session.scalars(query) if found]

    lists = await of(cast(col(Device.tags), String))
    tags = {str(tag) for listed in lists for tag in json.loads(listed)}
    return Labels(
        await of(cast(col(Device.room), String)), sorted(tags)[:MAX_LABELS],
        await of(cast(col(Device.board), String)), await of(cast(col(Device.firmware_version), String)),
    )  # fmt: skip


async def seen_by(session: AsyncSession, person: str, groups: Collection[str], limit: int) -> Sequence[str]:
    """The ids of devices that may connect and that are the person's, or shared with a group of his."""
    query = DeviceQuery(person=person, groups=frozenset(groups), allowed=True)
    sqlite = (await session.connection()).dialect.name == "sqlite"
    found = select(Device.id).where(*_conditions(query, sqlite=sqlite)).limit(limit)
    return (await session.scalars(found)).all()


async def board_counts(session: AsyncSession) -> dict[str, dict[str, int]]:
    """The number of devices of each board by firmware version."""
    query = select(Device.board, Device.firmware_version, func.count())
    query = query.group_by(col(Device.board), col(Device.firmware_version))
    found: dict[str, dict[str, int]] = {}
    for board, version, number in await session.execute(query):
        found.setdefault(board, {})[version] = number
    return found


async def agent_counts(session: AsyncSession, query: DeviceQuery) -> dict[str, int]:
    """The number of the devices wanted by the agent that is set for them, "" for none."""
    sqlite = (await session.connection()).dialect.name == "sqlite"
    counted = select(Device.agent, func.count()).where(*_conditions(query, sqlite=sqlite))
    rows = await session.execute(counted.group_by(col(Device.agent)))
    return {str(agent): int(number) for agent, number in rows}


async def boards(session: AsyncSession) -> Sequence[Board]:
    """Every type of board that was seen, by name."""
    return (await session.scalars(select(Board).order_by(col(Board.type)))).all()


async def activations_page(
    session: AsyncSession, after: int, now: datetime, limit: int
) -> Sequence[Activation]:
    """Pending activations by id, behind `after`, without those whose asker is let in already."""
    let_in = select(Device.id).where(
        Device.id == Activation.device_id, Device.client_id == Activation.client_id, col(Device.allowed)
    )
    query = select(Activation).where(
        col(Activation.id) > after, col(Activation.expires_at) > now, ~let_in.exists()
    )
    return (await session.scalars(query.order_by(col(Activation.id)).limit(limit))).all()
