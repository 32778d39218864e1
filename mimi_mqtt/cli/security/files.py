"""Checks of who may read and write the server's files."""

import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from mimi_mqtt.cli.security.finding import Finding
from mimi_mqtt.cli.security.machine import Machine
from mimi_mqtt.config import Settings

_PRIVATE_WORDS: Final = ("secret", "mimi.db")
"""Names of files in the data folder that hold secrets or what people said begin with or contain these."""
_OTHERS_READ: Final = 0o044
_OTHERS_WRITE: Final = 0o022
_OTHERS: Final = 0o077
_SECRET_KEYS: Final = ("password", "api_key", "token", "secret", "_key")
_NO_SECRETS: Final = ("tls_key",)
_SHOWN_KEYS: Final = 3


def examine(settings: Settings, machine: Machine, settings_file: Path | None) -> list[Finding]:
    """Findings about the data folder, what is in it, and the settings' file."""
    findings = [_folder(settings.server.data_dir, machine)]
    findings += _private_files(settings.server.data_dir)
    if settings_file is not None:
        findings.append(_settings_file(settings_file, machine))
    return findings


def mode_of(path: Path) -> int | None:
    """The permission bits of a file; None when it can't be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _folder(folder: Path, machine: Machine) -> Finding:
    mode = mode_of(folder)
    if mode is None:
        return Finding("ok", "data folder", f"{folder} is not there yet; the server makes it with mode 0700")
    if mode & _OTHERS:
        return Finding(
            "warning", "data folder", f"{folder} is open to others (mode {mode:04o})", f"chmod 700 {folder}"
        )
    owner = folder.stat().st_uid
    if machine.uid not in (owner, 0):
        cure = f"chown -R {machine.uid} {folder}"
        return Finding(
            "warning", "data folder", f"{folder} belongs to user id {owner}, who can read it", cure
        )
    return Finding("ok", "data folder", f"{folder}, mode {mode:04o}")


def _private_files(folder: Path) -> list[Finding]:
    try:
        paths = sorted(path for path in folder.iterdir() if any(word in path.name for word in _PRIVATE_WORDS))
    except OSError:
        return []
    findings = []
    for path in paths:
        mode = mode_of(path)
        if mode is None:
            continue
        what = "server's secret" if "secret" in path.name else "database"
        if mode & _OTHERS:
            seen = f"{path} is open to others (mode {mode:04o})"
            # Nobody reaches what lies in a closed folder; but a copy of the secret would be as open.
            reached = "secret" in path.name or (mode_of(folder) or 0) & _OTHERS
            findings.append(Finding("warning" if reached else "advice", what, seen, f"chmod 600 {path}"))
        else:
            findings.append(Finding("ok", what, f"{path}, mode {mode:04o}"))
    return findings


def _settings_file(path: Path, machine: Machine) -> Finding:
    mode = mode_of(path)
    if mode is None:
        return Finding("ok", "settings' file", f"{path} can't be seen")
    if mode & _OTHERS_WRITE:
        seen = f"{path} can be changed by others (mode {mode:04o})"
        return Finding("warning", "settings' file", seen, f"chmod go-w {path}")
    keys = secrets_in(path)
    if keys and mode & _OTHERS_READ:
        shown = ", ".join(keys[:_SHOWN_KEYS]) + (", …" if len(keys) > _SHOWN_KEYS else "")
        seen = f"{path} holds {shown} and can be read by others (mode {mode:04o})"
        cure = f"chmod 600 {path}"
        if machine.pid is not None and machine.uid not in (0, path.stat().st_uid):
            cure = f"chown {machine.uid} {path}, which the server has to read, then {cure}"
        return Finding("warning", "settings' file", seen, cure)
    return Finding(
        "ok", "settings' file", f"{path}, mode {mode:04o}" + ("" if keys else ", no secrets in it")
    )


def secrets_in(path: Path) -> Sequence[str]:
    """The keys in the file that hold a secret, such as accounts.admin_password; none of an unreadable one."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return ()
    return tuple(_secret_keys(tree, ())) if isinstance(tree, dict) else ()


def _secret_keys(branch: Mapping[Any, object], where: tuple[str, ...]) -> Iterator[str]:
    for name, value in branch.items():
        key = (*where, str(name))
        if isinstance(value, dict):
            yield from _secret_keys(value, key)
        elif isinstance(value, str) and value and key[-1] not in _NO_SECRETS and _is_secret(key[-1], value):
            yield ".".join(key)


def _is_secret(name: str, value: str) -> bool:
    if name.endswith(_SECRET_KEYS):
        return True
    try:
        return "://" in value and urlsplit(value).password is not None
    except ValueError:
        return False
