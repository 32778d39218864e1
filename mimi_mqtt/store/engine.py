"""The database connection: opening, migrating, and short transactions.

SQLite (write-ahead log, foreign keys, one writer at a time) through aiosqlite, or PostgreSQL through asyncpg.
Callers see StoreError and nothing else.
"""

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
)
from pathlib import Path

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from mimi_mqtt.errors import ConfigError, StoreError
from mimi_mqtt.store.explain import explain, locked, place
from mimi_mqtt.store.migrating import is_current, migrate

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
    """The database at `url` (SQLAlchemy's form). `open` before use, `aclose` after."""

    def __init__(self, url: str) -> None:
        self._url = _async_url(url)
        self._engine: AsyncEngine | None = None
        # SQLite has one writer: waiting here is fair, waiting in its busy handler is polling.
        self._writing = asyncio.Lock()

    @property
    def place(self) -> str:
        """The place of the data, for people: a path, or a URL without its password."""
        return place(self._url)

    @property
    def is_sqlite(self) -> bool:
        """True for SQLite, False for PostgreSQL."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def revision_overlap(self) -> int:
        """Number of revisions that a reader must read again: concurrent transactions of PostgreSQL can commit
        a lower one after a higher one was read, those of SQLite can't."""
        return 0 if self.is_sqlite else _POSTGRES_REVISION_OVERLAP

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
                async with self.write() as session:
                    await (await session.connection()).run_sync(migrate)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Closes every connection; safe to call twice."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.dispose()

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that only reads, of one moment's state. Raises StoreError."""
        return self._reading()

    def write(self, *, within_s: float | None = None) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that commits when the block ends well. `within_s` bounds the wait for other writers,
        in seconds. Raises StoreConflict and StoreError."""
        return self._committing(within_s)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        with self._explained():
            async with AsyncSession(self._opened(), expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def _committing(self, within_s: float | None) -> AsyncIterator[AsyncSession]:
        with self._explained():
            began = time.monotonic()
            async with self._turn(within_s):
                options: dict[str, object] = {_WRITES: True}
                if within_s is not None:
                    options[_WAIT_MS] = max(1, int((within_s - time.monotonic() + began) * 1000))
                engine = self._opened().execution_options(**options)
                async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
                    yield session

    @asynccontextmanager
    async def _turn(self, within_s: float | None) -> AsyncIterator[None]:
        """This process's turn to write, where there is one writer at a time. Raises StoreError."""
        if not self.is_sqlite:
            yield
            return
        try:
            async with asyncio.timeout(within_s):
                await self._writing.acquire()
        except TimeoutError:
            raise locked(self._url) from None
        try:
            yield
        finally:
            self._writing.release()

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
            raise explain(error, self._url) from error


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


def _make_engine(url: URL, *, sqlite: bool) -> AsyncEngine:
    if not sqlite:
        engine = create_async_engine(
            url,
            pool_size=5,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"timeout": 5, "command_timeout": _POSTGRES_TIMEOUT_S},
        )
        event.listen(engine.sync_engine, "begin", _begin_postgres)
        return engine
    engine = create_async_engine(url, pool_size=3, max_overflow=2, hide_parameters=True)
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it does not know which of them write.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
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
