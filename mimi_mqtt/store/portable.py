"""Rows of every table as lines of JSON, the same from SQLite and from PostgreSQL, and back.

The tables of a revision are those that its migrations make in an empty SQLite database: what only one kind of
database has, such as an index for searching, is no part of them. Values are kept exactly: a column that is
NULL is left out of its line, times are ISO 8601 in UTC, bytes base64, JSON is itself.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    cast,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.schema import AddConstraint, DropConstraint, ForeignKeyConstraint
from sqlalchemy.types import TypeEngine

from mimi_mqtt.errors import StoreError
from mimi_mqtt.store.migrating import migrate
from mimi_mqtt.store.values import UtcDateTime

LOCAL: Final = frozenset({"alembic_version", "backups"})
"""Tables about this installation itself, which no other one can use."""

_ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of column: its type in both databases, and its values in JSON."""

    type: TypeEngine[Any]
    to_json: Callable[[Any], object]
    from_json: Callable[[Any], object]


def _expect(kind: type | tuple[type, ...]) -> Callable[[Any], object]:
    def checked(value: Any) -> object:
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        raise ValueError(f"{type(value).__name__} is not expected")

    return checked


def _same(value: Any) -> object:
    return value


_KINDS: Final[Sequence[tuple[type[TypeEngine[Any]], Kind]]] = (
    (JSON, Kind(JSON(none_as_null=True), json.loads, lambda value: JSON.NULL if value is None else value)),
    (DateTime, Kind(UtcDateTime(), datetime.isoformat, datetime.fromisoformat)),
    (Date, Kind(Date(), date.isoformat, date.fromisoformat)),
    (Boolean, Kind(Boolean(), _same, _expect(bool))),
    (
        LargeBinary,
        Kind(
            LargeBinary(),
            lambda value: base64.b64encode(value).decode(),
            lambda value: base64.b64decode(value, validate=True),
        ),
    ),
    (Float, Kind(Double(), _same, lambda value: float(_expect((int, float))(value)))),  # type: ignore[arg-type]
    (Numeric, Kind(Numeric(), str, Decimal)),
    (Integer, Kind(BigInteger(), _same, _expect(int))),
    (String, Kind(Text(), _same, _expect(str))),
)


@dataclass(frozen=True, slots=True)
class PortableTable:
    """A table at one revision, as both kinds of database have it."""

    name: str
    columns: Mapping[str, Kind]
    table: Table

    def read(self, connection: Connection) -> Iterator[bytes]:
        """Every row as a line of JSON, in the order of the primary key; some at a time are in memory."""
        columns = [
            cast(self.table.c[name], Text).label(name) if isinstance(kind.type, JSON) else self.table.c[name]
            for name, kind in self.columns.items()
        ]
        query = select(*columns).order_by(*self.table.primary_key.columns)
        makers = [(name, kind.to_json) for name, kind in self.columns.items()]
        streamed = connection.execution_options(stream_results=True, yield_per=_ROWS_AT_ONCE)
        for row in streamed.execute(query):
            line = {
                name: make(value)
                for (name, make), value in zip(makers, row, strict=True)
                if value is not None
            }
            # JSON may hold half of a pair of surrogates, which `json.loads` of bytes takes back as it is.
            text_line = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
            yield text_line.encode("utf-8", "surrogatepass") + b"\n"

    def row(self, line: bytes) -> dict[str, object]:
        """The row in a line, with every column. Raises StoreError when it is no row of this table."""
        try:
            told = json.loads(line)
            if not isinstance(told, dict) or not told.keys() <= self.columns.keys():
                raise ValueError("other columns than the table's")
            return {
                name: kind.from_json(told[name]) if name in told else None
                for name, kind in self.columns.items()
            }
        except (ValueError, TypeError, InvalidOperation, binascii.Error, RecursionError) as error:
            raise StoreError(f"a row of the table {self.name} can't be read: {error}") from None

    def write(self, connection: Connection, lines: Iterable[bytes]) -> int:
        """Inserts the rows of `lines`, and returns their number. Raises StoreError."""
        rows = [self.row(line) for line in lines]
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            connection.execute(insert(self.table), rows[start : start + _ROWS_AT_ONCE])
        return len(rows)


