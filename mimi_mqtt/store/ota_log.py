"""Queries about the log of OTA requests and the devices that were only seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, case, delete, func, insert, or_
from sqlalchemy import select as sa_select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import Activation, Device, OtaExchange, SeenDevice

KEPT = 20
"""Requests kept of each device with credentials, and as many without."""
KEPT_REFUSED = 200
"""Refused requests kept of devices of which nothing else is known, all together."""

_WITH_CREDENTIALS = ("mqtt", "websocket")
_REFUSED = ("refused", "unreadable")


@dataclass(frozen=True, slots=True)
class Viewer:
    """A member, who sees the requests of his own devices and of his groups'."""

    user_id: str
    groups: frozenset[str] = frozenset()


async def add(session: AsyncSession, rows: Sequence[Mapping[str, object]], *, keep: int = KEPT) -> None:
    """Adds requests, and deletes the older ones of their devices: `keep` with credentials stay of each, and
    as many without."""
    await session.execute(insert(OtaExchange), [dict(row) for row in rows])
    ids = {row["device_id"] for row in rows}
    kind = case((col(OtaExchange.answer).in_(_WITH_CREDENTIALS), 1), else_=0)
    place = func.row_number().over(
        partition_by=(col(OtaExchange.device_id), kind), order_by=col(OtaExchange.id).desc()
    )
    ranked = sa_select(col(OtaExchange.id).label("id"), place.label("place"))
    found = ranked.where(col(OtaExchange.device_id).in_(ids)).subquery()
    older = select(found.c.id).where(found.c.place > keep)
    await session.execute(delete(OtaExchange).where(col(OtaExchange.id).in_(older)))


async def of_device(session: AsyncSession, device_id: str, limit: int) -> Sequence[OtaExchange]:
    """The last requests of a device, the newest first."""
    query = select(OtaExchange).where(OtaExchange.device_id == device_id)
    return (await session.scalars(query.order_by(col(OtaExchange.id).desc()).limit(limit))).all()


async def page(
    session: AsyncSession, viewer: Viewer | None, before: int | None, limit: int
) -> Sequence[tuple[OtaExchange, str | None]]:
    """Requests of all devices that `viewer` may see (None: of any), the newest first, older than the one with
    the id `before`; each with the name of its device, None for one that is not registered."""
    query = select(OtaExchange, Device.name).outerjoin(Device, col(Device.id) == OtaExchange.device_id)
    if viewer is not None:
        own = and_(col(Device.owner_id) == viewer.user_id, col(Device.owner_id) != "")
        shared = and_(col(Device.group_id).in_(sorted(viewer.groups)), col(Device.group_id) != "")
        mine = select(Device.id).where(or_(own, shared))
        # What is written behind may come after all of the former owner's was deleted.
        present = or_(col(Device.owned_since).is_(None), col(OtaExchange.at) >= col(Device.owned_since))
        query = query.where(col(OtaExchange.device_id).in_(mine), present)
    if before is not None:
        query = query.where(col(OtaExchange.id) < before)
    found = await session.execute(query.order_by(col(OtaExchange.id).desc()).limit(limit))
    return [(row[0], row[1]) for row in found]


async def prune(session: AsyncSession, before: datetime) -> None:
    """Deletes requests from before that moment, and those of devices of which nothing else is known but for
    the last `KEPT_REFUSED` that were refused."""
    await session.execute(delete(OtaExchange).where(col(OtaExchange.at) < before))
    kept = [
        select(key).where(key == col(OtaExchange.device_id)).exists()
        for key in (col(Device.id), col(Activation.device_id), col(SeenDevice.id))
    ]
    refused = col(OtaExchange.answer).in_(_REFUSED)
    last = select(OtaExchange.id).where(refused).order_by(col(OtaExchange.id).desc()).limit(KEPT_REFUSED)
    stays = col(OtaExchange.id).in_(select(last.subquery().c.id))
    await session.execute(delete(OtaExchange).where(*(~each for each in kept), ~stays))


async def see(
    session: AsyncSession,
    device_id: str,
    at: datetime,
    *,
    serial_number: str,
    board: str,
    firmware_version: str,
    address: str,
    most: int,
    share: int,
) -> None:
    """Records a device that may not come in; of one address `share` are kept, and `most` of all: the one that
    was seen longest ago goes, of the address with the most."""
    row = await session.get(SeenDevice, device_id)
    if row is None:
        await _make_room(session, address, most, share)
        row = SeenDevice(id=device_id, first_seen_at=at, last_seen_at=at)
        session.add(row)
    row.serial_number, row.board, row.firmware_version = serial_number, board, firmware_version
    row.address, row.last_seen_at = address, at
    await session.flush()


async def _make_room(session: AsyncSession, address: str, most: int, share: int) -> None:
    query = select(SeenDevice.address, func.count()).group_by(col(SeenDevice.address))
    counts = {row[0]: row[1] for row in await session.execute(query)}
    if counts.get(address, 0) >= share:
        full = address
    elif sum(counts.values()) >= most:
        full = max(counts, key=lambda holder: counts[holder])
    else:
        return
    oldest = select(SeenDevice.id).where(SeenDevice.address == full)
    oldest = oldest.order_by(col(SeenDevice.last_seen_at), col(SeenDevice.id)).limit(1)
    await session.execute(delete(SeenDevice).where(col(SeenDevice.id).in_(oldest)))


async def seen_page(session: AsyncSession, after: str, limit: int) -> Sequence[SeenDevice]:
    """Devices that were seen and are not registered, by id, behind `after`."""
    registered = select(Device.id).where(col(Device.id) == col(SeenDevice.id)).exists()
    query = select(SeenDevice).where(col(SeenDevice.id) > after, ~registered)
    return (await session.scalars(query.order_by(col(SeenDevice.id)).limit(limit))).all()
