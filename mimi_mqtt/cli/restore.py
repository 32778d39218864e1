"""Restores a backup into this installation: an empty one, or with --replace in place of what is there.

Stop the server first. The whole file is checked before anything is touched, and whatever ends this command,
all is as before or all is restored. What was there is kept in the data folder, as before-restore-…. The
database may be another kind than the one that was backed up. Devices go on with the credentials they have, as
long as they find the server at its old address.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from mimi_mqtt.backup import passphrases
from mimi_mqtt.backup.checking import opened
from mimi_mqtt.backup.restoring import Restored, restore
from mimi_mqtt.cli.installation import installation
from mimi_mqtt.cli.server_process import DataFolderLock
from mimi_mqtt.config import load_settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the file and what it may replace."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a file that `mimi-mqtt backup` made")
    parser.add_argument("--replace", action="store_true", help="replace the data there is, and keep a copy")
    parser.add_argument(
        "--settings-to", type=Path, metavar="FILE", help="write the broker.yaml of the backup to this file"
    )
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="file whose first line is the passphrase"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0. Raises MimiError; then all is as it was."""
    settings = load_settings(args.config, os.environ)
    into = installation(settings, args.config)

    async def put_back() -> Restored:
        with opened(args.file) as file:
            return await restore(
                file,
                passphrases.asked(args.passphrase_file, os.environ, twice=False),
                into,
                replace=args.replace,
                settings_to=args.settings_to,
                progress=lambda line: print(line, file=sys.stderr, flush=True),
            )

    with DataFolderLock.claim(into.data_dir):
        done = asyncio.run(put_back())
    end = done.checked.end
    print(f"restored into {into.store.place}: {end.rows.get('devices', 0)} devices, {end.files} files")
    if done.kept is not None:
        print(f"what was there is kept in {done.kept}")
    if done.checked.has_settings and args.settings_to is None:
        print("the backup has a broker.yaml, too: --settings-to FILE writes it")
    return 0
