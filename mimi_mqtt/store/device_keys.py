"""Queries about the keys of chips and the list of devices that may register, inside the fleet's
transactions."""

from collections.abc import Sequence

from sqlalchemy import delete, func, or_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import DeviceKey, ListedDevice

_AT_ONCE = 500


async def get(session: AsyncSession, serial_number: str) -> DeviceKey | None:
    """The key of a serial number."""
    return await session.get(DeviceKey, serial_number)


async def concerns(session: AsyncSession, device_id: str, *serial_numbers: str) -> bool:
    """True when there is a key of one of the serial numbers ("" for none), or one bound to the device."""
    is_of = or_(
        col(DeviceKey.device_id) == device_id,
        col(DeviceKey.serial_number).in_([serial for serial in serial_numbers if serial]),
    )
    return (await session.scalars(select(DeviceKey.serial_number).where(is_of).limit(1))).first() is not None


async def of_serials(session: AsyncSession, serial_numbers: Sequence[str]) -> dict[str, DeviceKey]:
    """Those that are registered, by serial number."""
    found: dict[str, DeviceKey] = {}
    for start in range(0, len(serial_numbers), _AT_ONCE):
        some = serial_numbers[start : start + _AT_ONCE]
        query = select(DeviceKey).where(col(DeviceKey.serial_number).in_(some))
        found |= {key.serial_number: key for key in await session.scalars(query)}
    return found


async def page(session: AsyncSession, after: str, limit: int) -> Sequence[DeviceKey]:
    """Keys by serial number, those behind `after`."""
    query = select(DeviceKey).where(col(DeviceKey.serial_number) > after)
    return (await session.scalars(query.order_by(col(DeviceKey.serial_number)).limit(limit))).all()


async def count(session: AsyncSession) -> int:
    """The number of keys."""
    return (await session.scalars(select(func.count()).select_from(DeviceKey))).one()


async def sealed_otherwise(session: AsyncSession, secret_id: str, limit: int) -> Sequence[DeviceKey]:
    """Keys that are sealed with another secret than `secret_id`."""
    query = select(DeviceKey).where(col(DeviceKey.secret_id) != secret_id)
    return (await session.scalars(query.order_by(col(DeviceKey.serial_number)).limit(limit))).all()


async def listed(session: AsyncSession, device_id: str, serial_number: str) -> ListedDevice | None:
    """The entry of the list for a device, by its MAC address or else its serial number."""
    found = await session.get(ListedDevice, ("mac", device_id))
    if found is None and serial_number:
        found = await session.get(ListedDevice, ("serial", serial_number))
    return found


async def list_page(session: AsyncSession, after: tuple[str, str], limit: int) -> Sequence[ListedDevice]:
    """The list by kind and value, behind `after`."""
    kind, value = col(ListedDevice.kind), col(ListedDevice.value)
    query = select(ListedDevice).where(or_(kind > after[0], (kind == after[0]) & (value > after[1])))
    return (await session.scalars(query.order_by(kind, value).limit(limit))).all()


async def list_size(session: AsyncSession) -> int:
    """The number of listed devices."""
    return (await session.scalars(select(func.count()).select_from(ListedDevice))).one()


async def remove_from_list(session: AsyncSession, kind: str, value: str) -> bool:
    """Takes an entry off the list; False when there is none."""
    entry = await session.get(ListedDevice, (kind, value))
    if entry is None:
        return False
    await session.execute(
        delete(ListedDevice).where(col(ListedDevice.kind) == kind, col(ListedDevice.value) == value)
    )
    return True


async def list_without_group(session: AsyncSession, group_id: str) -> None:
    """Shares the listed devices of a group with none."""
    of_group = update(ListedDevice).where(col(ListedDevice.group_id) == group_id)
    await session.execute(of_group.values(group_id=""))
