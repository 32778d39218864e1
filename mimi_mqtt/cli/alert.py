"""Shows a message on a device, with a sound, whatever it is doing."""

import argparse

from mimi_mqtt.cli.asking import ask, declare
from mimi_mqtt.wire.messages import EMOTIONS


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the device, the message and how it is shown."""
    declare(parser)
    parser.add_argument("message", metavar="TEXT")
    parser.add_argument("--status", metavar="TITLE", help="shown above it (Notice)")
    parser.add_argument("--emotion", choices=EMOTIONS, metavar="FACE", help="such as neutral, happy or sad")


def run(args: argparse.Namespace) -> int:
    """Asks the server; returns 0 when the message was sent."""
    ask(args, "alert", message=args.message, status=args.status, emotion=args.emotion)
    return 0
