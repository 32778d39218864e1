"""A backup of either kind of database is restored into either kind, whole or not at all."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select
from sqlmodel import SQLModel

from mimi_mqtt.backup import making, restoring, sealing
from mimi_mqtt.backup.archive import Manifest
from mimi_mqtt.backup.checking import check, opened
from mimi_mqtt.backup.interrupted import STAGING, finish
from mimi_mqtt.backup.making import make
from mimi_mqtt.backup.ports import Installation
from mimi_mqtt.backup.restoring import restore
from mimi_mqtt.errors import BackupError, StoreError
from mimi_mqtt.fleet import secret_files
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.migrating import revisions
from mimi_mqtt.store.portable import LOCAL
from tests.databases import KINDS, PostgresServer, make_database
from tests.rows import sample_rows

PASSPHRASE = "correct horse battery"
Elsewhere = Callable[[str], Any]


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passphrases that are quick to try."""
    monkeypatch.setattr(sealing, "SCRYPT_N", 2**4)


def rows_of(connection: Connection) -> Mapping[str, list[Any]]:
    """Every row as the program reads it."""
    tables = [table for table in SQLModel.metadata.sorted_tables if table.name not in LOCAL]
    queries = {table.name: select(table).order_by(*table.primary_key.columns) for table in tables}
    return {name: [tuple(row) for row in connection.execute(query)] for name, query in queries.items()}


def fill(connection: Connection) -> None:
    for table in reversed(SQLModel.metadata.sorted_tables):
        connection.execute(delete(table))  # migrations put rows there, too
    rows = sample_rows(SQLModel.metadata)
    for table in SQLModel.metadata.sorted_tables:
        connection.execute(insert(table), rows[table.name])


async def read(store: Store) -> Mapping[str, list[Any]]:
    async with store.maintenance(writes=False) as connection:
        return await connection.run_sync(rows_of)


@pytest.fixture
async def server(store: Store, tmp_path: Path) -> Installation:
    """A server with rows in every table and a rotated secret."""
    here = tmp_path / "here"
    secret_files.load(here, 0.0)
    secret_files.rotate(here, 1e12, 1e9)
    settings = tmp_path / "broker.yaml"
    settings.write_text("server:\n  language: de\n")
    async with store.maintenance() as connection:
        await connection.run_sync(fill)
    await store.aclose()
    return Installation(store, here, settings_file=settings)


@pytest.fixture
async def backup(server: Installation, tmp_path: Path) -> Path:
    """A backup of it."""
    path = tmp_path / "mimi.backup"
    await make(server, path, PASSPHRASE)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, request: pytest.FixtureRequest) -> Elsewhere:
    """Makes a bare machine with a database of a kind."""

    async def bare(kind: str) -> Installation:
        folder = tmp_path / "elsewhere"
        if kind == "sqlite":
            return Installation(Store(f"sqlite:///{folder / 'mimi.db'}"), folder)
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        return Installation(Store(postgres.url(await make_database(postgres))), folder)

    return bare


async def put_back(path: Path, into: Installation, **options: Any) -> restoring.Restored:
    with opened(path) as file:
        return await restore(file, PASSPHRASE, into, **options)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def secrets_in(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("server.secret", "server.secret.old")}


@pytest.mark.parametrize("target", KINDS)
async def test_everything_is_the_same_on_a_bare_machine(
    server: Installation, backup: Path, elsewhere: Elsewhere, target: str, tmp_path: Path
) -> None:
    bare = await elsewhere(target)
    settings = tmp_path / "restored.yaml"
    done = await put_back(backup, bare, settings_to=settings)
    assert done.kept is None
    assert await read(bare.store) == await read(server.store)
    assert secrets_in(bare.data_dir) == secrets_in(server.data_dir)
    assert settings.read_text() == "server:\n  language: de\n"
    assert await bare.store.revision() == revisions()[-1].name
    modes = {name: (bare.data_dir / name).stat().st_mode & 0o777 for name in os.listdir(bare.data_dir)}  # noqa: PTH208
    assert set(modes.values()) == {0o600}
    assert modes.keys() <= {"mimi.db", "server.secret", "server.secret.old"}


@pytest.mark.parametrize("target", KINDS)
async def test_a_backup_of_an_older_schema_is_migrated(
    server: Installation, tmp_path: Path, elsewhere: Elsewhere, target: str
) -> None:
    await server.store.migrate(revisions()[2].name)
    await make(server, tmp_path / "old.backup", PASSPHRASE)
    bare = await elsewhere(target)
    await put_back(tmp_path / "old.backup", bare)
    assert await bare.store.revision() == revisions()[-1].name
    assert len((await read(bare.store))["devices"]) == 2


