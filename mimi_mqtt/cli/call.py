"""Calls a tool of a device, or one that its session may use, and prints the result.

mimi-mqtt call aa:bb:cc:00:11:22 self.audio_speaker.set_volume '{"volume": 30}'
"""

import argparse
import json

from mimi_mqtt.cli.asking import ask, declare
from mimi_mqtt.wire import strict_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the device, the tool and its arguments."""
    declare(parser, timeout=True)
    parser.add_argument("tool", metavar="TOOL", help="its name on the device, or the one models see")
    parser.add_argument(
        "arguments", nargs="?", type=_object, default={}, metavar="JSON", help="its arguments ({})"
    )


def run(args: argparse.Namespace) -> int:
    """Asks the server; prints what the tool answered."""
    text = ask(args, "call", tool=args.tool, arguments=args.arguments, timeout_s=args.timeout)["text"]
    # What a device says must not move the cursor of the terminal it is shown on.
    print("".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in str(text)))
    return 0


def _object(text: str) -> dict[str, object]:
    try:
        value = strict_json.loads(text.encode(errors="replace"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object such as {json.dumps({'volume': 30})}")
    return value
