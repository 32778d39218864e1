"""Contents of backups, and the interface to the place of files."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mimi_mqtt.store.engine import Store

DRAFT_SUFFIX: Final = ".partial"
"""End of the name of a backup that is not whole yet; it begins with a dot and the name that it is to get."""

Progress = Callable[[str], None]
"""Called with a line for people as the work goes on."""


class FilePlace(Protocol):
    """The folder or bucket with the bytes of stored files, by the names that the database has of them."""

    async def open(self) -> None:
        """Prepares the place."""

    async def size(self, name: str) -> int | None:
        """The size of a file in bytes; None when it is not there."""

    def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of a file from `start` to before `end`."""

    async def take(self, staged: Path, name: str) -> None:
        """Makes a file of this machine the one of this name, whole or not at all."""


@dataclass(frozen=True, slots=True)
class Installation:
    """The contents of a server, apart from its program. `files` is None where there are none, and
    `settings_file` where all is by default or by variables."""

    store: Store
    data_dir: Path
    files: FilePlace | None = None
    settings_file: Path | None = None


def silent(_: str) -> None:
    """A Progress that tells nobody."""
