"""Encryption of a backup: an age file (age-encryption.org/v1) whose identity is locked by a passphrase.

The file begins with `MAGIC` and a line of JSON: salt, nonce and the age identity, encrypted with AES-256-GCM
by a key that scrypt makes of the passphrase. After that line follows the age file. Its chunks of 64 KiB can
be neither changed, moved nor left out, and its end is known. Age's own passphrases are not used: their scrypt
takes a gigabyte of memory on a fast machine, and a small machine could not restore such a file.
"""

import base64
import binascii
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mimi_mqtt.errors import BackupError

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

MAGIC: Final = b"mimi-mqtt backup 1\n"
MIN_PASSPHRASE_CHARS: Final = 10
"""Fewest characters of a passphrase: a copy of the file can be tried out at leisure."""
MAX_HEAD_BYTES: Final = 1024
SCRYPT_N: Final = 2**16
"""With r = 8 a guess takes 64 MiB of memory."""
SCRYPT_P: Final = 2

_FORMAT_OF_OTHERS: Final = b"mimi-mqtt backup "


def check_passphrase(passphrase: str) -> str:
    """The passphrase for a new backup. Raises BackupError when it is too short."""
    if len(passphrase) < MIN_PASSPHRASE_CHARS:
        raise BackupError(f"the passphrase needs at least {MIN_PASSPHRASE_CHARS} characters")
    return passphrase


class Sealer:
    """Encrypts what is written to `stream` into `file`, from `with` to its end.

    The encryption runs in a thread of its own, which takes as much as it can write. An exception within the
    block leaves an archive without its end.
    """

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        from pyrage import encrypt_io
        from pyrage.x25519 import Identity

        identity = Identity.generate()
        file.write(_lock(str(identity), passphrase))
        recipient = identity.to_public()
        reading, writing = os.pipe()
        self.stream: BinaryIO = os.fdopen(writing, "wb", buffering=1 << 16)
        self._output = _Output(file)
        self._thread = _Pump(reading, "rb", lambda source: encrypt_io(source, self._output, [recipient]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stream.close()
        except BrokenPipeError:
            pass  # the thread has ended, and says why
        finally:
            self._thread.join()
        if self._output.error is not None:
            raise self._output.error
        if kind is None and self._thread.error is not None:
            raise BackupError(f"the backup can't be encrypted: {self._thread.error}")


@contextmanager
def unsealed(file: BinaryIO, passphrase: str) -> Iterator[IO[bytes]]:
    """The decrypted bytes of a backup, of which none is given before it was authenticated.

    Raises BackupError: it is no backup, is of a newer version, the passphrase is wrong; and at the end of the
    block when the file is damaged or cut off, whatever the block raised.
    """
    from pyrage import decrypt_io

    identity = _unlock(_head(file), passphrase)
    reading, writing = os.pipe()
    pump = _Pump(writing, "wb", lambda target: decrypt_io(file, target, [identity]))
    source = os.fdopen(reading, "rb", buffering=1 << 16)
    given_up = False
    try:
        yield source
        while source.read(1 << 16):  # the padding after the archive's end is authenticated, too
            pass
    except BaseException:
        given_up = not pump.ended
        raise
    finally:
        source.close()
        pump.join()
        if pump.error is not None and not given_up:
            raise BackupError(
                "the backup is damaged or cut off: it can't be used. Take another one, or copy it again"
            ) from None


class _Pump:
    """A thread that works on one end of a pipe, closes it, and keeps what went wrong."""

    def __init__(self, descriptor: int, mode: str, work: Callable[[Any], None]) -> None:
        self.error: Exception | None = None
        self.ended = False
        self._end = os.fdopen(descriptor, mode, buffering=1 << 16)
        self._work = work
        self._thread = threading.Thread(target=self._run, name="backup encryption", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self._end)
            self._end.close()
        except Exception as error:  # noqa: BLE001 - the thread's end; told by `error`
            self.error = error
        finally:
            self.ended = True
            with suppress(OSError):
                self._end.close()

    def join(self) -> None:
        self._thread.join()


class _Output:
    """A file whose OSError is kept: what comes through the library is only its text."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, part: bytes) -> int:
        try:
            return self._file.write(part)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _lock(identity: str, passphrase: str) -> bytes:
    salt, nonce = os.urandom(16), os.urandom(12)
    locked = AESGCM(_key(passphrase, salt)).encrypt(nonce, identity.encode(), MAGIC + salt)
    parts = {"salt": salt, "nonce": nonce, "identity": locked}
    words = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    return MAGIC + json.dumps(words).encode() + b"\n"


def _head(file: BinaryIO) -> dict[str, bytes]:
    begin = file.read(len(MAGIC))
    if begin != MAGIC:
        if begin.startswith(_FORMAT_OF_OTHERS):
            raise BackupError("the backup is of a newer mimi-mqtt: restore it with that version")
        raise BackupError("this is no backup of mimi-mqtt")
    line = file.readline(MAX_HEAD_BYTES)
    try:
        words = json.loads(line)
        return {name: base64.b64decode(words[name], validate=True) for name in ("salt", "nonce", "identity")}
    except (ValueError, TypeError, KeyError, binascii.Error, RecursionError):
        raise BackupError("the backup is damaged at its beginning: take another one") from None


def _unlock(head: dict[str, bytes], passphrase: str) -> "Identity":
    from pyrage import IdentityError
    from pyrage.x25519 import Identity

    try:
        key = AESGCM(_key(passphrase, head["salt"]))
        return Identity.from_str(key.decrypt(head["nonce"], head["identity"], MAGIC + head["salt"]).decode())
    except (InvalidTag, ValueError, IdentityError):
        raise BackupError("the passphrase is wrong, or the beginning of the backup is damaged") from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=SCRYPT_N, r=8, p=SCRYPT_P).derive(passphrase.encode())
