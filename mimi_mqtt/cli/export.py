"""Writes the agents, options of providers and prices that people set to a YAML file, or to standard output.

Keys of providers are not in it: they are set again where the file is imported. What broker.yaml has is not
in it either.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from mimi_mqtt.cli.managing import managed_resources
from mimi_mqtt.errors import MimiError
from mimi_mqtt.managed.documents import exported


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the file."""
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="(default: standard output)")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the document. Raises MimiError."""

    async def read() -> str:
        async with managed_resources(args.config) as (_, resources):
            return await exported(resources)

    text = asyncio.run(read())
    if args.file is None:
        print(text, end="")
        return 0
    try:
        _write(args.file, text)
    except OSError as error:
        raise MimiError(f"{args.file} can't be written: {error.strerror}") from error
    print(f"{args.file} is written; keys of providers are not in it", file=sys.stderr)
    return 0


def _write(path: Path, text: str) -> None:
    """Puts the file in its place whole, readable by its owner alone: prompts may be private."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
