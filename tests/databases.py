"""Databases for tests: a file of SQLite, and a PostgreSQL server of the tests' own on the loopback.

A test that asks for `url` (an empty database) or `store` (an open one with every table) runs on both, unless
it is marked `databases("sqlite")`. The server is started once for all tests of a process; each test has a
database of its own in it.
"""

import asyncio
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from mimi_mqtt.store.engine import Store

KINDS = ("sqlite", "postgresql")
TEMPLATE = "mimi_template"
"""The database with every table, of which those of the tests are copies."""

_START_TIMEOUT_S = 60
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 2 << 30
"""Free bytes from which on the databases are kept there: a new one is 600 files."""
_TEMPLATES = tempfile.TemporaryDirectory(prefix="mimi-test-")
_numbers = itertools.count()


def is_declared(name: str | None, kind: str, _: object) -> bool:
    """False for the index of words, which is another table in each kind of database: for Alembic."""
    return kind != "table" or name is None or not name.startswith("turn_words")


def _program(name: str) -> str:
    places = [os.environ.get("PATH", ""), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.fail(f"{name} is missing: ./scripts/test installs PostgreSQL, or install it yourself")
    return found


def _unprivileged() -> str | None:
    """The user to run PostgreSQL as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"


def _roomy_memory() -> Path | None:
    """A file system in memory with room for databases; None where there is none."""
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _MEMORY_BYTES:
        return None
    return _MEMORY


class PostgresServer:
    """A PostgreSQL server in a folder of its own; `start` and `kill` may be called again."""

    def __init__(self) -> None:
        self._user = _unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="mimi-postgres-", dir=_roomy_memory()))
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        made = subprocess.run(
            [
                _program("initdb"), "-D", self._folder / "db", "-U", "mimi", "-A", "trust", "-E", "UTF8",
                "--locale=C", "-N",
            ],
            cwd=self._folder, user=self._user, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, database: str = "postgres") -> str:
        """The URL of a database on it."""
        return f"postgresql://mimi@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Starts it, and returns when it takes connections."""
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    _program("postgres"), "-D", self._folder / "db", "-h", "127.0.0.1",
                    "-p", str(self.port), "-k", self._folder, "-F",
                ],
                cwd=self._folder, user=self._user, stderr=output,
            )  # fmt: skip
        until = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        asked = subprocess.run(
            [_program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "mimi", "-q"],
            check=False,
        )
        return asked.returncode == 0

    def kill(self) -> None:
        """Ends it at once, with every connection, as a crash of its machine does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Ends it and deletes its folder."""
        self.kill()
        shutil.rmtree(self._folder)

    async def execute(self, statement: str) -> None:
        """Runs a statement outside of any test's database."""
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` on a loop of its own, also while one runs in this thread."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def _make_template(server: PostgresServer) -> None:
    await server.execute(f"CREATE DATABASE {TEMPLATE}")
    store = Store(server.url(TEMPLATE))
    await store.open()
    await store.aclose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server that all tests of this process share."""
    server = PostgresServer()
    try:
        _run(_make_template(server))
        yield server
    finally:
        server.remove()


async def make_database(server: PostgresServer, template: str = "template1") -> str:
    """The name of a new database, a copy of `template`."""
    name = f"test_{next(_numbers)}"
    await server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The URL of an empty database of PostgreSQL."""
    name = await make_database(postgres_server)
    yield postgres_server.url(name)
    await postgres_server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a file of SQLite that is not there yet."""
    return f"sqlite+aiosqlite:///{tmp_path / 'mimi.db'}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that needs a database on both kinds, or on those of its mark `databases`."""
    if "database_kind" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("databases")
        metafunc.parametrize("database_kind", mark.args if mark is not None else KINDS)


@functools.cache
def _sqlite_template() -> Path:
    """A file of SQLite with every table."""
    path = Path(_TEMPLATES.name) / "mimi.db"

    async def make() -> None:
        store = Store(f"sqlite:///{path}")
        await store.open()
        await store.aclose()

    _run(make())
    return path


def new_database(folder: Path) -> Path:
    """The database of a server whose data is in `folder`: as it is, or a new one with every table, which is
    copied: the migrations that make them take longer than most tests."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "mimi.db"
    if not path.exists():
        shutil.copy(_sqlite_template(), path)
    return path


def sqlite_store(folder: Path) -> Store:
    """The database that `new_database` makes or finds, closed."""
    return Store(f"sqlite:///{new_database(folder)}")


@pytest.fixture
async def url(request: pytest.FixtureRequest, database_kind: str) -> AsyncIterator[str]:
    """The URL of a database of either kind: an empty one, or that of `store` for a test that has it."""
    filled = bool({"store", "migrated_url"} & set(request.fixturenames))
    if database_kind == "sqlite":
        url = str(request.getfixturevalue("sqlite_url"))
        if filled:
            new_database(Path(url.partition(":///")[2]).parent)
        yield url
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = await make_database(server, TEMPLATE if filled else "template1")
    yield server.url(name)
    await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def migrated_url(url: str) -> str:
    """The URL of a database of either kind with every table and no rows."""
    return url


@pytest.fixture
async def store(migrated_url: str) -> AsyncIterator[Store]:
    """An open database of either kind, with every table and no rows."""
    opened = Store(migrated_url)
    await opened.open()
    yield opened
    await opened.aclose()
