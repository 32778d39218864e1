"""Passwords asked for on a terminal, or read from standard input: never on a command line, where others see
them."""

import getpass
import sys

from mimi_mqtt.errors import ConfigError
from mimi_mqtt.passwords import MAX_BYTES, MIN_CHARS


def ask_password() -> str:
    """A new password, asked for twice without being shown, or the first line of standard input when that is
    no terminal. Raises ConfigError."""
    if sys.stdin.isatty():
        password = getpass.getpass("password: ")
        if getpass.getpass("once more: ") != password:
            raise ConfigError("the two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < MIN_CHARS:
        raise ConfigError(f"a password must have at least {MIN_CHARS} characters")
    if len(password.encode()) > MAX_BYTES:
        raise ConfigError(f"a password must have at most {MAX_BYTES} bytes")
    return password
