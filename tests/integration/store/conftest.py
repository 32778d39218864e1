"""A PostgreSQL server of the tests' own, on a free port of the loopback."""

import asyncio
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

_READY = b"database system is ready to accept connections"


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


@pytest.fixture
async def postgres_url() -> AsyncIterator[str]:
    """The URL of an empty database."""
    initdb, postgres = _program("initdb"), _program("postgres")
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="mimi-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        made = await asyncio.create_subprocess_exec(
            initdb, "-D", str(folder / "db"), "-U", "mimi", "-A", "trust", "-E", "UTF8", "--locale=C", "-N",
            cwd=folder, user=user, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await made.communicate()
        assert made.returncode == 0, out.decode()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        server = await asyncio.create_subprocess_exec(
            postgres, "-D", str(folder / "db"), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F",
            cwd=folder, user=user, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert server.stderr is not None
        try:
            lines = []
            while _READY not in (line := await server.stderr.readline()):
                lines.append(line.decode())
                assert line, "".join(lines)
            yield f"postgresql://mimi@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            await server.communicate()
    finally:
        shutil.rmtree(folder)
