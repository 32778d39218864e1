"""Prints the hash of a password for broker.yaml, where it stands in place of the password:

    accounts:
      admin_password: "$argon2id$v=19$..."

The password is asked for twice without being shown, or read from standard input when that is not a terminal.
"""

import argparse
import getpass
import sys

from mimi_mqtt.errors import ConfigError
from mimi_mqtt.fleet.passwords import MAX_BYTES, MIN_CHARS, hash_password


def configure(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments: a password on a command line would be seen by others and kept in its history."""


def run(args: argparse.Namespace) -> int:
    """Prints the hash. Raises ConfigError for a password that is too short or too long."""
    del args
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
    print(hash_password(password))
    return 0
