"""The passphrase of a backup: from a file, from a variable, or asked for; never from the command line."""

import getpass
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mimi_mqtt.errors import BackupError

VARIABLE: Final = "MIMI_BACKUP_PASSPHRASE"
"""The variable with a passphrase."""
MAX_BYTES: Final = 4_096


def in_file(path: Path) -> str:
    """The passphrase in the first line of a file. Raises BackupError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BackupError(f"{path} is no passphrase: it is longer than {MAX_BYTES} bytes")
        words = content.decode().splitlines()
    except OSError as error:
        raise BackupError(f"the passphrase in {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise BackupError(f"{path} is no passphrase: it is not text in UTF-8") from None
    if not words or not words[0]:
        raise BackupError(f"{path} has no passphrase in its first line")
    return words[0]


def asked(path: Path | None, environ: Mapping[str, str], *, twice: bool) -> str:
    """The passphrase in the file, else in the variable, else what a person types, `twice` for a new one.
    Raises BackupError."""
    if path is not None:
        return in_file(path)
    if given := environ.get(VARIABLE):
        return given
    if not sys.stdin.isatty():
        raise BackupError(f"there is no passphrase: use --passphrase-file, or set {VARIABLE}")
    typed = getpass.getpass("Passphrase of the backup: ")
    if twice and getpass.getpass("The same again: ") != typed:
        raise BackupError("these were two different passphrases")
    return typed
