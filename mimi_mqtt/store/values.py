"""Values as SQLite and PostgreSQL both keep them: times in UTC, bounded text, JSON without NaN."""

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: aware in Python, UTC in the database (SQLite keeps it without a zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turns an aware time into UTC; a naive one is a programming error (ValueError)."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times in the store are aware: datetime.now(UTC), not datetime.now()")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Gives the time back in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def folded(text: str) -> str:
    """The text without differences of case and of the ways to write a letter, alike on every database: their
    own lower() knows ASCII alone on SQLite, and none folds as Python does."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def bounded(text: str, limit: int) -> str:
    """`text` cut to `limit` characters, without U+0000 and lone surrogates, which PostgreSQL refuses."""
    text = text.replace("\0", "")[:limit]
    return text.encode("utf-8", "replace").decode("utf-8")


def is_storable(*texts: str) -> bool:
    """True when both databases take the texts: PostgreSQL refuses U+0000, and neither has lone surrogates.
    What is looked for and is not storable is not there."""
    return not any("\0" in text or any("\ud800" <= each <= "\udfff" for each in text) for text in texts)


def bounded_object(value: Mapping[str, object], max_chars: int) -> dict[str, object]:
    """`value` as plain JSON of at most `max_chars`; an empty object when it is larger or is not JSON."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return {}
    if len(text) > max_chars:
        return {}
    plain = json.loads(text)
    if "\\u0000" in text or "\\ud" in text:
        plain = _storable(plain)
    return plain if isinstance(plain, dict) else {}


def holds_storable(value: object) -> bool:
    """True when both databases take all texts in a JSON value, which is of bounded depth."""
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, Mapping):
        return all(is_storable(str(name)) and holds_storable(each) for name, each in value.items())
    return all(map(holds_storable, value)) if isinstance(value, list) else True


def _storable(value: object) -> object:
    """A JSON value without U+0000 and lone surrogates."""
    if isinstance(value, str):
        return bounded(value, len(value))
    if isinstance(value, dict):
        return {bounded(name, len(name)): _storable(each) for name, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list) else value


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """The finite ones of `values`, to a tenth: JSON has no NaN."""
    return {str(name): round(float(value), 1) for name, value in values.items() if math.isfinite(value)}
