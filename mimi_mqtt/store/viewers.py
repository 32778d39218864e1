"""The right to see conversations and statistics, as a condition of the query that looks for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, false, or_, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import Device

MAX_SHARED: Final = 5_000
"""Devices that are shared with a person, at most, whose conversations he is shown; both databases take so
many values in a query."""
MAX_OWNERS: Final = 300
"""Owners of such devices, at most: a page of conversations is made of one query for each."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody who asks for conversations: a person with his groups, or an administrator."""

    user_id: str = ""
    groups: frozenset[str] = frozenset()
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks at conversations and statistics.

    He sees what is his, as it began on a device of his; and of the devices that are shared with him what
    began under their present owner. `shared` is owner -> devices.
    """

    user_id: str = ""
    shared: Mapping[str, frozenset[str]] = field(default_factory=dict)
    everything: bool = False

    def sees(self, owner_id: str, device_id: str) -> bool:
        """True when what began on the device, as it was the owner's, exists for him."""
        if self.everything or (self.user_id != "" and owner_id == self.user_id):
            return True
        return device_id in self.shared.get(owner_id, ())

    def scopes(self) -> list[tuple[str, frozenset[str] | None]]:
        """Pairs of owner and devices that he sees, None for all; without `everything`."""
        own: list[tuple[str, frozenset[str] | None]] = [(self.user_id, None)] if self.user_id else []
        return own + [(owner, devices) for owner, devices in self.shared.items() if owner != self.user_id]

    def condition(self, owner_id: ColumnElement[Any], device_id: ColumnElement[Any]) -> ColumnElement[bool]:
        """True for the rows that he sees."""
        if self.everything:
            return true()
        return or_(false(), *(of_scope(scope, owner_id, device_id) for scope in self.scopes()))


EVERYTHING: Final = Viewer(everything=True)
"""An administrator."""


def of_scope(
    scope: tuple[str, frozenset[str] | None], owner_id: ColumnElement[Any], device_id: ColumnElement[Any]
) -> ColumnElement[bool]:
    """True for the rows of one of `Viewer.scopes`."""
    owner, devices = scope
    if devices is None:
        return owner_id == owner
    return and_(owner_id == owner, device_id.in_(sorted(devices)))


async def viewer_of(session: AsyncSession, asker: Asker) -> Viewer:
    """The view of `asker` at present: of devices that his groups share, MAX_SHARED at most, and of those of
    MAX_OWNERS people."""
    if asker.is_admin:
        return EVERYTHING
    shared: dict[str, set[str]] = {}
    groups = sorted(asker.groups - {""})  # the group of a device that is not shared
    if groups:
        query = select(Device.id, Device.owner_id).where(col(Device.group_id).in_(groups))
        for device_id, owner_id in await session.execute(query.order_by(col(Device.id)).limit(MAX_SHARED)):
            if owner_id in shared or len(shared) < MAX_OWNERS:
                shared.setdefault(owner_id, set()).add(device_id)
    return Viewer(asker.user_id, {owner: frozenset(devices) for owner, devices in shared.items()})
