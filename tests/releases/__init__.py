"""Data folders of earlier releases, each made by the code of then: `make.py` says how."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Release:
    """What an installation of `version` left behind."""

    version: str
    folder: Path

    def install(self, place: Path) -> None:
        """Puts the data folder and broker.yaml into `place`, as an update finds them."""
        data = place / "data"
        data.mkdir(mode=0o700)
        with closing(sqlite3.connect(data / "mimi.db")) as database:
            database.executescript((self.folder / "mimi.sql").read_text(encoding="utf-8"))
        secret = data / "server.secret"
        secret.touch(mode=0o600)
        secret.write_bytes((self.folder / "server.secret").read_bytes())
        (place / "broker.yaml").write_bytes((self.folder / "broker.yaml").read_bytes())

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the database of then."""
        with closing(sqlite3.connect(":memory:")) as database:
            database.executescript((self.folder / "mimi.sql").read_text(encoding="utf-8"))
            return database.execute(statement).fetchall()

    @property
    def migration(self) -> str:
        """The revision of the tables of then."""
        return str(self.query("SELECT version_num FROM alembic_version")[0][0])


def _order(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split("."))


RELEASES = tuple(
    Release(folder.name, folder)
    for folder in sorted((path for path in _HERE.glob("*.*.*") if path.is_dir()), key=_order)
)
"""All of them, the last one last."""

LAST = RELEASES[-1]
