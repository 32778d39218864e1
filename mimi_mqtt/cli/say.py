"""Speaks a text on a device, when it has said what it is saying; without a session the device shows it."""

import argparse

from mimi_mqtt.cli.asking import ask, declare


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the device and the text."""
    declare(parser)
    parser.add_argument("text", metavar="TEXT")


def run(args: argparse.Namespace) -> int:
    """Asks the server; returns 0 when the device has it."""
    print(ask(args, "say", text=args.text)["how"])
    return 0
