"""Bound on the time of a query: beyond it the database gives up, so that it has time for the turns."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import Invalid

_STEPS: Final = 20_000
"""Instructions of SQLite between two looks at the clock: some tenths of a millisecond."""
_POSTGRES_CANCELED: Final = "57014"


@asynccontextmanager
async def within(session: AsyncSession, seconds: float, advice: str) -> AsyncIterator[None]:
    """Ends queries of `session` that run longer than `seconds` in all. Raises Invalid with `advice`."""
    connection = await session.connection()
    sqlite = connection.dialect.name == "sqlite"
    raw = (await connection.get_raw_connection()).driver_connection
    until = time.monotonic() + seconds
    if sqlite:
        assert raw is not None  # noqa: S101 - the connection is open
        await raw.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    else:
        await session.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))
    try:
        yield
    except DBAPIError as error:
        ended = "interrupted" in str(error.orig) if sqlite else _is_canceled(error)
        if not ended:
            raise
        raise Invalid(f"that takes longer than {seconds:g} s: {advice}") from None
    finally:
        if sqlite and raw is not None:
            await raw.set_progress_handler(None, 0)


def _is_canceled(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", "") == _POSTGRES_CANCELED
