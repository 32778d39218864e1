"""Pages of lists by cursor.

The cursor is the sort key of the last item: a page costs the same wherever it is, and nothing is told twice
when rows come and go.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from mimi_mqtt.errors import Invalid
from mimi_mqtt.store.values import is_storable

MAX_PAGE: Final = 200
"""Most items of one page."""
DEFAULT_PAGE: Final = 50
MAX_CURSOR_CHARS: Final = 512

_MORE_THAN_ANY: Final = 2**63
"""Databases have integers below it."""

Item = TypeVar("Item")
Key = str | int | float

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most items of the page")]
Cursor = Annotated[
    str | None, Query(max_length=MAX_CURSOR_CHARS, description="`next` of the page before this one")
]


class Page(BaseModel, Generic[Item]):
    """One page of a list. `next` is the cursor of the following one, absent on the last."""

    items: list[Item]
    next: str | None = None


def cursor_of(*key: Key) -> str:
    """The cursor behind an item with this sort key."""
    packed = json.dumps(key, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def key_of(cursor: str | None, *kinds: type[Key]) -> tuple[Key, ...] | None:
    """The sort key in a cursor, whose parts are of `kinds`; None without a cursor. Raises Invalid."""
    if cursor is None:
        return None
    try:
        packed = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        key = json.loads(packed)
    except (ValueError, binascii.Error, RecursionError):
        key = None
    fits = isinstance(key, list) and len(key) == len(kinds)
    if not fits or not all(
        type(part) is kind and _is_possible(part) for part, kind in zip(key, kinds, strict=True)
    ):
        raise _not_ours()
    return tuple(key)


def _is_possible(part: Key) -> bool:
    """True for a key that both databases take."""
    return is_storable(part) if isinstance(part, str) else abs(part) < _MORE_THAN_ANY


def moment_in(text: str) -> datetime:
    """The moment in the key of a cursor. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _not_ours()


def _not_ours() -> Invalid:
    return Invalid("cursor: use `next` of the page before, as it is")


def page_of(found: Sequence[Item], limit: int, *last_key: Key) -> Page[Item]:
    """A page of `found`, of which one more than `limit` was read; `last_key` is the sort key of the page's
    last item."""
    more = len(found) > limit
    return Page(items=list(found[:limit]), next=cursor_of(*last_key) if more else None)
