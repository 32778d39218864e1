"""Actions on the owners of devices, and on the list of devices that may register."""

import argparse
from datetime import UTC, datetime

from mimi_mqtt.cli.devices.context import Context
from mimi_mqtt.errors import MimiError
from mimi_mqtt.fleet import administration, listing, ownership
from mimi_mqtt.fleet.ownership import StoredPeople


async def claim(context: Context, args: argparse.Namespace) -> None:
    """Gives the device that shows a code to a user."""
    code = "".join(args.code.split())
    if len(code) != 6 or not code.isdecimal():
        raise MimiError(f"{args.code!r} is not a code of six digits; `devices assign` takes a MAC address")
    owner_id = await context.owner_id(args.owner)
    device = await administration.allow(context.store, code, datetime.now(UTC))
    print(await _give(context, device.id, owner_id, args.owner))
    print("it gets its credentials with its next OTA request")


async def assign(context: Context, args: argparse.Namespace) -> None:
    """Gives a device to a user."""
    print(await give(context, args.device, args.owner))


async def give(context: Context, device_id: str, owner: str) -> str:
    """Gives a device to the user of a name. Returns the line that tells it."""
    return await _give(context, device_id, await context.owner_id(owner), owner)


async def _give(context: Context, device_id: str, owner_id: str, name: str) -> str:
    people = StoredPeople(context.store)
    device = await ownership.transfer(context.store, device_id, owner_id, datetime.now(UTC), people)
    return f"{device.id} belongs to {name if owner_id else 'nobody'}"


async def share(context: Context, device_id: str, group_id: str) -> str:
    """Shares a device with a group. Returns the line that tells it."""
    people = StoredPeople(context.store)
    device = await ownership.share(context.store, device_id, group_id, datetime.now(UTC), people)
    return f"{device.id} is shared with {group_id or 'nobody'}"


async def list_device(context: Context, args: argparse.Namespace) -> None:
    """Lists a device before it comes."""
    owner_id = await context.owner_id(args.owner) if args.owner is not None else ""
    entry = listing.entry(args.identity, datetime.now(UTC), owner_id=owner_id, note=args.note)
    added = await listing.add(context.store, entry)
    print(f"{added.value} may register" + (f", for {args.owner}" if owner_id else ""))


async def unlist_device(context: Context, args: argparse.Namespace) -> None:
    """Takes a device off the list."""
    entry = listing.entry(args.identity, datetime.now(UTC))
    await listing.remove(context.store, entry.kind, entry.value)
    print(f"{entry.value} is not listed any more; if it has registered, it stays so")
