"""Actions that let devices in and out, and change their settings and keys."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta

from mimi_mqtt.cli.devices import owners
from mimi_mqtt.cli.devices.context import Context
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.errors import MimiError
from mimi_mqtt.fleet import administration, device_settings
from mimi_mqtt.fleet.device_keys import MAX_IMPORT_BYTES, parse_keys
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.store import managed


async def allow(context: Context, args: argparse.Namespace) -> None:
    """Gives a device its credentials."""
    device = await administration.allow(context.store, args.device, datetime.now(UTC))
    print(f"{device.id} is allowed; it gets its credentials with its next OTA request")


async def revoke(context: Context, args: argparse.Namespace) -> None:
    """Ends a device's credentials."""
    device = await administration.revoke(context.store, args.device, datetime.now(UTC))
    print(f"{device.id} is revoked; `mimi-mqtt devices allow {device.id}` lets it in again")


async def rotate(context: Context, args: argparse.Namespace) -> None:
    """Gives a device other credentials."""
    device = await administration.rotate(context.store, args.device, datetime.now(UTC))
    print(f"{device.id} is disconnected; it gets other credentials with its next OTA request")


async def forget(context: Context, args: argparse.Namespace) -> None:
    """Deletes devices."""
    now = datetime.now(UTC)
    if args.device is not None:
        print(f"{await administration.forget(context.store, args.device, now)} is forgotten")
        return
    before = now - timedelta(days=args.unseen_days)
    forgotten = await administration.forget_unseen(context.store, before, now)
    for device_id in forgotten:
        print(f"{device_id} is forgotten")
    if not forgotten:
        print(f"every device was seen within {args.unseen_days} days", file=sys.stderr)


async def change(context: Context, args: argparse.Namespace) -> None:
    """Changes a device's settings."""
    if args.agent is not None:
        async with context.store.read() as session:
            made = [row.key for row in await managed.list_live(session, "agent")]
        known = list(dict.fromkeys((*context.settings.every_agent, *made)))
        if args.agent not in known:
            raise MimiError(f"there is no agent {args.agent!r}; there are: {', '.join(known)}")
    wanted = DeviceChange(
        transport="" if args.transport == "default" else args.transport,
        name=args.name,
        language=args.language,
        agent="" if args.agent == DEFAULT_AGENT else args.agent,
        user_name=args.user,
        room=args.room,
        tags=tuple(args.tag) if args.tag is not None else None,
        notes=args.notes,
        auto_update=args.auto_update == "on" if args.auto_update is not None else None,
        recordings="" if args.recordings == "default" else args.recordings,
        channel=args.channel,
    )
    if wanted.is_empty and args.owner is None and args.group is None:
        raise MimiError(
            "nothing to set: give --transport, --name, --language, --agent, --user, --owner, --group, "
            "--room, --tag, --notes, --auto-update, --channel or --recordings"
        )
    told: list[str] = []
    if args.owner is not None:
        told.append(await owners.give(context, args.device, args.owner))
    if args.group is not None:
        told.append(await owners.share(context, args.device, args.group))
    if not wanted.is_empty:
        device = await device_settings.change(context.store, args.device, wanted, datetime.now(UTC))
        when = ["the transport from its next boot on"] if args.transport is not None else []
        if any(given is not None for given in (args.name, args.language, args.agent, args.user)):
            when.append("the rest from its next session on" if when else "effective from its next session on")
        told.append("; ".join([f"{device.id} is set", *when]))
    print("\n".join(told))


async def import_keys(context: Context, args: argparse.Namespace) -> None:
    """Registers the keys of chips."""

    def read() -> bytes:
        if str(args.file) == "-":
            return sys.stdin.buffer.read(MAX_IMPORT_BYTES + 1)
        with args.file.open("rb") as file:
            content: bytes = file.read(MAX_IMPORT_BYTES + 1)
            return content

    try:
        content = await asyncio.to_thread(read)
    except OSError as error:
        raise MimiError(f"{args.file} can't be read: {error.strerror}") from error
    told = await context.keys.register(parse_keys(content), datetime.now(UTC))
    print(f"{told.added} keys were added, {told.replaced} replaced; {told.unchanged} were there already")


async def remove_key(context: Context, args: argparse.Namespace) -> None:
    """Deletes the key of a chip."""
    await context.keys.remove(args.serial_number)
    print(f"the key of {args.serial_number} is deleted; a chip with this serial number needs no proof now")
