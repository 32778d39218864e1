"""Requests with an idempotency key, and their results, for a day."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.errors import LimitReached
from mimi_mqtt.store.engine import Store, StoreConflict
from mimi_mqtt.store.tables import IdempotentRequest

KEPT_FOR: Final = timedelta(hours=24)
"""Time for which a result is kept."""
MAX_PER_CALLER: Final = 2_000
"""Results of one caller; a request with a further key is refused."""
MAX_IN_ALL: Final = 100_000
"""Results of all callers."""


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request that came before; `result` is empty while it is carried out, and when the server ended
    meanwhile."""

    digest: str
    result: str


class IdempotencyTable:
    """The table of requests. Every method raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, id_: str, caller: str, digest: str, now: datetime) -> KnownRequest | None:
        """Notes a request that is about to be carried out; None, or the one that came before with the same
        id. Raises LimitReached."""
        try:
            async with self._store.write() as session:
                await session.execute(
                    delete(IdempotentRequest).where(col(IdempotentRequest.created_at) < now - KEPT_FOR)
                )
                if (known := await session.get(IdempotentRequest, id_)) is not None:
                    return KnownRequest(known.digest, known.result)
                await _check_room(session, caller)
                session.add(IdempotentRequest(id=id_, caller=caller, digest=digest, created_at=now))
            return None
        except StoreConflict:  # another node began it in the same moment
            async with self._store.read() as session:
                if (known := await session.get(IdempotentRequest, id_)) is not None:
                    return KnownRequest(known.digest, known.result)
            raise

    async def finish(self, id_: str, result: str) -> None:
        """Keeps the result of a request."""
        async with self._store.write() as session:
            await session.execute(
                update(IdempotentRequest).where(col(IdempotentRequest.id) == id_).values(result=result)
            )

    async def forget(self, id_: str) -> None:
        """Forgets a request: its key may be used again."""
        async with self._store.write() as session:
            await session.execute(delete(IdempotentRequest).where(col(IdempotentRequest.id) == id_))


async def forget_caller(session: AsyncSession, caller: str) -> None:
    """Forgets all requests of a caller, inside another transaction."""
    await session.execute(delete(IdempotentRequest).where(col(IdempotentRequest.caller) == caller))


async def _check_room(session: AsyncSession, caller: str) -> None:
    number = select(func.count()).select_from(IdempotentRequest)
    if (await session.scalar(number.where(IdempotentRequest.caller == caller)) or 0) >= MAX_PER_CALLER:
        raise LimitReached(
            f"{MAX_PER_CALLER} idempotency keys were used within a day, which is the most: send requests "
            "without one, or wait",
            3_600,
        )
    if (await session.scalar(number) or 0) >= MAX_IN_ALL:
        raise LimitReached("the server keeps as many results as it may: send requests without a key", 3_600)
