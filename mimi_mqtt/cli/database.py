"""Shows the database's schema and copies, and takes the schema forward or back.

A start takes it forward by itself. Before an older version of the program is installed, take it back to that
version's schema with this version: `mimi-mqtt database downgrade REVISION`. The database is copied before
each change (store.keep_copies).
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

from mimi_mqtt.cli.opening import database
from mimi_mqtt.cli.server_process import DataFolderLock
from mimi_mqtt.config import Settings, load_settings
from mimi_mqtt.errors import Invalid
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.migrating import EMPTY, revisions
from mimi_mqtt.store.migrations import HEAD


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the actions."""
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    parser.set_defaults(config=None, json=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="(default: status)")
    status = actions.add_parser("status", parents=[config], help="show its place, schema and copies")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    forward = actions.add_parser("upgrade", parents=[config], help="take the schema forward")
    forward.add_argument("revision", nargs="?", default=HEAD, metavar="REVISION", help=f"(default: {HEAD})")
    back = actions.add_parser(
        "downgrade", parents=[config], help="take the schema back; the server is stopped"
    )
    back.add_argument(
        "revision", metavar="REVISION", help=f"such as {revisions()[-2].name}; {EMPTY}: no tables"
    )


def run(args: argparse.Namespace) -> int:
    """Does one action. Returns 0; raises MimiError."""
    settings = load_settings(args.config, os.environ)
    store = database(settings)
    if args.action in ("upgrade", "downgrade"):
        asyncio.run(_move(store, settings, args))
    else:
        asyncio.run(_show(store, args))
    return 0


async def _show(store: Store, args: argparse.Namespace) -> None:
    found = await store.revision()
    copies = await store.copies()
    if args.json:
        described = {
            "place": store.place,
            "revision": found,
            "newest": HEAD,
            "copies": [{"name": each.name, "revision": each.revision} for each in copies],
        }
        print(json.dumps(described))
        return
    print(store.place)
    for step in revisions():
        mark = ">" if step.name == found else " "
        print(f"{mark} {step.name}  {step.told.partition(chr(10))[0]}")
    if found not in {step.name for step in revisions()}:
        print(f"the schema is {found or 'not made yet'}")
    for each in copies:
        print(f"copy of {each.made_at.astimezone():%Y-%m-%d %H:%M}, schema {each.revision}: {each.name}")


async def _move(store: Store, settings: Settings, args: argparse.Namespace) -> None:
    found = await store.revision()
    names = [EMPTY, *(step.name for step in revisions())]
    if args.revision not in names:
        raise Invalid(
            f"there is no schema {args.revision!r}: `mimi-mqtt database status` lists those there are"
        )
    if found in names and found != args.revision:
        right = "upgrade" if names.index(args.revision) > names.index(found) else "downgrade"
        if args.action != right:
            raise Invalid(f"the schema is {found}: to {args.revision} it is `mimi-mqtt database {right}`")
    with DataFolderLock.claim(settings.server.data_dir):
        await store.migrate(args.revision)
    print(f"the schema is {args.revision}, it was {found or 'not made yet'}")
    for each in (await store.copies())[:1]:
        print(f"the last copy is {each.name}")
