"""Statistics: sums of each day, written with the turns that they count, and kept longer. They hold no speech.

Each turn is counted in the row of its device and in that of all devices (an empty device id), and each
provider that it used in rows of their own (a `role` that is not empty).
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Date, Float, Index, Integer, String, Table
from sqlmodel import SQLModel

from mimi_mqtt.store.histogram import BUCKETS
from mimi_mqtt.store.tables.bounds import DEVICE_ID_CHARS, USER_ID_CHARS

KEY_CHARS: Final = 32
PROVIDER_CHARS: Final = 64

SUMS: Final = ("turns", "failed", "input_tokens", "output_tokens", "input_audio_tokens",
               "output_audio_tokens", "characters")  # fmt: skip
"""Columns of `daily_statistics` that are whole numbers."""
AMOUNTS: Final = ("heard_s", "spoken_s", "audio_s", "cost")
"""Columns of `daily_statistics` that are not."""
LATENCIES: Final = tuple(f"ms_{bucket:02}" for bucket in range(BUCKETS))
"""Columns of a histogram of `store.histogram`: of a turn the time to its first sound, of a provider the time
that it took."""


def _key() -> list[Column[Any]]:
    # In this order each question is about one part of the table; SQLite keeps it in the order of its key.
    texts = {"owner_id": USER_ID_CHARS, "agent": KEY_CHARS, "provider": PROVIDER_CHARS}
    return [
        Column("role", String(KEY_CHARS), primary_key=True),
        Column("device_id", String(DEVICE_ID_CHARS), primary_key=True),
        Column("day", Date(), primary_key=True),
        *(Column(name, String(chars), primary_key=True) for name, chars in texts.items()),
    ]


daily_statistics: Final = Table(
    "daily_statistics",
    SQLModel.metadata,
    *_key(),
    *(Column(name, BigInteger(), nullable=False) for name in SUMS),
    *(Column(name, Float(), nullable=False) for name in AMOUNTS),
    *(Column(name, Integer(), nullable=False) for name in LATENCIES),
    Index("ix_daily_statistics_owner", "owner_id", "day"),
    Index("ix_daily_statistics_day", "day"),
    sqlite_with_rowid=False,
)
daily_errors: Final = Table(
    "daily_errors",
    SQLModel.metadata,
    *_key(),
    Column("kind", String(KEY_CHARS), primary_key=True),
    Column("errors", BigInteger(), nullable=False),
    Index("ix_daily_errors_owner", "owner_id", "day"),
    Index("ix_daily_errors_day", "day"),
    sqlite_with_rowid=False,
)
