"""Lists, adds, changes and cancels timers, alarms and reminders; also while the server runs.

The server notices a change within two seconds. Times are local ones, in the time zone of the settings
(server.timezone, else this machine's), or in that of --timezone: a reminder keeps its time on the wall while
clocks are changed. Repetitions are rules of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO,TH, or a word: hourly,
daily, weekdays, weekends, weekly, monthly, yearly.
"""

import argparse
import asyncio
import functools
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.opening import database
from mimi_mqtt.config import load_settings
from mimi_mqtt.errors import MimiError
from mimi_mqtt.fleet.administration import parse_device_id
from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.reminders import ReminderRecord, ReminderTable
from mimi_mqtt.tools.reminders.schedule import MAX_AHEAD, zone_of
from mimi_mqtt.tools.reminders.service import Reminders, local_zone, title, utc_now

MIN_EXPIRY_S: Final = 60
"""Shortest expiry that can be asked for, in seconds."""
MAX_EXPIRY_S: Final = 30 * 86_400
"""Longest expiry that can be asked for, in seconds."""

_DURATION: Final = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m(?:in)?)?(?:(\d{1,7})s)?")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the actions."""
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    parser.set_defaults(config=None, device=None, all=False, json=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="(default: list)")
    listing = actions.add_parser("list", parents=[config], help="show what is set, soonest first")
    listing.add_argument("--device", metavar="ID", help="of this device alone: its MAC address")
    listing.add_argument("--all", action="store_true", help="also what ended within the last days")
    listing.add_argument("--json", action="store_true", help="print a JSON object a line")
    add = actions.add_parser("add", parents=[config], help="set a reminder, or an alarm with an empty text")
    add.add_argument("device", metavar="DEVICE", help="its MAC address")
    add.add_argument("text", metavar="TEXT", help='what the device says; "" for an alarm')
    when = add.add_mutually_exclusive_group(required=True)
    when.add_argument("--at", metavar="TIME", help="2026-11-28T09:00, or 09:00 for the next nine o'clock")
    when.add_argument("--in", dest="after", type=_duration, metavar="TIME", help="such as 45m or 1h30m")
    _declare_repetition(add, "its repetition, from that time on")
    add.add_argument(
        "--expires", type=_expiry, metavar="TIME",
        help="how long after its time it is still worth telling, such as 2h (a reminder: 7d, an alarm: 12h)",
    )  # fmt: skip
    change = actions.add_parser("change", parents=[config], help="change an alarm or a reminder")
    change.add_argument("id", metavar="ID", help="its number, which list shows")
    change.add_argument("--at", metavar="TIME", default="", help="another time, or time of day alone")
    change.add_argument("--text", help="another text")
    _declare_repetition(change, "another repetition, or none")
    cancel = actions.add_parser("cancel", parents=[config], help="delete a timer, alarm or reminder")
    cancel.add_argument("id", metavar="ID", help="its number, which list shows")


