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


async def pending_codes(session: AsyncSession, now: datetime) -> Sequence[tuple[int, str]]:
    """The codes that have not expired, each with its activation's id."""
    query = select(Activation.id, Activation.code).where(col(Activation.expires_at) > now)
    return [(row[0], row[1]) for row in await session.execute(query)]


async def locked(session: AsyncSession, activation_id: int) -> Activation | None:
    """The activation with this id; other writers are kept off it until the transaction ends."""
    query = select(Activation).where(Activation.id == activation_id).with_for_update()
    return (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()


async def list_all(session: AsyncSession) -> Sequence[Activation]:
    """Every activation, by device."""
    query = select(Activation).order_by(col(Activation.device_id), col(Activation.id))
    return (await session.scalars(query)).all()


async def count_waiting(session: AsyncSession, now: datetime) -> int:
    """The number of activations that are not over."""
    query = select(func.count()).select_from(Activation).where(col(Activation.expires_at) > now)
    return (await session.scalars(query)).one()


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


async def forget_askers(session: AsyncSession, askers: Sequence[tuple[str, str]], before: datetime) -> None:
    """Deletes the activations of pairs of device and Client-Id that were begun before a moment."""
    asker = tuple_(col(Activation.device_id), col(Activation.client_id))
    older = col(Activation.created_at) < before
    await session.execute(delete(Activation).where(asker.in_(askers), older))
