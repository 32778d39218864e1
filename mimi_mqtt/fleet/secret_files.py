"""The files of the server's secret: the one in force, and after a rotation the one before it, for a time.

`server.secret` holds hexadecimal digits, `server.secret.old` those of the secret before and the time (s since
1970) from which on it is worthless. Both are the owner's alone, and are written whole or not at all.
"""

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mimi_mqtt.errors import StartupError

SECRET_FILE: Final = "server.secret"  # noqa: S105  (a file name)
OLD_SECRET_FILE: Final = "server.secret.old"  # noqa: S105  (a file name)
SECRET_BYTES: Final = 32
"""Bytes of a secret that is made here; none may have fewer."""

_MAX_FILE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secret in force and the one before it (None: there is none that is still good); `old_until` is in
    seconds since 1970."""

    current: bytes = field(repr=False)
    old: bytes | None = field(default=None, repr=False)
    old_until: float = 0.0


def load(data_dir: Path, now: float) -> Secrets:
    """Reads the secrets in `data_dir`; the first one is made on first start. An old one whose time is over at
    `now` is deleted.

    Raises StartupError when one can't be read or made, is too short, or others may read it.
    """
    path, old_path = data_dir / SECRET_FILE, data_dir / OLD_SECRET_FILE
    with _explained(path):
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _create(path)
        current = _secret_in(path, _read(path))
        if not old_path.exists():
            return Secrets(current)
        words = _read(old_path).split()
        until = float(words[1]) if len(words) == 2 and words[1].isdigit() else 0.0
        if until <= now:
            with contextlib.suppress(OSError):  # a user who may read only; it is worthless anyway
                delete_old(data_dir)
            return Secrets(current)
        old = _secret_in(old_path, words[0])
        # The same one: the program ended between the two steps of a rotation.
        return Secrets(current, old, until) if old != current else Secrets(current)


def rotate(data_dir: Path, now: float, keep_s: float) -> None:
    """Puts a new secret in force; the one before it stays good for `keep_s` seconds, or ends at once with 0.

    An older one that was still good ends. A running server goes on with what it has until it reloads. Raises
    StartupError.
    """
    path, old_path = data_dir / SECRET_FILE, data_dir / OLD_SECRET_FILE
    with _explained(path), _locked(data_dir):
        content = _read(path)
        _secret_in(path, content)
        owner = path.stat()
        if keep_s:
            # The old one first: whenever this is interrupted, no secret is lost that devices know.
            _replace(old_path, b"%s\n%d\n" % (content, int(now + keep_s)), owner)
        else:
            # First, too: interrupted after it, this leaves no secret from before the last one good.
            delete_old(data_dir)
        _replace(path, secrets.token_hex(SECRET_BYTES).encode("ascii") + b"\n", owner)


def delete_old(data_dir: Path) -> None:
    """Deletes the secret before the one in force. Raises OSError."""
    (data_dir / OLD_SECRET_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cure = "free some space" if error.errno == errno.ENOSPC else "let this user write to the folder"
        raise StartupError(
            f"the server's secret {path} can't be read or made ({error.strerror}): "
            f"{cure}, or set server.data_dir to another folder"
        ) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other rotations out."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create(path: Path) -> None:
    content = secrets.token_hex(SECRET_BYTES).encode("ascii") + b"\n"
    draft = _draft(path)
    _write_new(draft, content)
    try:
        # A link never replaces: of two servers that start at once, both use the first one's secret.
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV):
            raise
        # A file system without hard links, such as some bind mounts.
        with contextlib.suppress(FileExistsError):
            _write_new(path, content)
    finally:
        draft.unlink()
    _sync(path.parent)


def _replace(path: Path, content: bytes, owner: os.stat_result) -> None:
    """Writes `content` to `path` in place of what is there; the file belongs to the user of `owner`."""
    draft = _draft(path)
    _write_new(draft, content)
    try:
        if owner.st_uid != os.geteuid():
            os.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        content = file.read(_MAX_FILE_BYTES).strip()
    if mode & 0o077:
        raise StartupError(
            f"the server's secret {path} may be read or written by others (mode {mode:04o}): "
            f"`chmod 600 {path}`, or delete it if it may have been seen (devices then get new credentials)"
        )
    return content


def _secret_in(path: Path, digits: bytes) -> bytes:
    try:
        secret = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) < SECRET_BYTES:
        raise StartupError(
            f"the server's secret {path} is damaged: it must be {2 * SECRET_BYTES} or more hexadecimal "
            "digits. Restore a backup of it, or delete it (devices then get new credentials)"
        )
    return secret
