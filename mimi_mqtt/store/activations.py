"""Queries about pending activations, inside the fleet's transactions."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import Activation


async def of_asker(session: AsyncSession, device_id: str, client_id: str) -> Activation | None:
    """The asker's own activation, expired or not."""
    query = select(Activation).where(Activation.device_id == device_id, Activation.client_id == client_id)
    return (await session.scalars(query)).one_or_none()


async def of_device(session: AsyncSession, device_id: str) -> Sequence[Activation]:
    """Every activation that asks for the device, the latest asker first."""
    query = select(Activation).where(Activation.device_id == device_id)
    return (await session.scalars(query.order_by(col(Activation.asked_at).desc()))).all()


async def of_code(session: AsyncSession, code: str) -> Activation | None:
    """The activation with this code."""
    return (await session.scalars(select(Activation).where(Activation.code == code))).one_or_none()


async def list_all(session: AsyncSession) -> Sequence[Activation]:
    """Every activation, by device."""
    query = select(Activation).order_by(col(Activation.device_id), col(Activation.id))
    return (await session.scalars(query)).all()


async def counts(session: AsyncSession) -> dict[str, int]:
    """The number of activations by address."""
    query = select(Activation.address, func.count()).group_by(col(Activation.address))
    return {row[0]: row[1] for row in await session.execute(query)}


async def oldest_of(session: AsyncSession, addresses: Sequence[str]) -> Activation | None:
    """The activation from any of `addresses` whose asker has been silent for longest."""
    query = select(Activation).where(col(Activation.address).in_(addresses))
    query = query.order_by(col(Activation.asked_at), col(Activation.id)).limit(1)
    return (await session.scalars(query)).one_or_none()


async def forget_of_address(session: AsyncSession, device_id: str, address: str) -> None:
    """Deletes the activations that ask for the device from `address`."""
    own = (col(Activation.device_id) == device_id, col(Activation.address) == address)
    await session.execute(delete(Activation).where(*own))


async def codes(session: AsyncSession) -> set[str]:
    """The codes in use."""
    return set((await session.scalars(select(Activation.code))).all())


async def forget_expired(session: AsyncSession, now: datetime) -> None:
    """Deletes expired activations."""
    await session.execute(delete(Activation).where(col(Activation.expires_at) <= now))


async def forget_device(session: AsyncSession, device_id: str) -> None:
    """Deletes every activation that asks for the device."""
    await session.execute(delete(Activation).where(col(Activation.device_id) == device_id))


async def forget_askers(session: AsyncSession, askers: Sequence[tuple[str, str]]) -> None:
    """Deletes the activations of pairs of device and Client-Id."""
    asker = tuple_(col(Activation.device_id), col(Activation.client_id))
    await session.execute(delete(Activation).where(asker.in_(askers)))
