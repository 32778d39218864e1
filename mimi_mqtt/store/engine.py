"""The database connection: opening, migrating, and short transactions.

SQLite (write-ahead log, foreign keys, one writer at a time) through aiosqlite, or PostgreSQL through asyncpg.
Callers see StoreError and nothing else.
"""

import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
)
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from mimi_mqtt.errors import ConfigError, StoreError
from mimi_mqtt.store import copies
from mimi_mqtt.store.explain import crowded, explain, locked, place
from mimi_mqtt.store.migrating import is_current, migrate, revision_of
from mimi_mqtt.store.migrations import HEAD
from mimi_mqtt.store.portable import LOCAL, tables_of
from mimi_mqtt.store.write_queue import QueueStands, QueueTooLong, WriteQueue

APPLICATION: Final = "mimi-mqtt"
"""The name of this program's connections in PostgreSQL's list of them."""

_BUSY_TIMEOUT_MS = 5_000
_POSTGRES_TIMEOUT_S = 15
_POSTGRES_REVISION_OVERLAP = 64
# Options of a connection's execution: its transaction writes, and waits so many ms at most for other writers.
_WRITES = "mimi_writes"
_WAIT_MS = "mimi_wait_ms"
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}


class StoreConflict(StoreError):
    """Another transaction wrote the same row first; this one may be tried again."""


