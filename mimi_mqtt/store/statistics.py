"""Statistics of turns: counted in the transaction that writes them, and read as sums of days.

A turn counts on the day on which it began, in the zone that the server was set to then.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, tzinfo
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import ColumnElement, Row, Table, and_, bindparam, delete, func, select, tuple_
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.store.histogram import BUCKETS, bucket_of, percentile
from mimi_mqtt.store.tables import (
    AMOUNTS,
    DEVICE_ID_CHARS,
    KEY_CHARS,
    LATENCIES,
    PROVIDER_CHARS,
    SUMS,
    USER_ID_CHARS,
    daily_errors,
    daily_statistics,
)
from mimi_mqtt.store.time_bounds import within
from mimi_mqtt.store.turn_record import ProviderUse, TurnRecord
from mimi_mqtt.store.values import bounded
from mimi_mqtt.store.viewers import Viewer

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert

By = Literal["day", "device", "agent", "provider"]

ALL_DEVICES: Final = ""
"""The device id of the rows that count the turns of all devices."""
FAILURES: Final = ("failed", "stuck")
"""Outcomes of turns that count as failed."""

ROLES: Final = ("stt", "llm", "tts", "s2s", "vad")
"""Roles of providers that are told apart; another's use counts for the turn alone."""

_TURN: Final = ""  # the role of the rows that count turns
_ROLES: Final[Mapping[str, tuple[str, str]]] = {
    "stt": ("endpoint", "transcript"),
    "llm": ("transcript", "first_token"),
    "tts": ("first_sentence", "first_audio"),
    "s2s": ("endpoint", "first_audio"),
}
"""Role -> the stages between which its provider works."""
_KEY: Final = ("role", "device_id", "day", "owner_id", "agent", "provider")
_ONCE: Final = 500
"""Rows that are deleted in one transaction."""

READ_S: Final = 5.0
"""Longest time of a question, in seconds."""

Key = tuple[str, str, date, str, str, str]


@dataclass(slots=True)
class _Sums:
    """A row of `daily_statistics`."""

    numbers: dict[str, float] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def add(self, name: str, number: float) -> None:
        self.numbers[name] = self.numbers.get(name, 0) + number

    def values(self) -> dict[str, object]:
        sums = {name: int(self.numbers.get(name, 0)) for name in SUMS}
        amounts = {name: float(self.numbers.get(name, 0.0)) for name in AMOUNTS}
        return {**sums, **amounts, **dict(zip(LATENCIES, self.buckets, strict=True))}


