"""Prints the hash of a password for broker.yaml, where it stands in place of the password:

    accounts:
      admin_password: "$argon2id$v=19$..."

The password is asked for twice without being shown, or read from standard input when that is not a terminal.
"""

import argparse

from mimi_mqtt.cli.passwords import ask_password
from mimi_mqtt.passwords import hash_password


def configure(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments: a password on a command line would be seen by others and kept in its history."""


def run(args: argparse.Namespace) -> int:
    """Prints the hash. Raises ConfigError for a password that is too short or too long."""
    del args
    print(hash_password(ask_password()))
    return 0
