"""Takes over agents, options of providers and prices from a file of `mimi-mqtt export`, all of it or nothing.

What the file names is made or replaced, everything else stays. `--dry-run` shows what would change. Keys of
providers are not in such files: set them again afterwards.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from mimi_mqtt.cli.managing import managed_resources, printable
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.managed.documents import MAX_DOCUMENT_CHARS, parsed
from mimi_mqtt.managed.resources import Outcome
from mimi_mqtt.store.audit import COMMAND_LINE


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the file and --dry-run."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="written by `mimi-mqtt export`; - reads input"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """Takes the file over. Raises ConfigError and other MimiErrors; then nothing has changed."""
    changes = parsed(_read(args.file), args.file)

    async def write() -> list[Outcome]:
        async with managed_resources(args.config) as (_, resources):
            return list(await resources.put_all(changes, COMMAND_LINE, dry_run=args.dry_run))

    outcomes = asyncio.run(write())
    changed = [each for each in outcomes if each.is_new or each.differences]
    for each in changed:
        print(printable(f"{each.kind} {each.key}: {'new' if each.is_new else 'changed'}"))
        for difference in each.differences if args.dry_run else ():
            print(printable(difference.unified))
        if each.lost:
            print(printable(f"  set again, as its address is another one: {', '.join(each.lost)}"))
    same = len(outcomes) - len(changed)
    print(
        f"{len(changed)} {'would change' if args.dry_run else 'changed'}, {same} as before", file=sys.stderr
    )
    return 0


def _read(path: Path) -> str:
    try:
        if str(path) == "-":
            return sys.stdin.read(MAX_DOCUMENT_CHARS + 1)
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_DOCUMENT_CHARS + 1)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
