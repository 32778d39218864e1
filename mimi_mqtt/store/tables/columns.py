"""Column types that tables share: serial keys, moments, texts added to a table with rows. Times are UTC."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Integer, String

from mimi_mqtt.store.values import UtcDateTime

# SQLite gives an integer primary key its own rowid only when it is spelled INTEGER.
SERIAL = BigInteger().with_variant(Integer(), "sqlite")


def time_column(*, index: bool = False) -> Column[datetime]:
    """A point in time."""
    return Column(UtcDateTime(), nullable=False, index=index)


def moment_column(*, index: bool = False) -> Column[datetime]:
    """A point in time that there may be none of."""
    return Column(UtcDateTime(), nullable=True, index=index)


def added_text(chars: int) -> Column[str]:
    """A text column that was added to a table with rows."""
    return Column(String(chars), nullable=False, server_default="")