class Counted:
    """Adds up turns, for one transaction; `zone` is that of the days."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._sums: dict[Key, _Sums] = {}
        self._errors: Counter[tuple[str, str, date, str, str, str, str]] = Counter()

    def add(self, record: TurnRecord) -> None:
        """Counts a turn."""
        day = record.started_at.astimezone(self._zone).date()
        device = bounded(record.device_id, DEVICE_ID_CHARS)
        owner, agent = bounded(record.owner_id, USER_ID_CHARS), bounded(record.agent, KEY_CHARS)
        for device_id, owner_id in ((device, owner), (ALL_DEVICES, "")):
            self._turn((_TURN, device_id, day, owner_id, agent, ""), record)
            for use in record.uses:
                if use.role not in ROLES:
                    continue
                role, name = bounded(use.role, KEY_CHARS), bounded(use.name, PROVIDER_CHARS)
                self._provider((role, device_id, day, owner_id, agent, name), record, use)
            if record.error:
                role = record.error_role if record.error_role in ROLES else _TURN
                name = bounded(record.providers.get(record.error_role, ""), PROVIDER_CHARS)
                key = (role, device_id, day, owner_id, agent, name, bounded(record.error, KEY_CHARS))
                self._errors[key] += 1

    def _turn(self, key: Key, record: TurnRecord) -> None:
        sums = self._sums.setdefault(key, _Sums())
        sums.add("turns", 1)
        sums.add("failed", record.outcome in FAILURES)
        sums.add("heard_s", record.heard_s)
        sums.add("spoken_s", record.spoken_s)
        for use in record.uses:
            _add_use(sums, use)
        first_sound = record.timings_ms.get("first_audio")
        if first_sound is not None and record.kind in ("utterance", ""):
            sums.buckets[bucket_of(first_sound)] += 1

    def _provider(self, key: Key, record: TurnRecord, use: ProviderUse) -> None:
        sums = self._sums.setdefault(key, _Sums())
        sums.add("turns", 1)
        sums.add("failed", record.error_role == use.role)
        _add_use(sums, use)
        begin, end = (record.timings_ms.get(stage) for stage in _ROLES.get(use.role, ("", "")))
        if begin is not None and end is not None and record.kind == "utterance":
            sums.buckets[bucket_of(end - begin)] += 1

    async def save(self, session: AsyncSession) -> None:
        """Adds the sums to the tables."""
        # In the order of their keys, so that two nodes do not wait for each other in a circle.
        rows = [
            {**dict(zip(_KEY, key, strict=True)), **sums.values()} for key, sums in sorted(self._sums.items())
        ]
        errors = [
            {**dict(zip((*_KEY, "kind"), key, strict=True)), "errors": number}
            for key, number in sorted(self._errors.items())
        ]
        await _add(session, daily_statistics, rows, (*SUMS, *AMOUNTS, *LATENCIES))
        await _add(session, daily_errors, errors, ("errors",))


def _add_use(sums: _Sums, use: ProviderUse) -> None:
    for name in ("input_tokens", "output_tokens", "input_audio_tokens", "output_audio_tokens", "characters"):
        sums.add(name, getattr(use, name))
    sums.add("audio_s", use.audio_s)
    sums.add("cost", use.cost or 0.0)


async def _add(
    session: AsyncSession, table: Table, rows: Sequence[dict[str, object]], sums: Sequence[str]
) -> None:
    """Inserts `rows`, or adds their `sums` to the rows that are there."""
    if not rows:
        return
    is_sqlite = (await session.connection()).dialect.name == "sqlite"
    insert: sqlite.Insert | PostgresInsert
    if is_sqlite:
        insert = sqlite.insert(table)
    else:
        from sqlalchemy.dialects import postgresql  # a start with SQLite does without

        insert = postgresql.insert(table)
    upsert = insert.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + insert.excluded[name] for name in sums},
    )
    await session.execute(upsert, rows)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Statistic:
    """Sums of one day, device, agent or provider; see `Counted` for what counts.

    `day`, `device_id`, `agent`, `role` and `provider` tell what it is of, and are empty otherwise.
    """

    day: date | None
    device_id: str
    agent: str
    role: str
    provider: str
    numbers: Mapping[str, float]
    """The columns SUMS and AMOUNTS of `store.tables.statistics`."""
    p50_ms: float | None
    p95_ms: float | None
    errors: Mapping[str, int]
    """Kind -> number."""


async def read(
    session: AsyncSession,
    viewer: Viewer,
    by: By,
    since: date,
    until: date,
    *,
    device_id: str | None = None,
    agent: str | None = None,
    limit: int,
    after: Sequence[Any] | None = None,
) -> Sequence[Statistic]:
    """The sums of the days from `since` to `until`, both included, in the order of their keys: at most
    `limit`, behind the key `after`. Raises Invalid when it takes longer than READ_S."""
    counted = _conditions(daily_statistics, viewer, by, since, until, device_id, agent)
    if counted is None:
        return []
    table = daily_statistics
    group = _group(table, by)
    if after is not None:
        counted.append(_behind(group, after))
    sums = [func.sum(table.c[name]).label(name) for name in (*SUMS, *AMOUNTS, *LATENCIES)]
    query = select(*group, *sums).where(and_(*counted)).group_by(*group).order_by(*group).limit(limit)
    async with within(session, READ_S, "ask for a shorter time, or for one device"):
        rows = (await session.execute(query)).all()
        if not rows:
            return []
        errors = await _errors(session, viewer, by, since, until, device_id, agent, rows)
    return [_statistic(by, row, errors.get(tuple(row[: len(group)]), {})) for row in rows]


async def total(
    session: AsyncSession, viewer: Viewer, since: date, until: date, device_id: str | None = None
) -> Statistic:
    """The sums of all that `viewer` sees of the days from `since` to `until`, both included. Raises Invalid
    when it takes longer than READ_S."""
    found = [await _total(session, table, viewer, since, until, device_id) for table in _TABLES]
    (numbers,), errors = found[0] or [{}], found[1]
    counts = [int(numbers.get(name) or 0) for name in LATENCIES]
    return Statistic(
        day=None, device_id="", agent="", role="", provider="",
        numbers={name: numbers.get(name) or 0 for name in (*SUMS, *AMOUNTS)},
        p50_ms=percentile(counts, 0.50),
        p95_ms=percentile(counts, 0.95),
        errors={row["kind"]: int(row["errors"]) for row in errors},
    )  # fmt: skip


async def _total(
    session: AsyncSession, table: Table, viewer: Viewer, since: date, until: date, device_id: str | None
) -> Sequence[Mapping[Any, Any]]:
    conditions = _conditions(table, viewer, "day", since, until, device_id, None)
    if conditions is None:
        return []
    is_turns = table is daily_statistics
    sums = (*SUMS, *AMOUNTS, *LATENCIES) if is_turns else ("errors",)
    group = [] if is_turns else [table.c.kind]
    query = select(*group, *(func.sum(table.c[name]).label(name) for name in sums))
    async with within(session, READ_S, "ask for a shorter time, or for one device"):
        return (await session.execute(query.where(and_(*conditions)).group_by(*group))).mappings().all()


async def is_any(session: AsyncSession, viewer: Viewer) -> bool:
    """True when any turn was counted that `viewer` sees."""
    conditions = _conditions(daily_statistics, viewer, "day", date.min, date.max, None, None)
    if conditions is None:
        return False
    query = select(daily_statistics.c.day).where(and_(*conditions)).limit(1)
    return (await session.execute(query)).first() is not None


async def _errors(
    session: AsyncSession, viewer: Viewer, by: By, since: date, until: date,
    device_id: str | None, agent: str | None, rows: Sequence[Row[Any]],
) -> Mapping[tuple[Any, ...], Mapping[str, int]]:  # fmt: skip
    conditions = _conditions(daily_errors, viewer, by, since, until, device_id, agent)
    if conditions is None:
        return {}
    table, group = daily_errors, _group(daily_errors, by)
    conditions += [group[0] >= rows[0][0], group[0] <= rows[-1][0]]
    query = select(*group, table.c.kind, func.sum(table.c.errors)).where(and_(*conditions))
    found: dict[tuple[Any, ...], dict[str, int]] = {}
    for *key, kind, number in (await session.execute(query.group_by(*group, table.c.kind))).all():
        found.setdefault(tuple(key), {})[kind] = int(number)
    return found


def _group(table: Table, by: By) -> list[ColumnElement[Any]]:
    columns: Mapping[By, list[ColumnElement[Any]]] = {
        "day": [table.c.day],
        "device": [table.c.device_id],
        "agent": [table.c.agent],
        "provider": [table.c.role, table.c.provider],
    }
    return columns[by]


def _behind(group: Sequence[ColumnElement[Any]], key: Sequence[Any]) -> ColumnElement[bool]:
    return tuple_(*group) > tuple_(*key)


def _conditions(
    table: Table, viewer: Viewer, by: By, since: date, until: date, device_id: str | None, agent: str | None
) -> list[ColumnElement[bool]] | None:
    """The rows to be added up; None when there can't be any."""
    found = [table.c.day >= since, table.c.day <= until]
    if device_id is not None:
        found.append(table.c.device_id == device_id)
    elif by == "device":
        found.append(table.c.device_id > ALL_DEVICES)
    elif viewer.everything:
        found.append(table.c.device_id == ALL_DEVICES)
    if not viewer.everything:
        if not viewer.scopes() or device_id == ALL_DEVICES:
            return None
        found.append(viewer.condition(table.c.owner_id, table.c.device_id))
        found.append(table.c.device_id != ALL_DEVICES)
        # Says nothing new, but the index begins with it.
        found.append(table.c.owner_id.in_({owner for owner, _ in viewer.scopes()}))
    if agent is not None:
        found.append(table.c.agent == agent)
    # A member's rows are found by their owner: the key, which begins with the role, must not seem to help.
    role = table.c.role if viewer.everything else func.coalesce(table.c.role, _TURN)
    if by == "provider":
        found.append(role.in_(ROLES))
    else:
        found.append(role.in_((_TURN,) if table is daily_statistics else (_TURN, *ROLES)))
    return found


