"""Rows for every declared table, whatever it is: two of each, with values that are easily lost on the way."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Date, Float, Integer, LargeBinary, MetaData, Numeric

from mimi_mqtt.store.values import UtcDateTime

PER_TABLE = 2
_TEXT = "ü\n\"\\ 🌞 'x'; 漢字"


def sample_rows(metadata: MetaData) -> dict[str, list[dict[str, Any]]]:
    """Rows by table. A foreign key refers to the row of the same number."""
    return {
        table.name: [
            {column.name: _value(column, number) for column in table.columns} for number in range(PER_TABLE)
        ]
        for table in metadata.sorted_tables
    }


def _value(column: Column[Any], number: int) -> Any:
    for key in column.foreign_keys:
        return _value(key.column, number)
    unique = column.primary_key or column.unique or _in_unique(column)
    if column.nullable and number == 1 and not unique:
        return None
    kind = column.type
    if isinstance(kind, JSON):
        return {"text": _TEXT + "\0", "numbers": [1, 1.5, -(2**53), None, True], "nested": {"": []}}
    if isinstance(kind, UtcDateTime):
        return datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC) + timedelta(seconds=number)
    if isinstance(kind, Date):
        return date(2026, 2, 28) + timedelta(days=number)
    if isinstance(kind, Boolean):
        return number == 0
    if isinstance(kind, LargeBinary):
        return bytes(range(256)) + bytes([number])
    if isinstance(kind, Float):
        return 0.1 + number
    if isinstance(kind, Numeric):
        return 3 + number
    if isinstance(kind, Integer):
        return number + 1 if unique else 2**31 - 1 - number
    length = getattr(kind, "length", None) or 200
    return (f"{number}{_TEXT}" if not unique else f"{number}-{column.name}")[:length]


def _in_unique(column: Column[Any]) -> bool:
    from sqlalchemy import UniqueConstraint

    assert column.table is not None
    indexes = any(index.unique and column.name in index.columns for index in column.table.indexes)
    return indexes or any(
        isinstance(constraint, UniqueConstraint) and column.name in constraint.columns
        for constraint in column.table.constraints
    )
