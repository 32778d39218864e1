"""Backups that the server makes by itself or when it is asked, one at a time on all nodes of a database.

A backup is made by a process of its own with the lowest priority: conversations don't wait for it.
"""

import asyncio
import contextlib
import json
import logging
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.backup.ports import DRAFT_SUFFIX
from mimi_mqtt.backup.stored import StoredBackups
from mimi_mqtt.config import BackupSettings
from mimi_mqtt.errors import BackupError, Conflict, Invalid, NotFound
from mimi_mqtt.store import audit, backups
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import BackupRow
from mimi_mqtt.supervision import SupervisedLoop

LOOK_EVERY_S: Final = 60.0
"""Seconds between two looks whether a backup is due."""
RETRY: Final = timedelta(minutes=30)
"""Time from a backup that failed to the next."""
MAX_TIME_S: Final = 6 * 3600.0
"""Longest time of a backup, in seconds."""
MAX_OUTPUT_BYTES: Final = 65_536
"""Most that is read of what the process says."""

_PREFIX: Final = "mimi-"
_SUFFIX: Final = ".backup"

_made = Counter("mimi_backups_total", "Backups that the server made.", ["outcome"])

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a backup, of which the database is to be told."""

    backup_id: int
    at: datetime
    size: int | None
    missing: int
    problem: str


class Backups:
    """The server's backups. `environ` is that of the process that makes them: with it the command
    `mimi-mqtt backup` finds the settings of this server. `zone` is that of `backup.at`. `start`, then
    `aclose`."""

    def __init__(
        self,
        store: Store,
        settings: BackupSettings,
        environ: Mapping[str, str],
        *,
        node: str = "",
        zone: tzinfo = UTC,
    ) -> None:
        self._store = store
        self._settings = settings
        self._environ = environ
        self._node = node or socket.gethostname()
        self._zone = zone
        self.stored = StoredBackups(store, settings, environ, self._node)
        self._loop = SupervisedLoop("backups", self._round, every_s=1.0)
        self._asked: list[BackupRow] = []
        self._ends: list[_End] = []
        self._look_at = float("-inf")
        self._first = True
        self._failure = ""
        self._last = ""

    @property
    def failure(self) -> str:
        """The reason why the last backup failed, with its cure; empty when it did not."""
        return self._failure

    @property
    def healthy(self) -> bool:
        """True while backups are made when they are due, and the last one did not fail."""
        return self._loop.healthy and not self._failure

    @property
    def told(self) -> str:
        """One line for people."""
        if self._failure:
            return f"failed: {self._failure}"
        if self._settings.folder is None:
            return "none are scheduled (backup.folder)"
        return self._last or "none since the start"

    def start(self) -> None:
        """Starts to look whether one is due."""
        self._loop.start()

    async def aclose(self) -> None:
        """Ends, and a backup that is running with it; safe to call twice."""
        await self._loop.aclose()

    async def request(self, author: Author) -> BackupRow:
        """Begins a backup soon. Raises Invalid without a folder, Conflict while one runs, StoreError."""
        if self._settings.folder is None:
            raise Invalid("no backups are set up: set backup.folder and backup.passphrase_file")
        async with self._store.write() as session:
            row = await backups.begin(
                session, _now(), node=self._node, name=_name(_now()), every=None, retry=RETRY,
                author=author.name,
            )  # fmt: skip
            if row is None:
                raise Conflict("a backup is being made: wait until it is done")
            audit.record(session, author, "backup.start", f"backup:{row.id}")
        self._asked.append(row)
        return row

    async def get(self, backup_id: int) -> BackupRow:
        """A backup of any node. Raises NotFound, StoreError."""
        async with self._store.read() as session:
            row = await backups.of_id(session, backup_id)
        if row is None:
            raise NotFound("there is no such backup")
        return row

    async def latest(self, limit: int, before: int | None = None) -> Sequence[BackupRow]:
        """The last backups of all nodes, the newest first. Raises StoreError."""
        async with self._store.read() as session:
            return await backups.latest(session, limit, before)

    async def _round(self) -> None:
        await self._save_ends()
        row = self._asked.pop(0) if self._asked else await self._due()
        if row is not None:
            await self._make(row)

    async def _due(self) -> BackupRow | None:
        now = time.monotonic()
        if self._settings.folder is None or now - self._look_at < LOOK_EVERY_S:
            return None
        async with self._store.write() as session:
            if self._first:
                await backups.end_interrupted(session, self._node, _now())
            every = _now() - due_since(_now(), self._settings, self._zone)
            row = await backups.begin(
                session, _now(), node=self._node, name=_name(_now()), every=every, retry=RETRY
            )
        self._look_at, self._first = now, False
        return row

    async def _make(self, row: BackupRow) -> None:
        assert row.id is not None  # noqa: S101 - it is in the database
        size, missing, problem = None, 0, "the server was stopped meanwhile"
        try:
            size, missing = await self._run(row.name)
            problem = ""
        except BackupError as error:
            problem = str(error)
        finally:
            _made.labels("failed" if problem else "done").inc()
            # Also when this task is being cancelled: the next start would find it running.
            await asyncio.shield(self._ended(row.id, size, missing, problem))

    async def _ended(self, backup_id: int, size: int | None, missing: int, problem: str) -> None:
        if problem and not self._failure:
            _log.error("the backup failed: %s; told again when it works", problem)
        elif not problem and self._failure:
            _log.info("backups work again")
        self._failure = problem
        if not problem:
            without = f", without {missing} files that are missing" if missing else ""
            self._last = f"last {_now():%Y-%m-%d %H:%M} UTC, {(size or 0) / 1e6:.1f} MB{without}"
        self._ends.append(_End(backup_id, _now(), size, missing, problem))
        await self._save_ends()

    async def _save_ends(self) -> None:
        """Takes note of the backups that ended; when the database is out of reach, the next round does."""
        while self._ends:
            end = self._ends[0]
            here = await asyncio.to_thread(_names, self._folder())
            async with self._store.write() as session:
                await backups.end(
                    session, end.backup_id, end.at,
                    size=end.size, missing_files=end.missing, problem=end.problem,
                )  # fmt: skip
                old = await backups.forget_old(session, self._node, self._settings.keep, here)
            self._ends.remove(end)
            await asyncio.to_thread(_delete, [self._folder() / name for name in old])

    async def _run(self, name: str) -> tuple[int, int]:
        """Makes the backup; returns its size in bytes and the number of missing files. Raises BackupError."""
        folder = self._folder()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BackupError(
                f"the folder {folder} can't be made ({error.strerror}): see backup.folder"
            ) from error
        await asyncio.to_thread(_delete_drafts, folder, f"{_PREFIX}*", MAX_TIME_S)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mimi_mqtt", "backup", str(folder / name), "--json", "--idle"),
            *("--passphrase-file", str(self._settings.passphrase_file)),
            env=dict(self._environ), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(MAX_TIME_S):
                out, err = await process.communicate()
        except TimeoutError:
            raise BackupError(f"it was not done within {MAX_TIME_S / 3600:.0f} hours") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
                _delete_drafts(folder, name)  # what is killed leaves one
        return _result(out[-MAX_OUTPUT_BYTES:], err[-MAX_OUTPUT_BYTES:])

    def _folder(self) -> Path:
        assert self._settings.folder is not None  # noqa: S101 - nothing is begun without
        return self._settings.folder


def due_since(now: datetime, settings: BackupSettings, zone: tzinfo) -> datetime:
    """The moment since which there must have been a backup; pure."""
    if not settings.at:
        return now - timedelta(hours=settings.every_hours)
    hour, minute = map(int, settings.at.split(":"))
    local = now.astimezone(zone)
    last = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    # Days of the calendar: the hour stays the same when clocks are set.
    back = max(1, round(settings.every_hours / 24)) - (last <= local)
    return (last - timedelta(days=back)).astimezone(UTC)


def _result(out: bytes, err: bytes) -> tuple[int, int]:
    try:
        told = json.loads(out)
        return int(told["bytes"]), int(told["end"]["missing_files"])
    except (ValueError, KeyError, TypeError):
        lines = err.decode(errors="replace").strip().splitlines() or ["the process ended without a word"]
        raise BackupError(lines[-1].removeprefix("mimi-mqtt: ")) from None


def _names(folder: Path) -> list[str]:
    """The names of the backups in `folder`."""
    return [each.name for each in folder.glob(f"{_PREFIX}*{_SUFFIX}")]


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _delete_drafts(folder: Path, name: str, age_s: float = 0.0) -> None:
    """Deletes drafts of the backup `name`, a pattern, that were not written to for `age_s` seconds: those of
    a process that was killed, or of a machine that lost its power."""
    before = time.time() - age_s
    with contextlib.suppress(OSError):
        drafts = [each for each in folder.glob(f".{name}.*{DRAFT_SUFFIX}") if each.stat().st_mtime <= before]
        _delete(drafts)


def _now() -> datetime:
    return datetime.now(UTC)


def _name(now: datetime) -> str:
    return f"{_PREFIX}{now:%Y%m%dT%H%M%SZ}{_SUFFIX}"
