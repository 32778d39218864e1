"""Restoring of a backup in place of what is there: whenever it is interrupted, all is old or all is new.

Everything new is prepared beside the old, in `STAGING` of the data folder, with a journal of it. The database
then changes in one step: a renamed file, or a transaction of PostgreSQL that leaves the restore's id on the
table `alembic_version`. That step decides. What follows it, the change of the secret, is done by
`interrupted.finish`, which the next start does as well; without that step, it deletes all that was prepared.
"""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import Connection, inspect, text

from mimi_mqtt.backup.archive import (
    FILE_READ_BYTES,
    End,
    Manifest,
    Part,
    Rows,
    Secret,
    SettingsFile,
    StoredFile,
)
from mimi_mqtt.backup.checking import Checked, check, check_rows, known_tables, parts_of
from mimi_mqtt.backup.interrupted import (
    DATABASE,
    JOURNAL,
    SECRETS,
    STAGING,
    WITH_OLD_SECRET,
    finish,
    sync,
)
from mimi_mqtt.backup.making import BLOBS, make
from mimi_mqtt.backup.ports import Installation, Progress, silent
from mimi_mqtt.errors import BackupError, FilesError, StoreError
from mimi_mqtt.files.ownership import hand_over
from mimi_mqtt.fleet.secret_files import OLD_SECRET_FILE, SECRET_FILE
from mimi_mqtt.store.engine import APPLICATION, Store
from mimi_mqtt.store.migrating import EMPTY, migrate, newer, revision_of, revisions
from mimi_mqtt.store.portable import PortableTable, raise_sequences, tables_of, unchecked

KEPT: Final = "before-restore-"
"""Start of the name of the folder with what was there before."""
WITH_FILES: Final = "database.backup"
"""The backup in that folder."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore that is done. `kept` is the folder with what was there before, None for nothing."""

    checked: Checked
    kept: Path | None


async def restore(
    file: BinaryIO,
    passphrase: str,
    into: Installation,
    *,
    replace: bool = False,
    settings_to: Path | None = None,
    progress: Progress = silent,
) -> Restored:
    """Puts a backup in place. Nothing else may use the data folder and the database meanwhile.

    The whole backup is checked before anything is touched. Raises BackupError and StoreError, also when there
    is data and `replace` is False; then all is as it was.
    """
    progress("checking the backup")
    checked = check(file, passphrase)
    await finish(into)
    _refuse_settings(settings_to, checked)
    there = await _what_is_there(into)
    if there and not replace:
        raise BackupError(
            f"there is data already ({', '.join(there)}): --replace keeps a copy and replaces it"
        )
    await _refuse_users(into.store)
    staging = into.data_dir / STAGING
    with _explained(into.data_dir):
        into.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _refuse_another_disk(into)
        staging.mkdir(mode=0o700)
        hand_over(staging, into.data_dir)
        work = _Restore(into, staging, passphrase, settings_to, progress)
        try:
            kept = await _keep(into, passphrase, progress) if there else None
            await (work.into_sqlite(file) if into.store.is_sqlite else work.into_postgres(file))
        except BaseException:
            if not await finish(into):
                work.discard_settings()
            raise
    await finish(into)
    return Restored(checked, kept)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "free some space" if full else "let this user write to it"
        told = "the disk is full" if full else error.strerror
        raise BackupError(f"nothing was restored into {folder}: {told}; {cure}") from error


def _refuse_another_disk(into: Installation) -> None:
    """Raises BackupError when SQLite's file is to be on another disk than the data folder, from which it is
    renamed."""
    path = into.store.file
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.parent.stat().st_dev != into.data_dir.stat().st_dev:
        raise BackupError(
            f"{path} is on another disk than {into.data_dir}: restore with a store.url there, such as "
            f"sqlite:///{into.data_dir}/{DATABASE}, and move the file then"
        )


async def _what_is_there(into: Installation) -> Sequence[str]:
    """The things that a restore would replace, for people."""
    found = [f"the secret {into.data_dir / SECRET_FILE}"] if (into.data_dir / SECRET_FILE).exists() else []
    if (path := into.store.file) is not None and not path.exists():
        return found  # SQLite would make one to look into it
    try:
        async with into.store.maintenance(writes=False) as connection:
            rows = await connection.run_sync(_has_rows)
    except StoreError:
        if path is None:
            raise  # out of reach
        rows = True  # damaged
    return [*found, f"rows in {into.store.place}"] if rows else found


