"""Rows go from either kind of database into either kind, and are the same there."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, text
from sqlmodel import SQLModel, col

from mimi_mqtt.errors import StoreError
from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.migrations import HEAD
from mimi_mqtt.store.portable import LOCAL, raise_sequences, tables_of, unchecked
from mimi_mqtt.store.tables import Activation
from tests.databases import PostgresServer, make_database
from tests.rows import sample_rows

TABLES = tables_of(HEAD)


def test_every_table_and_column_is_known() -> None:
    declared = {name: set(table.columns.keys()) for name, table in SQLModel.metadata.tables.items()}
    assert {name: set(table.columns) for name, table in TABLES.items()} == {
        name: columns for name, columns in declared.items() if name not in LOCAL
    }


def dump(connection: Connection) -> dict[str, list[bytes]]:
    return {name: list(table.read(connection)) for name, table in TABLES.items()}


def fill(connection: Connection, rows: Mapping[str, list[dict[str, Any]]]) -> None:
    for table in reversed(SQLModel.metadata.sorted_tables):
        connection.execute(delete(table))  # migrations put rows there, too
    for table in SQLModel.metadata.sorted_tables:
        if rows.get(table.name):
            connection.execute(insert(table), rows[table.name])


def load(connection: Connection, lines: Mapping[str, list[bytes]]) -> None:
    for table in reversed(SQLModel.metadata.sorted_tables):
        connection.execute(delete(table))  # migrations put rows there, too
    with unchecked(connection, TABLES):
        for name, table in TABLES.items():
            table.write(connection, lines[name])
    raise_sequences(connection, TABLES)


def typed(connection: Connection) -> dict[str, list[Any]]:
    """Every row as the program reads it."""
    return {
        table.name: [
            tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))
        ]
        for table in SQLModel.metadata.sorted_tables
        if table.name not in LOCAL
    }


@pytest.fixture
async def pair(store: Store, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """A database of one kind and one of the other."""
    if store.is_sqlite:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        other = Store(server.url(await make_database(server)))
    else:
        other = Store(f"sqlite:///{tmp_path}/other.db")
    await other.open()
    yield store, other
    await other.aclose()


async def test_every_row_of_every_table_survives_in_the_other_kind(pair: tuple[Store, Store]) -> None:
    store, other = pair
    rows = sample_rows(SQLModel.metadata)
    async with store.maintenance() as connection:
        await connection.run_sync(fill, rows)
        before = await connection.run_sync(typed)
        lines = await connection.run_sync(dump)
    async with other.maintenance() as connection:
        await connection.run_sync(load, lines)
        assert await connection.run_sync(typed) == before
        assert await connection.run_sync(dump) == lines
    assert all(before.values())


async def test_json_with_half_of_a_pair_of_surrogates_survives(pair: tuple[Store, Store]) -> None:
    store, other = pair
    rows = sample_rows(SQLModel.metadata)
    rows["ota_reports"][0]["report"] = {"board": "\ud83c", "\udcff": ["\0"]}
    async with store.maintenance() as connection:
        await connection.run_sync(fill, rows)
        lines = await connection.run_sync(dump)
    async with other.maintenance() as connection:
        await connection.run_sync(load, lines)
        assert await connection.run_sync(dump) == lines


async def test_new_rows_are_numbered_after_those_that_were_restored(pair: tuple[Store, Store]) -> None:
    store, other = pair
    at = datetime(2026, 8, 1, tzinfo=UTC)

    def activation(code: str) -> Activation:
        return Activation(
            device_id="aa",
            client_id=code,
            code=code,
            challenge="c",
            created_at=at,
            asked_at=at,
            expires_at=at,
        )

    async with store.write() as session:
        session.add_all([activation("000001"), activation("000002")])
    async with store.maintenance() as connection:
        lines = await connection.run_sync(dump)
    async with other.maintenance() as connection:
        await connection.run_sync(load, lines)
    async with other.write() as session:
        session.add(activation("000003"))
        await session.flush()
        found = (await session.scalars(select(col(Activation.id)).order_by(col(Activation.id)))).all()
    assert found == [1, 2, 3]


async def test_a_row_without_the_one_it_refers_to_is_refused(store: Store) -> None:
    line = b'{"device_id":"aa","received_at":"2026-08-01T12:00:00+00:00","report":{}}\n'
    with pytest.raises(StoreError):
        async with store.maintenance() as connection:
            await connection.run_sync(load, {name: [] for name in TABLES} | {"ota_reports": [line]})
    async with store.read() as session:
        assert await devices.count(session) == 0
        assert (await session.execute(text("SELECT COUNT(*) FROM ota_reports"))).scalar() == 0


@pytest.mark.parametrize(
    "line",
    [
        b"", b"[]", b"nothing", b'{"id": 7}', b'{"unknown": 1}', b'{"epoch": true}',
        b'{"created_at": "soon"}',
        b'{"allowed": 1}', b"[" * 100_000, b'{"created_at": 5}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_row_is_refused(line: bytes) -> None:
    with pytest.raises(StoreError, match="devices"):
        TABLES["devices"].row(line)


def _json() -> st.SearchStrategy[Any]:
    plain = (
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
    )
    words = st.text(st.characters(exclude_categories=["Cs"]))
    return st.recursive(
        plain | words, lambda inner: st.lists(inner) | st.dictionaries(words, inner), max_leaves=8
    )


_VALUES = {
    "JSON": _json(),
    "UtcDateTime": st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(fold=0)),
    "Date": st.dates(),
    "Boolean": st.booleans(),
    "LargeBinary": st.binary(),
    "Double": st.floats(),
    "BigInteger": st.integers(-(2**63), 2**63 - 1),
    "Numeric": st.decimals(allow_nan=False, allow_infinity=False),
    "Text": st.text(st.characters(exclude_categories=["Cs"])),
}


@given(st.data())
def test_a_value_is_the_same_after_it_was_json(data: st.DataObject) -> None:
    kinds = {type(kind.type).__name__: kind for table in TABLES.values() for kind in table.columns.values()}
    for name, kind in kinds.items():
        value = data.draw(_VALUES[name])
        stored = json.dumps(value) if name == "JSON" else value
        back = kind.from_json(json.loads(json.dumps(kind.to_json(stored))))
        expected = value if name != "JSON" or value is not None else back
        assert repr(back) == repr(expected)