class Store:
    """The database at `url` (SQLAlchemy's form). `open` before use, `aclose` after.

    Before its schema is changed it is copied (`store.copies`); `keep_copies` of them are kept, 0 makes none.
    """

    def __init__(self, url: str, *, keep_copies: int = copies.KEPT) -> None:
        self._url = _async_url(url)
        self._keep_copies = keep_copies
        self._failure = ""
        self._engine: AsyncEngine | None = None
        self._queue = WriteQueue()

    @property
    def place(self) -> str:
        """The place of the data, for people: a path, or a URL without its password."""
        return place(self._url)

    @property
    def is_sqlite(self) -> bool:
        """True for SQLite, False for PostgreSQL."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path | None:
        """The file of SQLite; None for PostgreSQL."""
        return Path(self._url.database or "") if self.is_sqlite else None

    @property
    def revision_overlap(self) -> int:
        """Number of revisions that a reader must read again: concurrent transactions of PostgreSQL can commit
        a lower one after a higher one was read, those of SQLite can't."""
        return 0 if self.is_sqlite else _POSTGRES_REVISION_OVERLAP

    @property
    def failure(self) -> str:
        """The reason why the last transaction failed, with its cure; empty when it did not. A row that was in
        the way, or a mistake of the caller, is no failure of the database."""
        return self._failure

    async def open(self, *, create: bool = True) -> None:
        """Opens the database and brings its schema up to date; `create` False wants one that exists.

        Raises StoreError: the folder is not writable, the file is no database, the schema is newer than this
        program, PostgreSQL is out of reach.
        """
        with self._explained():
            if self.is_sqlite:
                _prepare_file(self._url, create=create)
            self._engine = _make_engine(self._url, sqlite=self.is_sqlite)
        try:
            async with self.read() as session:
                current = await (await session.connection()).run_sync(is_current)
            if not current:
                await self.migrate()
        except BaseException:
            await self.aclose()
            raise

    async def migrate(self, revision: str = HEAD) -> None:
        """Brings the schema to `revision`, forward or back, and copies the database before it is changed.
        Raises StoreError, and Invalid when there is no such revision."""
        async with self.maintenance() as connection:
            await connection.run_sync(migrate, revision, self._copy if self._keep_copies else None)

    async def revision(self) -> str | None:
        """The revision of the schema, also of a database that is not open; None where there is none. Raises
        StoreError."""
        with self._explained():
            if self.is_sqlite:
                _prepare_file(self._url, create=False)
            async with self.maintenance(writes=False) as connection:
                return await connection.run_sync(revision_of)

    def into_one_file(self) -> bool:
        """Puts all of SQLite's data into its one file, which can be moved then; returns False when that is
        damaged. The database is closed. Raises StoreError: another program has it open, the disk is full."""
        with self._explained():
            try:
                with closing(sqlite3.connect(self._url.database or "", timeout=5)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    connection.execute("PRAGMA journal_mode=DELETE")
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                return False
        return True

    async def size(self) -> int:
        """The bytes that the tables take on disk, with their indexes. Raises StoreError."""
        async with self.read() as session:
            if self.is_sqlite:
                statement = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            else:
                statement = (
                    "SELECT COALESCE(SUM(pg_total_relation_size(oid)), 0) FROM pg_class "
                    "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
                )
            return int((await session.execute(text(statement))).scalar_one())

    async def copies(self) -> list[copies.Copy]:
        """The copies that were made before migrations, the newest first. Raises StoreError."""
        if self.is_sqlite:
            return copies.copies_of_file(Path(self._url.database or ""))
        async with self.maintenance(writes=False) as connection:
            return await connection.run_sync(copies.copies_in)

    @asynccontextmanager
    async def maintenance(self, *, writes: bool = True) -> AsyncIterator[AsyncConnection]:
        """A transaction on a connection of its own, for what concerns the whole database; also while that is
        not open.

        It takes as long as it takes, and one that only reads sees one moment's state. SQLite checks no
        foreign keys in it: a table that is made anew would take the rows with it that refer to it. Raises
        StoreError.
        """
        with self._explained():
            engine = _make_engine(self._url, sqlite=self.is_sqlite, maintains=True)
            try:
                options: dict[str, Any] = {_WRITES: writes}
                if not self.is_sqlite:
                    options["isolation_level"] = "READ COMMITTED" if writes else "REPEATABLE READ"
                async with (
                    self._turn(None) if writes else nullcontext(),
                    engine.execution_options(**options).begin() as connection,
                ):
                    yield connection
            finally:
                await engine.dispose()

    def _copy(self, connection: Connection, revision: str) -> None:
        now = datetime.now(UTC)
        if self.is_sqlite:
            copies.copy_file(Path(self._url.database or ""), revision, self._keep_copies, now)
        else:
            names = [*tables_of(revision), *LOCAL]
            there = [name for name in names if inspect(connection).has_table(name)]
            copies.copy_tables(connection, there, revision, self._keep_copies, now)

    async def aclose(self) -> None:
        """Closes every connection; safe to call twice."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.dispose()

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that only reads, of one moment's state. Raises StoreError."""
        return self._reading()

    def write(self, *, within_s: float | None = None) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that commits when the block ends well. `within_s` bounds the wait in seconds while
        nothing else is written; where one writer comes after the other, it is `write_queue.QUEUE_S`. Raises
        StoreConflict and StoreError."""
        return self._committing(within_s)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        with self._explained():
            async with AsyncSession(self._opened(), expire_on_commit=False) as session:
                yield session
            self._failure = ""

    @asynccontextmanager
    async def _committing(self, within_s: float | None) -> AsyncIterator[AsyncSession]:
        with self._explained():
            async with self._turn(within_s) as left_s:
                options: dict[str, object] = {_WRITES: True}
                if left_s is not None:
                    options[_WAIT_MS] = max(1, int(left_s * 1000))
                engine = self._opened().execution_options(**options)
                async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
                    yield session
                self._failure = ""

    @asynccontextmanager
    async def _turn(self, within_s: float | None) -> AsyncIterator[float | None]:
        """This process's turn to write, where there is one writer at a time; yields what is left of
        `within_s`. Raises StoreError."""
        if not self.is_sqlite:
            yield within_s
            return
        try:
            async with self._queue.turn(within_s) as left_s:
                try:
                    yield left_s
                except (SQLAlchemyError, sqlite3.Error, OSError):
                    raise
                except BaseException:
                    self._queue.moved()
                    raise
                self._queue.moved()
        except QueueStands:
            raise self._failed(locked(self._url)) from None
        except QueueTooLong:
            raise self._failed(crowded(self._url)) from None

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise StoreError("the database is not open")
        return self._engine

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise StoreConflict(str(explain(error, self._url))) from error
        except (SQLAlchemyError, sqlite3.Error, OSError, ModuleNotFoundError) as error:
            raise self._failed(explain(error, self._url)) from error

    def _failed(self, error: StoreError) -> StoreError:
        self._failure = str(error)
        return error


def _async_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            "store.url is not a database URL such as postgresql://user:password@host/name"
        ) from error
    driver = _DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        raise ConfigError(
            f"store.url is for {parsed.get_backend_name()}: SQLite and PostgreSQL are supported"
        )
    if driver.startswith("sqlite") and (not parsed.database or ":memory:" in parsed.database):
        raise ConfigError("store.url names no file: SQLite in memory would forget every device")
    return parsed.set(drivername=driver)


def _prepare_file(url: URL, *, create: bool) -> None:
    """Makes the file with mode 0600, before SQLite would with the umask's mode.

    A file that is there is not opened: closing it would drop the locks that this process holds on it
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    path = Path(url.database or "")
    if not path.is_file():
        if not create:
            raise StoreError(
                f"there is no database at {path}: start the server once, or check server.data_dir"
            )
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_file(path)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _make_file(path: Path) -> None:
    """Makes an empty database and puts it in its place whole: two processes that start together can't both
    change the journal's mode, for which SQLite does not wait."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    os.close(descriptor)
    draft = Path(name)
    try:
        with closing(sqlite3.connect(draft)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return  # another process was first
        except OSError:  # a file system without hard links
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _make_engine(url: URL, *, sqlite: bool, maintains: bool = False) -> AsyncEngine:
    if not sqlite:
        engine = create_async_engine(
            url,
            pool_size=5,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "timeout": 5,
                "command_timeout": None if maintains else _POSTGRES_TIMEOUT_S,
                "server_settings": {"application_name": APPLICATION},
            },
        )
        event.listen(engine.sync_engine, "begin", _begin_postgres)
        return engine
    engine = create_async_engine(url, pool_size=3, max_overflow=2, hide_parameters=True)
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    if maintains:
        event.listen(engine.sync_engine, "connect", _check_no_foreign_keys)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it does not know which of them write.
    connection.isolation_level = None
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()
    except sqlite3.Error:
        # The pool forgets a connection that failed here, and with it its thread.
        connection.close()
        raise


def _check_no_foreign_keys(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA foreign_keys=OFF")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(_WRITES, False):
        connection.exec_driver_sql("BEGIN")
        return
    # A transaction that begins by reading can't wait for the lock once it writes: it takes the lock at once.
    wait_ms = options.get(_WAIT_MS)
    if wait_ms is None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout={wait_ms}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")


def _begin_postgres(connection: Connection) -> None:
    wait_ms = connection.get_execution_options().get(_WAIT_MS)
    if wait_ms is not None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {wait_ms}")
