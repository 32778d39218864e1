"""The archive for diagnostics: what somebody needs who helps, without secrets, names and speech."""

import asyncio
import json
import os
import platform
import secrets
import shutil
import socket
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Final

from prometheus_client import generate_latest
from pydantic import BaseModel, SecretStr
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from mimi_mqtt import __version__
from mimi_mqtt.app.diagnosis import Diagnosis
from mimi_mqtt.app.redaction import Redactor
from mimi_mqtt.audio.opus import libopus_version
from mimi_mqtt.config import Settings
from mimi_mqtt.config.effective import effective, may_hold_a_secret
from mimi_mqtt.config.loading import is_secret
from mimi_mqtt.config.settings import AccountSettings
from mimi_mqtt.errors import LimitReached
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.live import LiveFleet
from mimi_mqtt.http.api.log_feed import told as told_line
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.log.recent import MAX_LINES, RecentLines, Wanted
from mimi_mqtt.machine_memory import available_memory
from mimi_mqtt.store import activations, device_lists
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.migrations import HEAD
from mimi_mqtt.store.tables import Device, SessionStatistics, User, UserGroup

MAX_SESSIONS: Final = 200
"""Last sessions whose statistics are told."""
MAX_NAMES: Final = 20_000
"""Devices, and people, whose names are taken out of texts."""
MAX_COUNTED: Final = 100_000
"""Rows of a table that are counted."""
_INFO: Final = 20
_SET: Final = "(set)"
_CONTAINER_MARKS: Final = ("/.dockerenv", "/run/.containerenv")
_SECRET_WORDS: Final = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSPHRASE", "DSN", "URL", "CREDENTIAL")
_TELLING: Final = frozenset(
    {"bind", "tls_bind", "format", "level", "language", "languages", "transport", "timezone", "wake_word",
     "stt", "llm", "tts", "s2s", "vad", "vision", "new_devices", "fonts"}
)  # fmt: skip
"""Keys whose texts are no one's own: addresses to listen at, names of providers, choices."""
_README: Final = """Diagnostics of mimi_mqtt, made at {at}.

versions.json      the server, Python, the machine's system, installed packages
environment.json   processor, memory, disk
settings.json      settings that differ from their defaults; texts of one's own are told as "(set)"
health.json        the parts of the server
problems.json      what a person can mend
log.jsonl          the last lines of the log, without those of the level debug
database.json      kind, schema, size, numbers of rows
devices.json       numbers of devices by board, firmware and transport
sessions.json      the audio of the last sessions
metrics.txt        the metrics of /metrics

Left out or replaced: secrets, names of people, devices, rooms and groups, addresses of mail, public network
addresses, prompts, and everything that was said. A MAC address keeps its first half, which names its
manufacturer; the other half is a number that is the same in all files of this archive, and another one in the
next.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Where the archive's content comes from."""

    settings: Callable[[], Settings]
    environ: Mapping[str, str]
    health: Callable[[], Mapping[str, PartHealth]]
    diagnosis: Diagnosis
    lines: RecentLines
    store: Store
    directory: DeviceDirectory
    live: LiveFleet
    started_at: datetime


