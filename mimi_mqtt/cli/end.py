"""Ends a device's session: it becomes idle, and stays connected."""

import argparse

from mimi_mqtt.cli.asking import ask, declare


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the device."""
    declare(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the server; returns 0 when the session is over."""
    ask(args, "end")
    return 0
