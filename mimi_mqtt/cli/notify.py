"""Has a device say a text, or play a sound file, although it is idle or away: now, or as soon as it can.

Prints what became of it: delivered, partly, spoken, shown, expired, dropped, or waiting (docs/mqtt.md).
"""

import argparse
from pathlib import Path

from mimi_mqtt.cli.asking import ask, declare, send_sound


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the device, what it is to say, and how."""
    declare(parser, timeout=True)
    parser.add_argument("text", metavar="TEXT", nargs="?", help="spoken; with --audio shown while that plays")
    parser.add_argument(
        "--audio", type=Path, metavar="FILE", help="a sound file: Ogg Opus, WAV, MP3, FLAC, AAC"
    )
    parser.add_argument(
        "--urgent", action="store_true", help="before others that wait, and shown besides in a conversation"
    )
    parser.add_argument(
        "--expires", type=float, metavar="S", help="dropped after so many seconds (3600, at most 604800)"
    )


def run(args: argparse.Namespace) -> int:
    """Asks the server; returns 0 when the device was told, or will be."""
    fields = {
        "text": args.text,
        "urgent": args.urgent or None,
        "expires_s": args.expires,
        "timeout_s": args.timeout,
    }
    result = ask(args, "notify", **fields) if args.audio is None else send_sound(args, args.audio, **fields)
    print(result["how"])
    return 0