async def test_a_restore_that_fails_leaves_no_settings_file(
    backup: Path, elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt would be refused for it."""
    settings = tmp_path / "restored.yaml"
    bare = await elsewhere("sqlite")
    with monkeypatch.context() as full:
        full.setattr(restoring, "_sync_file", _full_disk)
        with pytest.raises(BackupError, match="the disk is full"):
            await put_back(backup, bare, settings_to=settings)
    assert not settings.exists()
    await put_back(backup, bare, settings_to=settings)
    assert settings.exists()


async def test_a_settings_file_that_cannot_be_written_is_named(
    backup: Path, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    settings = tmp_path / "nowhere" / "restored.yaml"
    with pytest.raises(BackupError, match=r"restored\.yaml can't be written"):
        await put_back(backup, await elsewhere("sqlite"), settings_to=settings)


def _full_disk(path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


async def test_a_backup_is_private_and_is_never_overwritten(server: Installation, backup: Path) -> None:
    assert os.stat(backup).st_mode & 0o777 == 0o600  # noqa: PTH116
    before = content_of(backup)
    with pytest.raises(BackupError, match="is there already"):
        await make(server, backup, PASSPHRASE)
    assert content_of(backup) == before
    for secret in (b"devices", b"Client", (server.data_dir / "server.secret").read_bytes()[:20]):
        assert secret not in before


@pytest.mark.parametrize("target", KINDS)
async def test_data_is_replaced_only_when_told_and_kept_then(
    backup: Path, elsewhere: Elsewhere, target: str
) -> None:
    there = await elsewhere(target)
    await put_back(backup, there)
    rows, secrets = await read(there.store), secrets_in(there.data_dir)
    with pytest.raises(BackupError, match="there is data already"):
        await put_back(backup, there)
    done = await put_back(backup, there, replace=True)
    assert done.kept is not None
    assert await read(there.store) == rows
    assert secrets_in(done.kept) == secrets
    if target == "sqlite":
        with closing(sqlite3.connect(done.kept / "mimi.db")) as kept:
            assert kept.execute("SELECT COUNT(*) FROM devices").fetchone() == (2,)
    else:
        with opened(done.kept / "database.backup") as file:
            assert check(file, PASSPHRASE).end.rows["devices"] == 2
    assert not (there.data_dir / STAGING).exists()


class Killed(BaseException):
    """The end of the process, as far as the code can tell."""


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("after", range(1, 16))
async def test_a_restore_that_is_killed_leaves_the_old_or_the_new(
    backup: Path, elsewhere: Elsewhere, target: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = await elsewhere(target)
    secret_files.load(there.data_dir, 0.0)
    await there.store.open()
    await there.store.aclose()
    old = ((there.data_dir / "server.secret").read_bytes(), await read(there.store))
    steps = 0

    def counted(name: str, real: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps > after:
                raise Killed(name)  # this and all that follows: the process is gone
            return real(*arguments, **options)

        return step

    with monkeypatch.context() as dying:
        for where, name in (
            (restoring._Restore, "_stage"), (restoring, "hand_over"), (restoring, "sync"),
            (Store, "into_one_file"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree"),
        ):  # fmt: skip
            dying.setattr(where, name, counted(name, getattr(where, name)))
        try:
            await put_back(backup, there, replace=True)
            survived = True
        except Killed:
            survived = False
    await finish(there)
    now = ((there.data_dir / "server.secret").read_bytes(), await read(there.store))
    assert (now[0] == old[0]) is (now[1] == old[1])
    assert not survived or now != old
    assert not (there.data_dir / STAGING).exists()


async def test_a_wrong_passphrase_and_a_damaged_file_change_nothing(
    backup: Path, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    bare = await elsewhere("sqlite")
    whole = content_of(backup)
    head = whole.index(b"\n", len(sealing.MAGIC)) + 1
    broken: dict[str, bytes] = {
        "truncated": whole[:-1],
        "no chunk": whole[: head + 200],
        "empty": b"",
        "another file": b"PK\3\4" + whole,
        "no header": whole[: len(sealing.MAGIC)],
        "flipped bit": whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:],
        "appended": whole + b"x",
    }
    for what, content in broken.items():
        path = tmp_path / "broken"
        path.write_bytes(content)
        with pytest.raises(BackupError):
            await put_back(path, bare)
        assert not bare.data_dir.exists(), what
    with opened(backup) as file, pytest.raises(BackupError, match="the passphrase is wrong"):
        await restore(file, "wrong horse battery", bare)
    assert not bare.data_dir.exists()


async def test_a_newer_backup_is_refused(
    server: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "newer.backup"
    with monkeypatch.context() as newer:
        real = Manifest
        newer.setattr(making, "Manifest", lambda **given: real(**{**given, "schema_revision": "9999"}))
        await make(server, path, PASSPHRASE)
    with opened(path) as file, pytest.raises(StoreError, match="newer mimi-mqtt"):
        check(file, PASSPHRASE)
    path.write_bytes(sealing.MAGIC.replace(b"1", b"2") + b"anything")
    with opened(path) as file, pytest.raises(BackupError, match="newer mimi-mqtt"):
        check(file, PASSPHRASE)


async def test_a_damaged_database_is_kept_and_replaced(backup: Path, elsewhere: Elsewhere) -> None:
    there = await elsewhere("sqlite")
    there.data_dir.mkdir()
    (there.data_dir / "mimi.db").write_bytes(b"nothing that SQLite knows" * 1000)
    (there.data_dir / "mimi.db-wal").write_bytes(b"nothing either")  # is not applied to the new one
    with pytest.raises(BackupError, match="there is data already"):
        await put_back(backup, there)
    done = await put_back(backup, there, replace=True)
    assert done.kept is not None
    assert (done.kept / "mimi.db").read_bytes().startswith(b"nothing that")
    assert len((await read(there.store))["devices"]) == 2


async def test_a_short_passphrase_is_refused(server: Installation, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="at least 10 characters"):
        await make(server, tmp_path / "short.backup", "short")
    assert not (tmp_path / "short.backup").exists()


@pytest.mark.databases("postgresql")
async def test_a_database_that_servers_use_is_not_replaced(server: Installation, backup: Path) -> None:
    other = Store(str(server.store._url.render_as_string(hide_password=False)))
    await other.open()
    async with other.read():
        with pytest.raises(BackupError, match="stop them first"):
            await put_back(backup, server, replace=True)
    await other.aclose()