def _has_rows(connection: Connection) -> bool:
    revision = revision_of(connection)
    if revision is None:
        return False
    if revision not in {step.name for step in revisions()}:
        raise newer(revision)
    names = [name for name in tables_of(revision) if inspect(connection).has_table(name)]
    return any(connection.execute(text(f'SELECT 1 FROM "{name}" LIMIT 1')).first() for name in names)  # noqa: S608


async def _refuse_users(store: Store) -> None:
    """Raises BackupError when servers use the database of PostgreSQL."""
    if store.is_sqlite:
        return
    async with store.maintenance(writes=False) as connection:
        others = await connection.execute(
            text(
                "SELECT DISTINCT COALESCE(host(client_addr), 'this machine') FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()"
            ),
            {"name": APPLICATION},
        )
        hosts = ", ".join(others.scalars())
    if hosts:
        raise BackupError(f"servers use {store.place} (from {hosts}): stop them first")


async def _keep(into: Installation, passphrase: str, progress: Progress) -> Path:
    """Keeps what is there: SQLite's file as it is, of PostgreSQL a backup; of SQLite, too, when it has files,
    as the place of files deletes those that the new database does not know."""
    kept = into.data_dir / f"{KEPT}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    kept.mkdir(mode=0o700)
    progress(f"keeping what is there in {kept}")
    for name in SECRETS:
        if (into.data_dir / name).exists():
            shutil.copy2(into.data_dir / name, kept / name)
    if not into.store.is_sqlite:
        if not (into.data_dir / SECRET_FILE).exists():
            raise BackupError(
                f"{into.store.place} has rows, and {into.data_dir} no secret to be kept with them: copy "
                "there that of the server whose rows they are, name another database, or empty this one with "
                "`mimi-mqtt database downgrade base`"
            )
        await make(into, kept / WITH_FILES, passphrase, progress)
    elif (path := into.store.file) is not None and path.exists():
        into.store.into_one_file()
        for each in (path, *_beside(path)):
            try:
                (kept / each.name).hardlink_to(each)
            except OSError:  # a file system without hard links
                shutil.copy2(each, kept / each.name)
        if (into.data_dir / SECRET_FILE).exists() and into.files is not None:
            try:
                if await _has_files(into.store):
                    await make(into, kept / WITH_FILES, passphrase, progress)
            except (StoreError, FilesError) as error:  # damaged or away: this is what restores are for
                progress(f"the stored files are not kept with it: {error}")
    return kept


async def _has_files(store: Store) -> bool:
    """True when there are stored files. Raises StoreError."""
    async with store.maintenance(writes=False) as connection:
        if not await connection.run_sync(lambda sync_connection: inspect(sync_connection).has_table(BLOBS)):
            return False
        return (await connection.execute(text(f"SELECT 1 FROM {BLOBS} LIMIT 1"))).first() is not None  # noqa: S608


def _beside(path: Path) -> list[Path]:
    """The files that SQLite applies to the database at `path`."""
    return [each for suffix in ("-wal", "-shm", "-journal") if (each := Path(f"{path}{suffix}")).exists()]


def _refuse_settings(settings_to: Path | None, checked: Checked) -> None:
    if settings_to is None:
        return
    if not checked.has_settings:
        raise BackupError("the backup has no broker.yaml: leave out --settings-to")
    if settings_to.exists():
        raise BackupError(f"{settings_to} is there already: name another file with --settings-to")


