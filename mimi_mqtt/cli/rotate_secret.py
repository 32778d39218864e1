"""Replaces the server's secret, from which the credentials of every device are made.

Devices get credentials of the new secret with their next OTA request, which they send when they boot. Those
they have stay good until then: each device's end once it used its new ones, and all of them with the days of
--keep-days. With --now they end at once: a device is without a connection until it boots again. Do that when
the secret may have been seen by others. A running server takes the new secret over. Keys of chips, which are
sealed with the secret, and those of providers are sealed anew.
"""

import argparse
import asyncio
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.opening import database
from mimi_mqtt.cli.server_process import NoServer, ask_to_reload
from mimi_mqtt.config import Settings, load_settings
from mimi_mqtt.errors import MimiError, StoreError
from mimi_mqtt.fleet import secret_files
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.device_keys import DeviceKeys
from mimi_mqtt.fleet.secret_files import SECRET_FILE
from mimi_mqtt.managed.resources import ManagedResources
from mimi_mqtt.store.engine import Store

KEEP_DAYS: Final = 30
"""Days for which old credentials stay good, unless told otherwise."""

_DAY_S: Final = 86_400.0
_WITHIN_S: Final = 90.0
_SEALING_S: Final = 86_400.0
"""Seconds for which the old secret is kept at least, should sealing be interrupted: time to run this again.
Keys that are still sealed with the old secret are lost without it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares how long old credentials stay good, and --config."""
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--now", action="store_true", help="end every device's credentials at once")
    when.add_argument(
        "--keep-days",
        type=_days,
        default=KEEP_DAYS,
        metavar="N",
        help=f"days for which old credentials stay good for devices that do not boot ({KEEP_DAYS})",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0 when the new secret is in force, 1 when a running server did not take it over or keys could
    not be sealed with it. Raises MimiError."""
    settings = load_settings(args.config, os.environ)
    folder = settings.server.data_dir
    if not (folder / SECRET_FILE).exists():
        raise MimiError(
            f"there is no secret at {folder / SECRET_FILE}: run this command in the server's folder, or name "
            "its settings by --config"
        )
    now = time.time()
    keep_s = 0.0 if args.now else args.keep_days * _DAY_S
    overlapping = not args.now and secret_files.load(folder, now).old is not None
    problem = asyncio.run(_rotate(settings, now, keep_s))
    print(f"there is a new secret in {folder / SECRET_FILE}")
    try:
        result = ask_to_reload(folder, _WITHIN_S)
    except NoServer:
        print("no server runs: the next one that starts uses it")
    except MimiError as error:
        return _not_taken(str(error))
    else:
        if result.problem:
            return _not_taken(result.problem)
        print("the running server uses it")
    if problem:
        until = datetime.fromtimestamp(now + (keep_s or _SEALING_S)).astimezone()
        print(f"mimi-mqtt: {problem}", file=sys.stderr)
        print(
            "run this command again: old credentials stay good until then, at the longest until "
            f"{until:%Y-%m-%d %H:%M}",
            file=sys.stderr,
        )
        return 1
    if args.now:
        print("every device is without a connection until it boots and asks OTA again")
    else:
        until = datetime.fromtimestamp(now + keep_s).astimezone()
        print(
            "devices get new credentials when they boot; those they have stay good until then, "
            f"at the longest until {until:%Y-%m-%d %H:%M}"
        )
        if overlapping:
            print(
                "the rotation before was not over: a device that has not booted since then can't connect "
                "until it boots"
            )
    return 0


async def _rotate(settings: Settings, now: float, keep_s: float) -> str:
    """Rotates the secret, and seals with the new one what the old one had sealed.

    The old one stays until that is done, however short it is to be kept: nothing is lost when this is
    interrupted. Returns why it has to stay, "" when it has not. Raises StartupError, and StoreError before
    anything has changed.
    """
    folder = settings.server.data_dir
    store = database(settings)
    try:
        await store.open(create=False)
    except StoreError:
        if settings.store.url is not None or (folder / "mimi.db").exists():
            raise
        secret_files.rotate(folder, now, keep_s)  # no server ever ran: nothing is sealed
        return ""
    try:
        # What a rotation that was interrupted left to the secret before, which ends with this one.
        await _seal(settings, store)
        secret_files.rotate(folder, now, keep_s or _SEALING_S)
        try:
            lost = await _seal(settings, store)
        except StoreError as error:
            return f"what is sealed with the secret before could not be sealed with it: {error}"
    finally:
        await store.aclose()
    if lost:
        print(
            f"{lost} keys of chips were sealed with a secret from before: import them again", file=sys.stderr
        )
    if not keep_s:
        try:
            secret_files.delete_old(folder)
        except OSError as error:
            return f"the secret before can't be deleted from {folder}: {error.strerror}"
    return ""


async def _seal(settings: Settings, store: Store) -> int:
    """Seals with the secret in force the keys of chips and of providers that the one before sealed. Returns
    the number of keys of chips that can't be read any more. Raises StoreError."""
    credentials = Credentials.load(settings.server.data_dir)
    lost = await DeviceKeys(store, credentials).reseal()
    await ManagedResources(store, credentials, os.environ, lambda: settings).reseal({})
    return lost


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3_650:
        raise argparse.ArgumentTypeError(f"must be a number of days from 1 to 3650, not {text!r}")
    return int(text)


def _not_taken(problem: str) -> int:
    print(f"mimi-mqtt: {problem}", file=sys.stderr)
    print("the running server goes on with the old secret until `mimi-mqtt reload`", file=sys.stderr)
    return 1
