"""Ends a device's session and closes its connection; it may connect again at once.

`mimi-mqtt devices revoke` keeps a device away.
"""

import argparse

from mimi_mqtt.cli.asking import ask, declare


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the device."""
    declare(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the server; returns 0 when the connection is closed."""
    ask(args, "disconnect")
    return 0