class _Restore:
    """One restore. What it puts into `files` early does no harm: nothing names it yet."""

    def __init__(
        self, into: Installation, staging: Path, passphrase: str, settings_to: Path | None, progress: Progress
    ) -> None:
        self._into = into
        self._staging = staging
        self._passphrase = passphrase
        self._settings_to = settings_to
        self._settings_written: Path | None = None
        self._progress = progress
        self._tables: dict[str, PortableTable] = {}
        self._manifest: Manifest | None = None
        self._id = secrets.token_hex(16)

    async def into_sqlite(self, file: BinaryIO) -> None:
        """Makes a new database beside the old one, and puts it in its place."""
        draft = Store(f"sqlite:///{self._staging / DATABASE}", keep_copies=0)
        await self._load(file, draft)
        await draft.migrate()
        await draft.aclose()
        draft.into_one_file()
        path = self._into.store.file
        assert path is not None  # noqa: S101 - SQLite has one
        self._keep_private(self._staging / DATABASE)
        if path.exists():
            self._into.store.into_one_file()
        _sync_file(self._staging / DATABASE)
        self._write_journal()
        for each in _beside(path):  # of a damaged database: they must not be applied to the new one
            each.unlink()
        (self._staging / DATABASE).replace(path)
        sync(path.parent)

    async def into_postgres(self, file: BinaryIO) -> None:
        """Does all of it in one transaction."""
        await self._load(file, self._into.store)

    async def _load(self, file: BinaryIO, store: Store) -> None:
        async with store.maintenance() as connection:
            with parts_of(file, self._passphrase) as parts:
                manifest = next(parts)
                assert isinstance(manifest, Manifest)  # noqa: S101 - checked before
                self._tables = known_tables(manifest)
                await connection.run_sync(migrate, EMPTY)
                await connection.run_sync(migrate, manifest.schema_revision)
                detached = _Detached(self._tables)
                await connection.run_sync(detached.begin)
                for name in self._tables:  # rows that migrations put there: the backup has its own
                    await connection.execute(text(f'DELETE FROM "{name}"'))  # noqa: S608 - a table's name
                for part in parts:
                    if isinstance(part, Rows):
                        await connection.run_sync(check_rows(self._tables, part).write, part.lines)
                    else:
                        await self._take(part)
                await connection.run_sync(detached.end)
            await connection.run_sync(raise_sequences, self._tables)
            if not store.is_sqlite:
                await connection.run_sync(migrate)
                await connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{self._id}'"))
                self._write_journal()

    async def _take(self, part: Part) -> None:
        match part:
            case Secret():
                name = OLD_SECRET_FILE if part.old else SECRET_FILE
                self._stage(name, part.content)
                if part.old:
                    self._stage(WITH_OLD_SECRET, b"")
            case SettingsFile():
                if self._settings_to is not None:
                    self._write_settings(self._settings_to, part.content)
            case StoredFile():
                await self._take_file(part)
            case End():
                self._progress(f"{sum(part.rows.values())} rows, {part.files} files")

    async def _take_file(self, part: StoredFile) -> None:
        files = self._into.files
        if files is None:
            raise BackupError("the backup has files, and this server has no place for them: set files.url")
        await files.open()
        staged = self._staging / "file"
        with self._new_file(staged) as draft:
            while piece := part.content.read(FILE_READ_BYTES):
                draft.write(piece)
        await files.take(staged, part.name)
        staged.unlink(missing_ok=True)

    def _stage(self, name: str, content: bytes) -> None:
        with self._new_file(self._staging / name) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _keep_private(self, path: Path) -> None:
        """Leaves a file to the owner of the data folder alone. A link in its place is refused: the folder is
        already that owner's, and root may be at work."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o600)
            hand_over(descriptor, self._into.data_dir)
        finally:
            os.close(descriptor)

    def _new_file(self, path: Path) -> BinaryIO:
        """A new file, for the owner of the data folder alone."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        file = os.fdopen(descriptor, "wb")
        try:
            hand_over(descriptor, self._into.data_dir)
        except BaseException:
            file.close()
            raise
        return file

    def _write_settings(self, path: Path, content: bytes) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._settings_written = path
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except OSError as error:
            raise BackupError(
                f"{path} can't be written: {error.strerror}; name another file with --settings-to"
            ) from error

    def discard_settings(self) -> None:
        """Deletes the settings file that this restore wrote: without its data, it would only be in the way of
        the next attempt."""
        if self._settings_written is not None:
            self._settings_written.unlink(missing_ok=True)

    def _write_journal(self) -> None:
        """From now on it is the database that decides."""
        draft = f"{JOURNAL}.new"
        self._stage(draft, json.dumps({"id": self._id}).encode())
        (self._staging / draft).replace(self._staging / JOURNAL)
        sync(self._staging)


class _Detached:
    """`portable.unchecked` in two calls, for a transaction whose work is not all on the connection."""

    def __init__(self, tables: dict[str, PortableTable]) -> None:
        self._tables = tables

    def begin(self, connection: Connection) -> None:
        self._context = unchecked(connection, self._tables)
        self._context.__enter__()

    def end(self, _: Connection) -> None:
        self._context.__exit__(None, None, None)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
