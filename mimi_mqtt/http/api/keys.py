"""API keys: each caller's own, and for administrators everybody's."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field

from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.models import Input, Output
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.scalars import NoNumber
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.people.rules import account_of
from mimi_mqtt.store.tables import ApiKey

router = APIRouter(prefix="/keys", tags=["keys"])

Person = Annotated[Caller, callers(Scope.PROFILE)]


class KeyInput(Input):
    """A key to make, with some of the caller's scopes."""

    name: str = Field(min_length=1, max_length=64)
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    expires_at: Annotated[AwareDatetime | None, NoNumber] = None
    """Absent: it ends when it is revoked."""


class AccessKey(Output):
    """A key, without its secret."""

    id: str
    user_id: str
    name: str
    hint: str
    """The first characters of the secret."""
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    """Last use, to about a minute."""

    @classmethod
    def of(cls, row: ApiKey) -> "AccessKey":
        """The key in a row."""
        return cls(
            id=row.id,
            user_id=row.user_id,
            name=row.name,
            hint=row.hint,
            scopes=row.scopes,
            created_at=row.created_at,
            expires_at=row.expires_at,
            used_at=row.used_at,
        )


class NewAccessKey(AccessKey):
    """A key that was made. `secret` is told now and never again."""

    secret: str


@router.get("")
async def list_keys(
    caller: Person,
    services: Services,
    user_id: Annotated[
        str | None, Query(max_length=32, description="Whose; the caller's own when absent, * for all")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[AccessKey]:
    """The keys of the caller, or, for administrators, of others."""
    whose = account_of(caller) if user_id is None else None if user_id == "*" else user_id
    key = key_of(cursor, str, str)
    after = (str(key[0]), str(key[1])) if key is not None else ("", "")
    found = await services.people.keys.page(caller, whose, limit + 1, after=after)
    last = found[min(limit, len(found)) - 1] if found else None
    items = [AccessKey.of(row) for row in found]
    return page_of(items, limit, *((last.user_id, last.id) if last is not None else ()))


@router.post("", status_code=201)
async def create_key(given: KeyInput, caller: Person, services: Services) -> NewAccessKey:
    """Makes a key for the caller's account. Only for people who signed in, not by a key or a token."""
    made = await services.people.keys.create(
        caller, account_of(caller), given.name, given.scopes, datetime.now(UTC), expires_at=given.expires_at
    )
    return NewAccessKey(**AccessKey.of(made.row).model_dump(), secret=made.secret)


@router.delete("/{key_id}", status_code=204)
async def revoke_key(key_id: str, caller: Person, services: Services) -> None:
    """Ends a key, and the tokens that were made with it."""
    await services.people.keys.revoke(caller, key_id)
