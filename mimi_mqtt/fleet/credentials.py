"""Every credential derived from the server's secret.

A device's credentials are HMACs of the secret, the device and its credential epoch: nothing is stored in
clear, raising the epoch revokes them, and they survive a restart. Losing the secret revokes every device's
at once; they get new ones with their next OTA request. After a rotation those of the secret before it are
good for a time, for each device until it used its new ones (`fleet.directory`).
"""

import contextlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import replace
from pathlib import Path

from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet import secret_files
from mimi_mqtt.fleet.secret_files import SECRET_BYTES, Secrets

COMMAND_LINE_USER = "$command-line"
"""The MQTT user name of this machine's command line, an administrator as long as it can read the secret."""
COMMAND_LINE_PASSWORD_S = 60.0
SELF_CHECK_USER = "$self-check"
"""The server itself, when it checks its broker by the advertised address: it may do what a client without a
user name may, as that address may lead to somebody else."""
"""Validity of a password of the command line, before and after its moment, in seconds."""

_NO_DEVICE = "00-00-00-00-00-00"
_MAX_MOMENT_DIGITS = 12


def first_epoch() -> int:
    """The epoch of a device that registers: random, so that the credentials of before it was forgotten stay
    worthless when it comes back."""
    return secrets.randbelow(2**30) + 1


class Credentials:
    """Makes and checks the credentials of devices. Its `repr` shows nothing of the secret."""

    __slots__ = ("_folder", "_old", "_old_until", "_secret", "secret_id")

    def __init__(self, secret: bytes, old: bytes | None = None, old_until: float = 0.0) -> None:
        if len(secret) < SECRET_BYTES:
            raise StartupError(f"the server's secret has {len(secret)} bytes; it needs {SECRET_BYTES}")
        self._folder: Path | None = None
        self._put(Secrets(secret, old, old_until))

    @classmethod
    def load(cls, data_dir: Path) -> "Credentials":
        """Reads the secret in `data_dir`, or makes one on first start. Raises StartupError, see
        `secret_files.load`."""
        found = secret_files.load(data_dir, time.time())
        loaded = cls(found.current, found.old, found.old_until)
        loaded._folder = data_dir
        return loaded

    def _put(self, found: Secrets) -> None:
        self._secret, self._old, self._old_until = found.current, found.old, found.old_until
        self.secret_id = hmac.digest(found.current, b"id", "sha256")[:8].hex()
        """Tells secrets apart without telling them: 16 hex digits."""

    def read(self) -> Secrets:
        """Reads the files again; nothing changes. Raises StartupError."""
        if self._folder is None:
            return Secrets(self._secret, self._old, self._old_until)
        return secret_files.load(self._folder, time.time())

    def take(self, found: Secrets) -> bool:
        """Puts what was read in force. Returns whether there is another secret.

        An old one that is not there any more is over, which `drop_old` tells.
        """
        before = self.secret_id
        if found.old is None and found.current == self._secret:
            found = replace(found, old=self._old)
        self._put(found)
        return self.secret_id != before

    @property
    def overlaps(self) -> bool:
        """True while there is an old secret whose credentials may be good."""
        return self._old is not None

    @property
    def old_until(self) -> float:
        """The moment at which those of the old secret end, in seconds since 1970."""
        return self._old_until

    def drop_old(self, now: float) -> bool:
        """Forgets the old secret for good when its time is over at `now`. Returns whether it did."""
        if self._old is None or now < self._old_until:
            return False
        self._old = None
        if self._folder is not None:
            with contextlib.suppress(OSError):  # then the next start deletes it: its time is in it
                secret_files.delete_old(self._folder)
        return True

    def mqtt_password(self, device_id: str, epoch: int) -> str:
        """The device's MQTT password: 43 characters of base64url."""
        return _password(self._secret, device_id, epoch).decode("ascii")

    def udp_key(self, device_id: str, epoch: int, *, old: bool = False) -> bytes:
        """The device's 16-byte UDP master key, from which each session's key is derived; `old`: of the old
        secret, while there is one."""
        secret = self._old if old and self._old is not None else self._secret
        return hmac.digest(secret, f"udp|{device_id}|{epoch}".encode(), "sha256")[:16]

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose, such as signed links, that follow from the secret."""
        return hmac.digest(self._secret, f"key|{purpose}".encode(), "sha256")

    def old_key(self, purpose: str) -> bytes | None:
        """The same of the secret before the last rotation; None when that is over."""
        return hmac.digest(self._old, f"key|{purpose}".encode(), "sha256") if self._old is not None else None

    def check_password(self, password: bytes, device_id: str | None, epoch: int) -> bool:
        """True when `password` is the device's. Takes the same time for every wrong one and for no device
        (None)."""
        return _is_right(self._secret, password, device_id, epoch)

    def check_old_password(self, password: bytes, device_id: str | None, epoch: int) -> bool:
        """The same for the old secret; False without one."""
        return self._old is not None and _is_right(self._old, password, device_id, epoch)

    def command_line_password(self, now: float) -> str:
        """A password of `COMMAND_LINE_USER`, made at `now` (s since 1970): of no use soon after it was
        overheard."""
        return self._password_of("command line", int(now)).decode("ascii")

    def check_command_line_password(self, password: bytes, now: float) -> bool:
        """True when `password` was made with this secret within `COMMAND_LINE_PASSWORD_S` of `now`."""
        return self._is_of("command line", password, now)

    def self_check_password(self, now: float) -> str:
        """A password of `SELF_CHECK_USER`, good for as long as the command line's."""
        return self._password_of("self-check", int(now)).decode("ascii")

    def check_self_check_password(self, password: bytes, now: float) -> bool:
        """See `check_command_line_password`."""
        return self._is_of("self-check", password, now)

    def _is_of(self, purpose: str, password: bytes, now: float) -> bool:
        digits = password.partition(b".")[0]
        made_at = int(digits) if digits.isdigit() and len(digits) <= _MAX_MOMENT_DIGITS else 0
        right = hmac.compare_digest(password, self._password_of(purpose, made_at))
        return right and abs(now - made_at) <= COMMAND_LINE_PASSWORD_S

    def _password_of(self, purpose: str, made_at: int) -> bytes:
        digest = hmac.digest(self._secret, f"{purpose}|{made_at}".encode(), "sha256")
        return b"%d.%s" % (made_at, urlsafe_b64encode(digest).rstrip(b"="))


def _password(secret: bytes, device_id: str, epoch: int) -> bytes:
    digest = hmac.digest(secret, f"mqtt|{device_id}|{epoch}".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=")


def _is_right(secret: bytes, password: bytes, device_id: str | None, epoch: int) -> bool:
    expected = _password(secret, _NO_DEVICE if device_id is None else device_id, epoch)
    return hmac.compare_digest(password, expected) and device_id is not None
