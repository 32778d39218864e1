"""Backs the server up into one encrypted file, also while it runs; with --check, proves one.

The file has the database, the server's secret, the stored files and broker.yaml. `mimi-mqtt restore` puts it
back, on another machine and into another kind of database, too: devices go on with the credentials they have.
The passphrase is asked for, or comes from --passphrase-file or MIMI_BACKUP_PASSPHRASE. Without it a backup is
of no use to anyone: keep it apart.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import psutil

from mimi_mqtt.backup import passphrases
from mimi_mqtt.backup.archive import End, Manifest
from mimi_mqtt.backup.checking import check, opened
from mimi_mqtt.backup.making import Made, make
from mimi_mqtt.backup.ports import Progress, silent
from mimi_mqtt.cli.installation import installation
from mimi_mqtt.config import load_settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the file and what is done with it."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the backup; it must not be there yet")
    parser.add_argument("--check", action="store_true", help="read all of a backup, and change nothing")
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="file whose first line is the passphrase"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument(
        "--idle", action="store_true", help="use only time of processor and disk that nobody else wants"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0; 1 when stored files were missing, which the backup is then without. Raises MimiError."""
    if args.idle:
        yield_to_others()
    progress: Progress = silent if args.quiet or args.json else _tell
    if args.check:
        return _check(args)
    settings = load_settings(args.config, os.environ)
    passphrase = passphrases.asked(args.passphrase_file, os.environ, twice=True)
    of = installation(settings, args.config)

    async def back_up() -> Made:
        return await make(of, args.file, passphrase, progress)

    made = asyncio.run(back_up())
    _report(args, made.manifest, made.end, f"{made.path}: {made.bytes / 1e6:.1f} MB", made.bytes)
    if made.end.missing_files:
        print(
            f"mimi-mqtt: {made.end.missing_files} stored files were not there: the backup is without them",
            file=sys.stderr,
        )
        return 1
    return 0


def yield_to_others() -> None:
    """Gives this process the lowest priority."""
    os.nice(19)
    try:
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    except (psutil.Error, OSError, AttributeError):
        return  # a container that may not, or another system


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _check(args: argparse.Namespace) -> int:
    passphrase = passphrases.asked(args.passphrase_file, os.environ, twice=False)
    with opened(args.file) as file:
        checked = check(file, passphrase)
        size = os.fstat(file.fileno()).st_size
    _report(args, checked.manifest, checked.end, f"{args.file} can be restored", size)
    return 0


def _report(args: argparse.Namespace, manifest: Manifest, end: End, told: str, size: int) -> None:
    if args.json:
        described = {"bytes": size, "manifest": manifest.model_dump(mode="json"), "end": end.model_dump()}
        print(json.dumps(described))
        return
    moment = manifest.made_at.astimezone()
    print(
        f"{told}; of {moment:%Y-%m-%d %H:%M}, schema {manifest.schema_revision}, mimi-mqtt {manifest.version}"
    )
    print(f"{end.rows.get('devices', 0)} devices, {sum(end.rows.values())} rows, {end.files} files")
