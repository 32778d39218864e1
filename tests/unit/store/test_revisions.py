"""Every revision goes forward and back on both kinds of database, with rows in every table."""

import asyncio
import functools
import itertools
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, String, delete, func, insert, inspect, select, text
from sqlmodel import SQLModel

from mimi_mqtt.errors import Invalid, StoreError
from mimi_mqtt.store import copies, migrations
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.migrating import EMPTY, revisions
from mimi_mqtt.store.portable import PortableTable, tables_of
from tests.databases import is_declared
from tests.rows import sample_rows

STEPS = [step.name for step in revisions()]
CHANGED: dict[str, set[str]] = {}
"""Columns whose values a revision changes on purpose, as `table.column`, by the revision."""

Rows = dict[str, list[dict[str, Any]]]


known_tables = functools.cache(tables_of)


def declared(connection: Connection, tables: Mapping[str, PortableTable]) -> MetaData:
    """The tables of a revision as they are in the database, with the types of values that the rows have."""
    found = MetaData()
    found.reflect(connection, only=list(tables))
    for name, table in tables.items():
        for column in found.tables[name].columns:
            if column.name in table.columns and not isinstance(column.type, String):
                column.type = table.columns[column.name].type
    return found


def fill(connection: Connection, tables: Mapping[str, PortableTable], found: MetaData | None = None) -> None:
    """Puts rows into every table of a revision; `found` is what `declared` told of it."""
    if found is None:
        found = declared(connection, tables)
    rows = sample_rows(found)
    for each in reversed(found.sorted_tables):
        if each.name in tables:
            connection.execute(delete(each))  # migrations put rows there, too
    for each in found.sorted_tables:
        if each.name in tables:
            known = tables[each.name].columns
            connection.execute(insert(each), [{name: row[name] for name in known} for row in rows[each.name]])


def read(connection: Connection, tables: Mapping[str, PortableTable]) -> Rows:
    """The rows of `tables`, of those columns that are there now."""
    now = inspect(connection)
    found: Rows = {}
    for name, table in tables.items():
        if now.has_table(name):
            there = {column["name"] for column in now.get_columns(name)}
            columns = [column for column in table.table.columns if column.name in there]
            query = select(*columns).order_by(*table.table.primary_key.columns)
            found[name] = [dict(row) for row in connection.execute(query).mappings()]
    return found


def shape(connection: Connection) -> dict[str, object]:
    """Columns, indexes and keys of every table."""
    now = inspect(connection)
    return {
        name: (
            sorted((each["name"], str(each["type"]), each["nullable"]) for each in now.get_columns(name)),
            sorted((each["name"], each["column_names"], each["unique"]) for each in now.get_indexes(name)),
            sorted(
                (each["constrained_columns"], each["referred_table"]) for each in now.get_foreign_keys(name)
            ),
        )
        for name in sorted(now.get_table_names())
        if name != "alembic_version"
    }


def common(before: Rows, after: Rows, changed: set[str]) -> tuple[Rows, Rows]:
    """Both, of the columns that both have."""

    def cut(rows: Rows, other: Rows) -> Rows:
        return {
            name: [
                {
                    key: value
                    for key, value in row.items()
                    if key in other[name][0] and f"{name}.{key}" not in changed
                }
                for row in rows[name]
            ]
            for name in rows
            if other.get(name)
        }

    return cut(before, after), cut(after, before)


async def test_every_revision_keeps_the_rows_forward_and_back(url: str) -> None:
    store = Store(url, keep_copies=0)
    try:
        await store.open()
        await store.migrate(STEPS[0])
        for older, newer in itertools.pairwise(STEPS):
            tables = known_tables(older)
            async with store.maintenance() as connection:
                found = await connection.run_sync(declared, tables)
                await connection.run_sync(fill, tables, found)
                before = await connection.run_sync(read, tables)
                shape_before = await connection.run_sync(shape)
            await store.migrate(newer)
            async with store.maintenance() as connection:
                after = await connection.run_sync(read, tables)
            kept, wanted = common(before, after, CHANGED.get(newer, set()))
            assert kept == wanted, f"{newer} lost rows"
            assert kept.keys() == before.keys() & known_tables(newer).keys()
            await store.migrate(older)
            async with store.maintenance() as connection:
                back = await connection.run_sync(read, tables)
                kept, wanted = common(before, back, CHANGED.get(newer, set()))
                assert kept == wanted, f"{newer} lost rows on the way back"
                assert await connection.run_sync(shape) == shape_before, f"{newer} leaves another schema"
                await connection.run_sync(fill, tables, found)  # the older schema can be written
            await store.migrate(newer)
    finally:
        await store.aclose()