def _statistic(by: By, row: Row[Any], errors: Mapping[str, int]) -> Statistic:
    told = row._mapping
    counts = [int(told[name]) for name in LATENCIES]
    return Statistic(
        day=told["day"] if by == "day" else None,
        device_id=told["device_id"] if by == "device" else "",
        agent=told["agent"] if by == "agent" else "",
        role=told["role"] if by == "provider" else "",
        provider=told["provider"] if by == "provider" else "",
        numbers={name: told[name] for name in (*SUMS, *AMOUNTS)},
        p50_ms=percentile(counts, 0.50),
        p95_ms=percentile(counts, 0.95),
        errors=errors,
    )


# ── deleting ─────────────────────────────────────────────────────────────────────────────────────────────


async def forget_days(session: AsyncSession, before: date) -> int:
    """Deletes rows of days before `before`: some hundred at most. Returns how many those are."""
    return sum([await _delete(session, table, table.c.day < before) for table in _TABLES])


async def forget_person(session: AsyncSession, user_id: str) -> int:
    """Deletes rows of the person's devices while they were his, some hundred at most; those of all devices
    stay, and name nobody. Returns how many those are: call it until there are none."""
    if not user_id:
        return 0
    return sum([await _delete(session, table, table.c.owner_id == user_id) for table in _TABLES])


async def forget_device(session: AsyncSession, device_id: str) -> int:
    """Deletes rows of the device, as `forget_person` does."""
    if not device_id:
        return 0
    return sum([await _delete(session, table, table.c.device_id == device_id) for table in _TABLES])


_TABLES: Final = (daily_statistics, daily_errors)


async def _delete(session: AsyncSession, table: Table, condition: ColumnElement[bool]) -> int:
    key = list(table.primary_key.columns)
    rows = (await session.execute(select(*key).where(condition).limit(_ONCE))).all()
    if rows:
        await session.execute(
            delete(table).where(and_(*(column == bindparam(f"of_{column.name}") for column in key))),
            [{f"of_{column.name}": value for column, value in zip(key, row, strict=True)} for row in rows],
        )
    return len(rows)
