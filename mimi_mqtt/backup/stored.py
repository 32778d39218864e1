"""Backups that lie in this node's folder: their files, the proof that they can be restored, their removal."""

import asyncio
import json
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from mimi_mqtt.backup.archive import End, Manifest
from mimi_mqtt.backup.ports import DRAFT_SUFFIX
from mimi_mqtt.config import BackupSettings
from mimi_mqtt.errors import BackupError, Conflict, Invalid, NotFound
from mimi_mqtt.store import audit, backups
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import BackupRow

MAX_CHECK_S: Final = 3_600.0
"""Longest time of a check, in seconds."""
MAX_PASSPHRASE_CHARS: Final = 1_024
"""Longest passphrase that is tried."""

_NAME: Final = re.compile(r"mimi-[0-9]{8}T[0-9]{6}Z\.backup")


class StoredBackups:
    """The backups in `backup.folder` of the node. A check runs in a process of its own with the lowest
    priority, one at a time: conversations don't wait for it."""

    def __init__(self, store: Store, settings: BackupSettings, environ: Mapping[str, str], node: str) -> None:
        self._store = store
        self._settings = settings
        self._environ = environ
        self._node = node
        self._checking = False

    async def file(self, backup_id: int) -> tuple[BackupRow, Path]:
        """A backup that is done, and its file. Raises NotFound, Conflict when it is not here, StoreError."""
        row = await self._row(backup_id)
        if row.state != backups.DONE:
            raise Conflict("this backup has no file: it is not done, or failed")
        path = self._path(row)
        if path is None or not await asyncio.to_thread(path.is_file):
            raise Conflict(
                f"the file {row.name} is not in this server's backup.folder: it was made by {row.node}, or "
                "moved elsewhere"
            )
        return row, path

    async def download(self, author: Author, backup_id: int) -> tuple[BackupRow, Path]:
        """The same, for a download, of which the audit is told."""
        row, path = await self.file(backup_id)
        async with self._store.write() as session:
            audit.record(session, author, "backup.download", f"backup:{row.id}", after={"file": row.name})
        return row, path

    async def remove(self, author: Author, backup_id: int) -> None:
        """Deletes a backup with its file, or forgets one that has none. Raises NotFound, Conflict while it is
        being made, or when its file is on another machine, StoreError."""
        row = await self._row(backup_id)
        if row.state == backups.RUNNING:
            raise Conflict("this backup is being made: wait until it is done")
        path = self._path(row)
        is_here = path is not None and await asyncio.to_thread(path.is_file)
        if row.state == backups.DONE and not is_here and row.node != self._node:
            raise Conflict(f"the file of this backup is on {row.node}: delete it there")
        if path is not None and is_here:
            try:
                await asyncio.to_thread(path.unlink)
            except OSError as error:
                raise Conflict(f"{path} can't be deleted: {error.strerror}") from error
        async with self._store.write() as session:
            await backups.forget(session, backup_id)
            before = {"file": row.name, "state": row.state}
            audit.record(session, author, "backup.remove", f"backup:{row.id}", before=before)

    async def check(self, author: Author, backup_id: int, passphrase: str) -> tuple[Manifest, End]:
        """Reads all of a backup and understands every row, and changes nothing. The passphrase goes to the
        process through a pipe, and nowhere else. Raises Conflict while another one is checked, Invalid with
        the reason why it can't be restored, NotFound, StoreError."""
        row, path = await self.file(backup_id)
        if "\n" in passphrase or "\r" in passphrase:
            raise Invalid("passphrase: it is one line")
        if self._checking:
            raise Conflict("a backup is being checked: wait until that is done")
        self._checking = True
        restorable = False
        try:
            checked = await self._checked(path, passphrase)
            restorable = True
        except BackupError as error:
            raise Invalid(str(error)) from None
        finally:
            self._checking = False
            async with self._store.write() as session:
                told = {"file": row.name, "restorable": restorable}
                audit.record(session, author, "backup.check", f"backup:{row.id}", after=told)
        return checked

    def written(self, row: BackupRow) -> int | None:
        """Bytes of a backup that is being made here; None when nothing is known of it. Blocks."""
        folder = self._settings.folder
        if folder is None or not _NAME.fullmatch(row.name):
            return None
        with suppress(OSError):
            for draft in folder.glob(f".{row.name}.*{DRAFT_SUFFIX}"):
                return draft.stat().st_size
        return None

    async def _row(self, backup_id: int) -> BackupRow:
        async with self._store.read() as session:
            row = await backups.of_id(session, backup_id)
        if row is None:
            raise NotFound("there is no such backup")
        return row

    def _path(self, row: BackupRow) -> Path | None:
        folder = self._settings.folder
        return folder / row.name if folder is not None and _NAME.fullmatch(row.name) else None

    async def _checked(self, path: Path, passphrase: str) -> tuple[Manifest, End]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mimi_mqtt", "backup", str(path), "--check", "--json", "--idle"),
            *("--passphrase-file", "/dev/stdin"),
            env=dict(self._environ), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(MAX_CHECK_S):
                out, err = await process.communicate(f"{passphrase}\n".encode())
        except TimeoutError:
            raise BackupError(f"it was not read within {MAX_CHECK_S / 60:.0f} minutes") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            told = json.loads(out)
            return Manifest.model_validate(told["manifest"]), End.model_validate(told["end"])
        except (ValueError, KeyError, TypeError):
            lines = err.decode(errors="replace").strip().splitlines() or ["the process ended without a word"]
            raise BackupError(lines[-1].removeprefix("mimi-mqtt: ")) from None