def _declare_repetition(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--rrule", metavar="RULE", default="", help=what)
    parser.add_argument("--timezone", metavar="NAME", help="such as Europe/Berlin")


def run(args: argparse.Namespace) -> int:
    """Does one action. Returns 0; raises MimiError, which says what is wrong and how to mend it."""
    settings = load_settings(args.config, os.environ)

    async def act() -> None:
        store = database(settings)
        await store.open(create=False)
        try:
            reminders = Reminders(ReminderTable(store), local_zone(settings.server.timezone))
            actions: dict[str, Callable[[Reminders, argparse.Namespace], Awaitable[None]]] = {
                "list": _list,
                "add": functools.partial(_add, store=store),
                "change": _change,
                "cancel": _cancel,
            }
            await actions[args.action or "list"](reminders, args)
        finally:
            await store.aclose()

    asyncio.run(act())
    return 0


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 45m, 1h30m or 2d")
    days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    found = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not timedelta() < found <= MAX_AHEAD:
        raise argparse.ArgumentTypeError(f"must be from one second to {MAX_AHEAD.days} days")
    return found


def _expiry(text: str) -> int:
    seconds = round(_duration(text).total_seconds())
    if not MIN_EXPIRY_S <= seconds <= MAX_EXPIRY_S:
        raise argparse.ArgumentTypeError("must be from 1m to 30d")
    return seconds


async def _list(reminders: Reminders, args: argparse.Namespace) -> None:
    device_id = parse_device_id(args.device) if args.device is not None else None
    records = await reminders.list(device_id, ended=args.all)
    if args.json:
        for record in records:
            print(json.dumps(_as_json(record)))
        return
    if not records:
        print("nothing is set", file=sys.stderr)
    for record in records:
        words = [record.id, record.device_id, record.kind, _when(record, reminders.zone), record.rule]
        words.append(title(record) if record.kind == "timer" else record.text)
        print("  ".join(word for word in words if word))


async def _add(reminders: Reminders, args: argparse.Namespace, store: Store) -> None:
    device_id = parse_device_id(args.device)
    async with store.read() as session:
        device = await devices.get(session, device_id)
    if device is None or not device.allowed:
        raise MimiError(
            f"there is no device {device_id} that may connect; `mimi-mqtt devices list` shows them"
        )
    at = args.at
    if args.after is not None:
        zone = zone_of(args.timezone or reminders.zone)
        at = (utc_now() + args.after).astimezone(zone).replace(microsecond=0).isoformat()
    record = await reminders.set_reminder(
        device_id, at, args.text, args.rrule, zone=args.timezone, expires_s=args.expires
    )
    print(f"{record.id} is set: {_told(record, reminders.zone)}")


async def _change(reminders: Reminders, args: argparse.Namespace) -> None:
    record = await _of_id(reminders, args.id)
    changed = await reminders.change(
        record, at=args.at, text=args.text, repeat=args.rrule, zone=args.timezone
    )
    print(f"{changed.id} is changed: {_told(changed, reminders.zone)}")


async def _cancel(reminders: Reminders, args: argparse.Namespace) -> None:
    record = await _of_id(reminders, args.id)
    await reminders.cancel(record)
    print(f"{record.id} is cancelled: {title(record)}")


async def _of_id(reminders: Reminders, reminder_id: str) -> ReminderRecord:
    for record in await reminders.list():
        if record.id == reminder_id:
            return record
    raise MimiError(f"there is no reminder {reminder_id[:20]}; `mimi-mqtt reminders list` shows them")


def _told(record: ReminderRecord, zone: str) -> str:
    rule = f", then by {record.rule}" if record.rule else ""
    return f"{record.kind} of {record.device_id} at {_when(record, zone)}{rule}"


def _when(record: ReminderRecord, zone: str) -> str:
    """When it is due, was due and is to be told, or what became of it; local time."""
    zone = record.zone or zone

    def local(moment: datetime) -> str:
        return f"{moment.astimezone(zone_of(zone)):%a %Y-%m-%d %H:%M:%S} {zone}"

    told = [f"due {local(record.pending_at)}, to be told"] if record.pending_at is not None else []
    if record.due_at is not None:
        told.append(local(record.due_at))
    if record.ended_at is not None:
        told.append(f"told {local(record.told_at)}" if record.told_at is not None else "dropped")
    return "; ".join(told)


def _as_json(record: ReminderRecord) -> dict[str, object]:
    def moment(value: datetime | None) -> str | None:
        return None if value is None else value.isoformat()

    return {
        "id": record.id,
        "device": record.device_id,
        "owner": record.owner,
        "kind": record.kind,
        "text": record.text,
        "due_at": moment(record.due_at),
        "time": moment(record.wall),
        "timezone": record.zone,
        "rrule": record.rule,
        "duration_s": record.duration_s,
        "expires_s": record.expires_s,
        "to_be_told_since": moment(record.pending_at),
        "told_at": moment(record.told_at),
        "ended_at": moment(record.ended_at),
        "created_at": moment(record.created_at),
    }