async def test_every_table_goes_away_again(store: Store) -> None:
    await store.migrate(EMPTY)
    async with store.maintenance() as connection:
        assert await connection.run_sync(shape) == {}


async def test_the_schema_has_the_declared_tables_and_indexes(store: Store) -> None:
    def differences(connection: Connection) -> list[object]:
        known = MigrationContext.configure(connection, opts={"include_name": is_declared})
        return list(compare_metadata(known, SQLModel.metadata))

    async with store.maintenance() as connection:
        assert await connection.run_sync(differences) == []
        made = await connection.run_sync(
            lambda sync: {name: inspect(sync).get_indexes(name) for name in SQLModel.metadata.tables}
        )
    for name, table in SQLModel.metadata.tables.items():
        assert {index.name for index in table.indexes} <= {index["name"] for index in made[name]}


def test_revisions_are_one_line_to_the_newest() -> None:
    assert STEPS[-1] == migrations.HEAD
    assert len(set(STEPS)) == len(STEPS)


async def test_a_revision_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(Invalid, match="there is no schema '0000'"):
        await store.migrate("0000")


async def test_a_copy_is_made_before_a_migration_and_only_some_are_kept(url: str) -> None:
    store = Store(url, keep_copies=2)
    await store.open()
    assert await store.copies() == []
    tables = tables_of(STEPS[-1])
    async with store.maintenance() as connection:
        await connection.run_sync(fill, tables)
    for revision in (STEPS[-2], STEPS[-1], STEPS[-2], STEPS[-1]):
        await store.migrate(revision)
        await asyncio.sleep(1.1 if revision == STEPS[-2] else 0)  # names have seconds
    made = await store.copies()
    await store.aclose()
    assert len(made) == 2
    assert {copy.revision for copy in made} <= set(STEPS[-2:])


@pytest.mark.databases("sqlite")
async def test_a_copy_is_the_database_of_before(store: Store, tmp_path: Path) -> None:
    async with store.maintenance() as connection:
        await connection.run_sync(fill, tables_of(STEPS[-1]))
    await store.migrate(STEPS[-2])
    (copy,) = await store.copies()
    path = tmp_path / copy.name
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as opened:
        assert opened.execute("SELECT version_num FROM alembic_version").fetchone() == (STEPS[-1],)
        assert opened.execute("SELECT COUNT(*) FROM devices").fetchone() == (2,)
    assert [each for each in os.listdir(tmp_path) if "copy" in each] == [copy.name]  # noqa: PTH208


@pytest.mark.databases("postgresql")
async def test_a_copy_is_a_schema_of_its_own_on_postgresql(store: Store) -> None:
    async with store.maintenance() as connection:
        await connection.run_sync(fill, tables_of(STEPS[-1]))
    await store.migrate(STEPS[-2])
    (copy,) = await store.copies()
    async with store.maintenance() as connection:
        number = (await connection.execute(text(f"SELECT COUNT(*) FROM {copy.name}.devices"))).scalar()
    assert number == 2
    assert copy.revision == STEPS[-1]


@pytest.mark.databases("sqlite")
async def test_a_migration_without_room_for_its_copy_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(StoreError, match=r"no room for the copy .* store\.keep_copies to 0"):
        await store.migrate(STEPS[-2])
    assert await store.revision() == STEPS[-1]
    assert await store.copies() == []


@pytest.mark.databases("postgresql")
async def test_a_migration_of_a_user_who_may_not_copy_changes_nothing(store: Store, url: str) -> None:
    name = url.rpartition("/")[2]
    async with store.maintenance() as connection:
        for statement in (
            f"CREATE ROLE plain_{name} LOGIN", f"GRANT ALL ON ALL TABLES IN SCHEMA public TO plain_{name}",
        ):  # fmt: skip
            await connection.execute(text(statement))
    with pytest.raises(StoreError, match="GRANT CREATE ON DATABASE"):
        await Store(url.replace("mimi@", f"plain_{name}@")).migrate(STEPS[-2])
    assert await store.revision() == STEPS[-1]


async def test_two_nodes_that_start_at_once_migrate_once(url: str) -> None:
    first = Store(url)
    await first.open()
    await first.migrate(STEPS[-2])
    await first.aclose()
    before = len(await first.copies())
    nodes = [Store(url) for _ in range(3)]
    await asyncio.gather(*(node.open() for node in nodes))
    made = len(await nodes[0].copies())
    async with nodes[0].read() as session:
        found = (
            await session.execute(select(func.count()).select_from(SQLModel.metadata.tables["devices"]))
        ).scalar()
    for node in nodes:
        await node.aclose()
    assert found == 0
    assert made == before + 1
