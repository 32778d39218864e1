"""Groups (households) and the people in them, who see the devices that are shared with the group."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from mimi_mqtt.errors import LimitReached, NotFound
from mimi_mqtt.people import rules
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.people.random_tokens import new_id
from mimi_mqtt.people.users import VersionCheck
from mimi_mqtt.store import audit, device_keys, devices, people
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.people import PersonInGroup
from mimi_mqtt.store.tables import GroupMember, UserGroup

MAX_GROUPS: Final = 1_000
"""Groups on one server."""
MAX_MEMBERS: Final = 200
"""People in one group."""


class Groups:
    """The groups in the database. A caller without the scope `people` sees those that he is in, and can leave
    them. `changed` is called after each change that rights depend on."""

    def __init__(self, store: Store, changed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._changed = changed

    async def page(
        self, caller: Caller, number: int, *, after: tuple[str, str] | None = None
    ) -> Sequence[UserGroup]:
        """Groups by name and id, beginning behind `after`."""
        own = None if caller.may(Scope.PEOPLE) else caller.user_id
        async with self._store.read() as session:
            return await people.groups(session, number, after=after, of_user=own)

    async def get(self, caller: Caller, group_id: str) -> UserGroup:
        """The group. Raises NotFound."""
        async with self._store.read() as session:
            return self._seen(caller, await people.group(session, group_id))

    async def members(self, groups: Sequence[UserGroup]) -> Mapping[str, Sequence[PersonInGroup]]:
        """The people in each of the groups, by name."""
        async with self._store.read() as session:
            return await people.members(session, [group.id for group in groups])

    async def create(self, caller: Caller, name: str, now: datetime) -> UserGroup:
        """Makes a group. Raises Invalid, LimitReached."""
        name = rules.shown_name(name, "name", needed=True)
        async with self._store.write() as session:
            if await people.count_groups(session) >= MAX_GROUPS:
                raise LimitReached(f"there are {MAX_GROUPS} groups, which is the most: remove one")
            group = UserGroup(id=new_id("g"), name=name, created_at=now, updated_at=now)
            session.add(group)
            audit.record(session, caller.author, "group.create", f"group:{group.id}", after={"name": name})
        return group

    async def rename(
        self,
        caller: Caller,
        group_id: str,
        name: str,
        now: datetime,
        *,
        if_version: VersionCheck = lambda _: None,
    ) -> UserGroup:
        """Gives a group another name. Raises Invalid, NotFound, and what `if_version` raises."""
        name = rules.shown_name(name, "name", needed=True)
        async with self._store.write() as session:
            group = self._seen(caller, await people.group(session, group_id, lock=True))
            if_version(group.version)
            if group.name != name:
                before, group.name = group.name, name
                group.version += 1
                group.updated_at = now
                session.add(group)
                audit.record(
                    session, caller.author, "group.change", f"group:{group.id}",
                    before={"name": before}, after={"name": name},
                )  # fmt: skip
        return group

    async def remove(self, caller: Caller, group_id: str, now: datetime) -> None:
        """Deletes a group; its devices, and those that were listed for it, are shared with nobody then.
        Raises NotFound."""
        async with self._store.write() as session:
            group = self._seen(caller, await people.group(session, group_id, lock=True))
            for device in await devices.of_group(session, group.id):
                await devices.share(session, device, "")
                audit.record(
                    session, caller.author, "device.share", f"device:{device.id}",
                    before={"group_id": group.id}, after={"group_id": ""},
                )  # fmt: skip
                await devices.save_changed(session, device, now)
            await device_keys.list_without_group(session, group.id)
            await session.delete(group)
            audit.record(
                session, caller.author, "group.remove", f"group:{group.id}", before={"name": group.name}
            )
        self._changed()

    async def add_member(self, caller: Caller, group_id: str, user_id: str) -> None:
        """Puts a person into a group, who may be there already. Raises LimitReached, NotFound."""
        async with self._store.write() as session:
            group = self._seen(caller, await people.group(session, group_id, lock=True))
            user = await people.user(session, user_id)
            if user is None:
                raise rules.no_such_user()
            there = (await people.members(session, [group.id]))[group.id]
            if any(member.id == user_id for member in there):
                return
            if len(there) >= MAX_MEMBERS:
                raise LimitReached(f"the group has {MAX_MEMBERS} members, which is the most")
            session.add(GroupMember(group_id=group.id, user_id=user_id))
            audit.record(session, caller.author, "group.add", f"group:{group.id}", after={"member": user_id})
        self._changed()

    async def remove_member(self, caller: Caller, group_id: str, user_id: str) -> None:
        """Takes a person out of a group. Raises NotFound."""
        async with self._store.write() as session:
            group = self._seen(caller, await people.group(session, group_id, lock=True))
            member = await people.member(session, group.id, user_id)
            if member is None or not (caller.may(Scope.PEOPLE) or user_id == caller.user_id):
                raise NotFound("there is no such member in the group")
            await session.delete(member)
            audit.record(
                session, caller.author, "group.leave", f"group:{group.id}", before={"member": user_id}
            )
        self._changed()

    @staticmethod
    def _seen(caller: Caller, group: UserGroup | None) -> UserGroup:
        if group is None or not (caller.may(Scope.PEOPLE) or group.id in caller.groups):
            raise NotFound("there is no such group")
        return group
