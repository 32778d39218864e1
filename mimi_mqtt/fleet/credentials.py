"""The server's secret, and every credential derived from it.

A device's credentials are HMACs of the secret, the device and its credential epoch: nothing is stored in
clear, raising the epoch revokes them, and they survive a restart. Losing the secret revokes every device's
at once; they get new ones with their next OTA request.
"""

import contextlib
import errno
import hmac
import os
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path

from mimi_mqtt.errors import StartupError

SECRET_FILE = "server.secret"  # noqa: S105  (a file name)
COMMAND_LINE_USER = "$command-line"
"""The MQTT user name of this machine's command line, an administrator as long as it can read the secret."""
COMMAND_LINE_PASSWORD_S = 60.0
"""Validity of a password of the command line, before and after its moment, in seconds."""

_SECRET_BYTES = 32
_MAX_FILE_BYTES = 4096
_NO_DEVICE = "00-00-00-00-00-00"
_MAX_MOMENT_DIGITS = 12


def first_epoch() -> int:
    """The epoch of a device that registers: random, so that the credentials of before it was forgotten stay
    worthless when it comes back."""
    return secrets.randbelow(2**30) + 1


class Credentials:
    """Makes and checks the credentials of devices. Its `repr` shows nothing of the secret."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _SECRET_BYTES:
            raise StartupError(f"the server's secret has {len(secret)} bytes; it needs {_SECRET_BYTES}")
        self._secret = secret

    @classmethod
    def load(cls, data_dir: Path) -> "Credentials":
        """Reads the secret in `data_dir`, or makes one on first start (mode 0600, whole or not at all).

        Raises StartupError when it can't be read or made, is too short, or others may read it.
        """
        path = data_dir / SECRET_FILE
        try:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                _create(path)
            return cls(_read(path))
        except OSError as error:
            cure = "free some space" if error.errno == errno.ENOSPC else "let this user write to the folder"
            raise StartupError(
                f"the server's secret {path} can't be read or made ({error.strerror}): "
                f"{cure}, or set server.data_dir to another folder"
            ) from error

    def mqtt_password(self, device_id: str, epoch: int) -> str:
        """The device's MQTT password: 43 characters of base64url."""
        return self._password(device_id, epoch).decode("ascii")

    def udp_key(self, device_id: str, epoch: int) -> bytes:
        """The device's 16-byte UDP master key, from which each session's key is derived."""
        return hmac.digest(self._secret, f"udp|{device_id}|{epoch}".encode(), "sha256")[:16]

    def check_password(self, password: bytes, device_id: str | None, epoch: int) -> bool:
        """True when `password` is the device's. Takes the same time for every wrong one and for no device
        (None)."""
        expected = self._password(_NO_DEVICE if device_id is None else device_id, epoch)
        return hmac.compare_digest(password, expected) and device_id is not None

    def command_line_password(self, now: float) -> str:
        """A password of `COMMAND_LINE_USER`, made at `now` (s since 1970): of no use soon after it was
        overheard."""
        return self._command_line_password(int(now)).decode("ascii")

    def check_command_line_password(self, password: bytes, now: float) -> bool:
        """True when `password` was made with this secret within `COMMAND_LINE_PASSWORD_S` of `now`."""
        digits = password.partition(b".")[0]
        made_at = int(digits) if digits.isdigit() and len(digits) <= _MAX_MOMENT_DIGITS else 0
        right = hmac.compare_digest(password, self._command_line_password(made_at))
        return right and abs(now - made_at) <= COMMAND_LINE_PASSWORD_S

    def _command_line_password(self, made_at: int) -> bytes:
        digest = hmac.digest(self._secret, f"command line|{made_at}".encode(), "sha256")
        return b"%d.%s" % (made_at, urlsafe_b64encode(digest).rstrip(b"="))

    def _password(self, device_id: str, epoch: int) -> bytes:
        digest = hmac.digest(self._secret, f"mqtt|{device_id}|{epoch}".encode(), "sha256")
        return urlsafe_b64encode(digest).rstrip(b"=")


def _create(path: Path) -> None:
    content = secrets.token_hex(_SECRET_BYTES).encode("ascii") + b"\n"
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
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
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
    try:
        secret = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) < _SECRET_BYTES:
        raise StartupError(
            f"the server's secret {path} is damaged: it must be {2 * _SECRET_BYTES} or more hexadecimal "
            "digits. Restore a backup of it, or delete it (devices then get new credentials)"
        )
    return secret