class Diagnostics:
    """Makes archives, one at a time."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._making = asyncio.Lock()

    async def write(self, file: IO[bytes]) -> None:
        """Writes an archive, as a zip. Raises LimitReached while another one is made, StoreError."""
        if self._making.locked():
            raise LimitReached("an archive is being made: wait until it is done", 5)
        async with self._making:
            files = await self._files()
            redactor = await self._redactor()
            await asyncio.to_thread(_pack, file, files, redactor)

    async def _files(self) -> Mapping[str, Any]:
        """The content by the names of the files: texts, lists of lines, and values of JSON."""
        facts = self._facts
        settings = facts.settings()
        async with facts.store.read() as session:
            rows = {name: await _count(session, name) for name in SQLModel.metadata.tables}
            boards = await device_lists.board_counts(session)
            transports = dict((await session.execute(_by(col(Device.transport)))).all())
            sessions = (await session.scalars(_LAST)).all()
        problems = await facts.diagnosis.current()
        lines = facts.lines.before(Wanted(level=_INFO), None, MAX_LINES)
        return {
            "versions.json": await asyncio.to_thread(_versions),
            "environment.json": await asyncio.to_thread(_environment, settings, facts.started_at),
            "settings.json": list(_settings(settings)),
            "health.json": {
                name: {"ok": part.ok, "detail": part.detail} for name, part in facts.health().items()
            },
            "problems.json": [
                {
                    "id": each.id, "kind": each.kind, "severity": each.severity, "cause": each.cause,
                    "cure": each.cure, "device": each.device_id, "since": each.since.isoformat(),
                }
                for each in problems
            ],
            "log.jsonl": [told_line(line) for line in reversed(lines)],
            "database.json": {
                "kind": "sqlite" if facts.store.is_sqlite else "postgresql",
                "schema": await facts.store.revision() or "",
                "newest_schema": HEAD,
                "bytes": await facts.store.size(),
                "failure": facts.store.failure,
                "rows": rows,
            },
            "devices.json": {
                "devices": len(facts.directory),
                "online": len(facts.live.online()),
                "boards": boards,
                "transports": {name or "default": number for name, number in transports.items()},
            },
            "sessions.json": [
                {
                    "device": each.device_id, "transport": each.transport,
                    "started_at": each.started_at.isoformat(), "ended_at": each.ended_at.isoformat(),
                    "reason": each.reason, "udp_seen": each.udp_seen, "received": each.received,
                    "lost": each.lost, "late": each.late, "jitter_ms": each.jitter_ms,
                    "round_trip_ms": each.round_trip_ms,
                }
                for each in sessions
            ],
            "metrics.txt": await asyncio.to_thread(lambda: generate_latest().decode()),
        }  # fmt: skip

    async def _redactor(self) -> Redactor:
        facts = self._facts
        names: set[str] = set()
        async with facts.store.read() as session:
            for table, columns in _NAMED:
                found = await session.execute(select(*columns).select_from(table).limit(MAX_NAMES))
                names.update(text for row in found for text in row if text)
            found = await session.execute(select(col(Device.id), col(Device.client_id)).limit(MAX_NAMES))
            clients = [(str(row[0]), str(row[1])) for row in found]
            codes = [code for _, code in await activations.pending_codes(session, datetime.now(UTC))]
        macs = {device_id.replace("-", "") for device_id, _ in clients}
        settings = facts.settings()
        names.update(_own_names(settings))
        return Redactor(
            secrets=[*_secrets(settings), *_secret_variables(facts.environ)],
            ids=[client for _, client in clients if len(client) >= _CLIENT_CHARS],
            codes=codes,
            names=names,
            salt=secrets.token_bytes(16),
            is_device=lambda mac: mac.lower() in macs,
        )


_CLIENT_CHARS: Final = 16
"""A Client-Id is a UUID; what is shorter was made up by a person, and may be a word."""
_LAST: Final = select(SessionStatistics).order_by(col(SessionStatistics.ended_at).desc()).limit(MAX_SESSIONS)
_NAMED: Final = (
    (User, (col(User.name), col(User.display_name), col(User.email))),
    (UserGroup, (col(UserGroup.name),)),
    (Device, (col(Device.name), col(Device.user_name), col(Device.room))),
)


def _own_names(settings: Settings) -> Iterator[str]:
    """Names that the machine and its administrator have."""
    if settings.accounts.admin_username != AccountSettings().admin_username:
        yield settings.accounts.admin_username
    yield socket.gethostname()
    home = Path.home()
    if home.parent.name in ("home", "Users"):
        yield home.name


def _by(column: Any) -> Any:
    return select(column, func.count()).group_by(column)


async def _count(session: AsyncSession, name: str) -> int:
    """The number of rows, MAX_COUNTED at most."""
    table = SQLModel.metadata.tables[name]
    some = select(next(iter(table.primary_key.columns))).limit(MAX_COUNTED).subquery()
    return int((await session.execute(select(func.count()).select_from(some))).scalar_one())


def _versions() -> dict[str, Any]:
    return {
        "mimi_mqtt": __version__,
        "python": sys.version,
        "implementation": platform.python_implementation(),
        "system": platform.platform(),
        "libc": " ".join(platform.libc_ver()),
        "libopus": libopus_version(),
        "packages": {
            each.metadata["Name"]: each.version
            for each in sorted(metadata.distributions(), key=lambda each: each.metadata["Name"] or "")
            if each.metadata["Name"]
        },
    }


def _environment(settings: Settings, started_at: datetime) -> dict[str, Any]:
    memory, disk = available_memory(), shutil.disk_usage(settings.server.data_dir)
    return {
        "now": datetime.now(UTC).isoformat(),
        "started_at": started_at.isoformat(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "memory": {"total": memory.total, "available": memory.available},
        "disk": {"total": disk.total, "free": disk.free},
        "container": any(Path(mark).exists() for mark in _CONTAINER_MARKS),
        "user_is_root": os.geteuid() == 0,
        "threads": len(sys._current_frames()),
    }


def _settings(settings: Settings) -> Iterator[dict[str, Any]]:
    """Settings that are not their defaults. Of texts only those that can't be anybody's own."""
    for each in effective(settings, {}):
        if each.value != each.default:
            yield {"key": each.key, "value": _harmless((each.key.rpartition(".")[2],), each.value)}


def _harmless(where: tuple[str, ...], value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _harmless((*where, str(key)), inner) for key, inner in value.items()}
    if isinstance(value, str):
        return value if where[-1] in _TELLING else _SET
    return [_harmless(where, inner) for inner in value]


def _secrets(value: Any, where: tuple[str, ...] = ()) -> Iterator[str]:
    """Values of the settings that are secrets, or may be."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name), (*where, name))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _secrets(inner, (*where, str(name)))
    elif isinstance(value, str):
        if is_secret(where) or may_hold_a_secret(where) or where[-1:] in (("prompt",), ("greeting",)):
            yield value
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _secrets(inner, where)


def _secret_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables of the environment whose names say that they are secrets."""
    for name, value in environ.items():
        if any(word in name.upper() for word in _SECRET_WORDS):
            yield value


def _pack(file: IO[bytes], files: Mapping[str, Any], redactor: Redactor) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", _README.format(at=datetime.now(UTC).isoformat(timespec="seconds")))
        for name, content in files.items():
            if name.endswith(".txt"):
                text = "\n".join(redactor.text(line) for line in content.splitlines())
            elif name.endswith(".jsonl"):
                text = "\n".join(json.dumps(redactor.value(line), ensure_ascii=False) for line in content)
            elif name == "versions.json":
                text = json.dumps(content, indent=1)
            else:
                text = json.dumps(redactor.value(content), ensure_ascii=False, indent=1)
            archive.writestr(name, text + "\n")
