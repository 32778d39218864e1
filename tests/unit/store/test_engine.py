import asyncio
import sqlite3
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlmodel import SQLModel

from mimi_mqtt.errors import ConfigError, StoreError
from mimi_mqtt.store import devices, migrations
from mimi_mqtt.store.engine import Store, StoreConflict
from mimi_mqtt.store.tables import Device
from tests.databases import is_declared

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


def device(device_id: str = "aa-bb-cc-00-11-22") -> Device:
    return Device(id=device_id, client_id="one", revision=0, created_at=NOW, updated_at=NOW, last_seen_at=NOW)


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_migrations_make_exactly_the_declared_tables(store: Store) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(
            compare_metadata(
                MigrationContext.configure(connection, opts={"include_name": is_declared}), SQLModel.metadata
            )
        )

    async with store.read() as session:
        assert await (await session.connection()).run_sync(differences) == []


def test_the_named_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


@pytest.mark.databases("sqlite")
async def test_a_current_database_is_opened_without_importing_alembic(store: Store, url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from mimi_mqtt.store.engine import Store\n"
        "async def main():\n"
        f"    store = Store({url!r})\n"
        "    await store.open()\n"
        "    await store.aclose()\n"
        "asyncio.run(main())\n"
        "sys.exit('alembic' in sys.modules)\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


@pytest.mark.databases("sqlite")
async def test_sqlite_is_set_up_for_one_writer_and_many_readers(store: Store) -> None:
    async with store.read() as session:
        found = {
            name: (await session.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 5000}


@pytest.mark.databases("sqlite")
async def test_only_the_owner_may_read_the_database(store: Store, tmp_path: Path) -> None:
    async with store.write() as session:
        await devices.save_changed(session, device(), NOW)
    assert modes_in(tmp_path) == {"mimi.db": 0o600, "mimi.db-wal": 0o600, "mimi.db-shm": 0o600}


@pytest.mark.databases("sqlite")
async def test_a_database_that_others_could_read_is_closed_to_them(tmp_path: Path, url: str) -> None:
    path = tmp_path / "mimi.db"
    path.touch()
    path.chmod(0o644)
    store = Store(url)
    await store.open()
    await store.aclose()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_what_was_written_is_there_after_a_restart(url: str) -> None:
    for _ in range(2):
        store = Store(url)
        await store.open()
        async with store.write() as session:
            if await devices.get(session, "aa-bb-cc-00-11-22") is None:
                await devices.save_changed(session, device(), NOW)
        await store.aclose()
    store = Store(url)
    await store.open()
    async with store.read() as session:
        found = await devices.get(session, "aa-bb-cc-00-11-22")
    await store.aclose()
    assert found is not None
    assert (found.client_id, found.epoch, found.created_at) == ("one", 1, NOW)


async def test_a_failing_block_leaves_nothing_behind(store: Store) -> None:
    async def fail() -> None:
        async with store.write() as session:
            await devices.save_changed(session, device(), NOW)
            raise KeyError("the caller's own mistake")

    with pytest.raises(KeyError):
        await fail()
    async with store.read() as session:
        assert await devices.count(session) == 0


async def test_a_row_that_is_there_already_is_a_conflict(store: Store) -> None:
    async with store.write() as session:
        await devices.save_changed(session, device(), NOW)
    with pytest.raises(StoreConflict):
        async with store.write() as session:
            await devices.save_changed(session, device(), NOW)


@pytest.mark.databases("sqlite")
async def test_a_writer_waits_for_this_process_no_longer_than_it_says(store: Store) -> None:
    async with store.write():
        with pytest.raises(StoreError, match="is locked"):
            async with store.write(within_s=0.01):
                pass
    async with store.write(within_s=60) as session:
        await devices.save_changed(session, device(), NOW)


@pytest.mark.databases("sqlite")
async def test_a_writer_waits_for_another_program_no_longer_than_it_says(
    store: Store, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "mimi.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waits: list[object] = []
        event.listen(
            store._opened().sync_engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_: waits.append(statement),
        )
        with pytest.raises(StoreError, match="is locked"):
            async with store.write(within_s=0.05) as session:
                await devices.count(session)
    (wait, begin, back) = waits
    assert 0 < int(str(wait).removeprefix("PRAGMA busy_timeout=")) <= 50
    assert begin == "BEGIN IMMEDIATE"
    assert back == "PRAGMA busy_timeout=5000"


async def test_two_processes_write_at_once_without_losing_anything(store: Store, url: str) -> None:
    other = Store(url)
    await other.open()

    async def add(into: Store, number: int) -> None:
        async with into.write() as session:
            await devices.save_changed(session, device(f"aa-bb-cc-00-11-{number:02x}"), NOW)

    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(add(store if number % 2 else other, number))
    async with store.read() as session:
        revisions = [found.revision for found in await devices.changed_since(session, 0)]
    await other.aclose()
    # Concurrent transactions of PostgreSQL may take the same number: readers read some again.
    assert len(revisions) == 40
    assert not store.is_sqlite or revisions == list(range(1, 41))


@pytest.mark.parametrize("attempt", range(8))
async def test_two_first_starts_at_once_make_one_schema(url: str, tmp_path: Path, attempt: int) -> None:
    stores = [Store(url) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))
    async with stores[0].read() as session:
        assert await devices.count(session) == 0
    for store in stores:
        await store.aclose()
    assert list(modes_in(tmp_path)) == (["mimi.db"] if stores[0].is_sqlite else [])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite+aiosqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://localhost/x", "SQLite and PostgreSQL"),
        ("not a url", "is not a database URL"),
    ],
)
def test_a_url_that_can_not_work_is_refused_at_once(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Store(url)


async def test_a_folder_that_can_not_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/mimi\.db"):
        await Store(f"sqlite:///{tmp_path}/file/mimi.db").open()


@pytest.mark.databases("sqlite")
async def test_a_file_that_is_no_database_is_explained(tmp_path: Path, url: str) -> None:
    (tmp_path / "mimi.db").write_bytes(b"this is not a database at all. " * 100)
    with pytest.raises(StoreError, match="damaged or is no SQLite database"):
        await Store(url).open()


@pytest.mark.databases("sqlite")
async def test_tries_at_a_database_that_can_not_be_opened_leave_no_threads(tmp_path: Path, url: str) -> None:
    (tmp_path / "mimi.db").write_bytes(b"this is not a database at all. " * 100)
    before = threading.active_count()
    for _ in range(5):
        with pytest.raises(StoreError):
            await Store(url).open()
    await asyncio.sleep(0.1)
    assert threading.active_count() <= before + 1


async def test_a_newer_schema_is_left_alone(url: str, store: Store) -> None:
    async with store.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await store.aclose()
    with pytest.raises(StoreError, match="newer mimi-mqtt"):
        await Store(url).open()


@pytest.mark.databases("sqlite")
async def test_a_command_does_not_make_a_database_by_mistake(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        await Store(url).open(create=False)
    assert modes_in(tmp_path) == {}


async def test_a_database_out_of_reach_is_explained_without_its_password() -> None:
    store = Store("postgres://me:very-secret@127.0.0.1:1/mimi")
    with pytest.raises(StoreError, match="that the database is running") as caught:
        await store.open()
    assert "very-secret" not in f"{caught.value} {store.place} {store!r}"


async def test_a_store_that_is_not_open_says_so(url: str) -> None:
    with pytest.raises(StoreError, match="not open"):
        async with Store(url).read():
            pass