def tables_of(revision: str) -> dict[str, PortableTable]:
    """The tables of a revision by name, without those of `LOCAL`. Raises StoreError, Invalid."""
    engine = create_engine("sqlite://")
    event.listen(engine, "connect", _leave_transactions_alone)
    try:
        with engine.begin() as connection:
            migrate(connection, revision)
            names = connection.execute(
                text("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
            ).scalars()
            ordinary = [name for name in names if not name.startswith("sqlite_") and name not in LOCAL]
            found = MetaData()
            found.reflect(connection, only=ordinary, resolve_fks=False)
    finally:
        engine.dispose()
    return {name: _portable(found.tables[name]) for name in sorted(ordinary)}


def _leave_transactions_alone(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _portable(found: Table) -> PortableTable:
    kinds = {column.name: _kind(column) for column in found.columns if column.computed is None}
    columns = [
        Column(name, kind.type, primary_key=found.c[name].primary_key, autoincrement=False)
        for name, kind in kinds.items()
    ]
    return PortableTable(found.name, kinds, Table(found.name, MetaData(), *columns))


def _kind(column: Column[Any]) -> Kind:
    for declared, kind in _KINDS:
        if isinstance(column.type, declared):
            return kind
    raise StoreError(
        f"{column.table.name}.{column.name} is of a kind that backups do not know: {column.type!r}"
    )


@contextmanager
def unchecked(connection: Connection, tables: Iterable[str]) -> Iterator[None]:
    """Has foreign keys checked at the end alone, so that rows may come in any order. Raises StoreError when
    a row refers to one that is not there, and what PostgreSQL raises then."""
    if connection.dialect.name == "sqlite":
        yield  # `Store.maintenance` has them off
        if missing := connection.execute(text("PRAGMA foreign_key_check")).first():
            raise StoreError(f"a row of the table {missing[0]} refers to one of {missing[2]} that is missing")
        return
    inspector = inspect(connection)
    constraints = []
    for name in tables:
        for key in inspector.get_foreign_keys(name):
            metadata = MetaData()
            holder = Table(name, metadata, *(Column(each, Text) for each in key["constrained_columns"]))
            target = holder if key["referred_table"] == name else Table(key["referred_table"], metadata)
            for each in key["referred_columns"]:
                if each not in target.c:
                    target.append_column(Column(each, Text))
            constraint = ForeignKeyConstraint(
                key["constrained_columns"],
                [f"{key['referred_table']}.{each}" for each in key["referred_columns"]],
                name=key["name"],
                **key.get("options", {}),
            )
            holder.append_constraint(constraint)
            constraints.append(constraint)
    for constraint in constraints:
        connection.execute(DropConstraint(constraint))
    yield
    for constraint in constraints:
        connection.execute(AddConstraint(constraint))


def raise_sequences(connection: Connection, tables: Iterable[str]) -> None:
    """Has PostgreSQL number new rows above those that were inserted with their numbers."""
    if connection.dialect.name != "postgresql":
        return
    for name in tables:
        for column in inspect(connection).get_pk_constraint(name)["constrained_columns"]:
            sequence = connection.execute(select(func.pg_get_serial_sequence(f'"{name}"', column))).scalar()
            if sequence is not None:
                connection.execute(
                    text(
                        f'SELECT setval(:sequence, GREATEST(1, (SELECT COALESCE(MAX("{column}"), 0) '  # noqa: S608
                        f'FROM "{name}")), (SELECT COUNT(*) > 0 FROM "{name}"))'
                    ),
                    {"sequence": sequence},
                )
