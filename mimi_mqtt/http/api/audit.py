"""The audit: who changed what, when, and from where."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from mimi_mqtt.errors import Invalid
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.models import Output
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.scalars import NoNumber
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.audit import AuditFilter

router = APIRouter(prefix="/audit", tags=["audit"])


class Entry(Output):
    """One change."""

    id: int
    at: datetime
    author: str
    """The name of who made the change, as it was then."""
    user_id: str
    """Empty for the command line, and for what the server did by itself."""
    address: str
    action: str
    target: str
    before: dict[str, Any]
    after: dict[str, Any]


def _utc(moment: datetime | None, name: str) -> datetime | None:
    """The moment in UTC. Raises Invalid for one that there is not."""
    try:
        return moment.astimezone(UTC) if moment is not None else None
    except OverflowError:
        raise Invalid(f"{name}: this moment can't be told in UTC") from None


@router.get("")
async def list_audit(
    caller: Annotated[Caller, callers(Scope.AUDIT)],
    services: Services,
    target: Annotated[
        str, Query(max_length=128, description="A thing such as user:u…, or all of a kind: device:")
    ] = "",
    user_id: Annotated[str, Query(max_length=32, description="Whose changes")] = "",
    action: Annotated[
        str, Query(max_length=48, description="Such as user.create, or all of a kind: user.")
    ] = "",
    since: Annotated[AwareDatetime | None, NoNumber] = None,
    until: Annotated[AwareDatetime | None, NoNumber] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[Entry]:
    """The changes, the newest first."""
    key = key_of(cursor, int)
    wanted = AuditFilter(target, user_id, action, _utc(since, "since"), _utc(until, "until"))
    before = int(key[0]) if key is not None else None
    found = await services.people.audit.page(wanted, limit + 1, before=before)
    items = [
        Entry(
            id=row.id or 0,
            at=row.at,
            author=row.author,
            user_id=row.user_id,
            address=row.address,
            action=row.action,
            target=row.target,
            before=row.before,
            after=row.after,
        )
        for row in found
    ]
    return page_of(items, limit, items[min(limit, len(items)) - 1].id if items else 0)
