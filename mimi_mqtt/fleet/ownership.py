"""Owners of devices: transfer to another person, and sharing with a group.

A device that moves from one person to another forgets the first one: its credentials are rotated, which ends
its connections everywhere; what the owner set (name, room, tags, notes, agent, language, the user's name, the
group) is cleared; reminders, notices, pending codes, the last OTA report (network name, IP address), the log
of OTA requests and the sessions' statistics are deleted. Conversations stay, as they are the old owner's:
they are told neither to the new owner nor to the agent, which remembers nothing of before `owned_since`.
"""

from datetime import datetime
from typing import Protocol

from mimi_mqtt.errors import Conflict, Invalid
from mimi_mqtt.fleet.administration import known
from mimi_mqtt.fleet.rights import COMMAND_LINE, Rights
from mimi_mqtt.store import audit, devices
from mimi_mqtt.store import people as people_of
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device


class People(Protocol):
    """The accounts and groups that devices may belong to."""

    async def has_user(self, user_id: str) -> bool:
        """True when there is such an account. Raises StoreError."""

    async def has_group(self, group_id: str) -> bool:
        """True when there is such a group. Raises StoreError."""


class StoredPeople:
    """The accounts and groups in `store`. Implements `People`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def has_user(self, user_id: str) -> bool:
        """See `People`."""
        async with self._store.read() as session:
            return await people_of.user(session, user_id) is not None

    async def has_group(self, group_id: str) -> bool:
        """See `People`."""
        async with self._store.read() as session:
            return await people_of.group(session, group_id) is not None


async def transfer(
    store: Store,
    device_id: str,
    owner_id: str,
    now: datetime,
    people: People,
    rights: Rights = COMMAND_LINE,
) -> Device:
    """Gives a device to the account `owner_id`, "" for nobody. Raises NotADevice, UnknownDevice, Forbidden,
    Invalid, and Conflict for a browser's device: each account makes its own, and who could give them away
    could fill `ota.max_devices` with them."""
    # Told after the rights: whether there is an account is not found out by a device of somebody else.
    is_there = not owner_id or await people.has_user(owner_id)
    async with store.write() as session:
        device = await known(session, device_id, rights)
        rights.require_owner(device)
        if not is_there:
            raise _no_user(owner_id)
        before = device.owner_id
        if before == owner_id:
            return device
        if device.browser:
            raise Conflict("a browser's device stays with its account: delete it in place of giving it away")
        if before:
            await devices.leave_owner(session, device, owner_id, now)
        else:  # what a device did before it was anybody's goes on
            device.owner_id = owner_id
        told = {"owner_id": before}, {"owner_id": owner_id}
        audit.record(
            session, rights.author, "device.transfer", f"device:{device.id}", before=told[0], after=told[1]
        )
        await devices.save_changed(session, device, now)
        return device


async def check_user(people: People, user_id: str) -> None:
    """Raises Invalid when there is no such account; "" stands for nobody."""
    if user_id and not await people.has_user(user_id):
        raise _no_user(user_id)


async def check_group(people: People, group_id: str) -> None:
    """Raises Invalid when there is no such group; "" stands for none."""
    if group_id and not await people.has_group(group_id):
        raise Invalid(f"there is no group {group_id[:64]!r}")


def _no_user(user_id: str) -> Invalid:
    return Invalid(f"there is no user {user_id[:64]!r}")


async def share(
    store: Store,
    device_id: str,
    group_id: str,
    now: datetime,
    people: People,
    rights: Rights = COMMAND_LINE,
) -> Device:
    """Shares a device with a group, "" for none. A person shares with groups that he is in. Raises
    NotADevice, UnknownDevice, Forbidden, Invalid."""
    inside = rights.is_admin or group_id in rights.groups
    is_there = not group_id or (inside and await people.has_group(group_id))
    async with store.write() as session:
        device = await known(session, device_id, rights)
        rights.require_owner(device)
        if not is_there:
            raise Invalid(f"there is no group {group_id[:64]!r} that you are in")
        before = device.group_id
        if before != group_id:
            await devices.share(session, device, group_id)
            audit.record(
                session, rights.author, "device.share", f"device:{device.id}",
                before={"group_id": before}, after={"group_id": group_id},
            )  # fmt: skip
            await devices.save_changed(session, device, now)
        return device
