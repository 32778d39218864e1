"""Groups (households): administrators see and change all, members see their own."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.models import Input, Output
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.people import PersonInGroup
from mimi_mqtt.store.tables import UserGroup

router = APIRouter(prefix="/groups", tags=["people"])

Administrator = Annotated[Caller, callers(Scope.PEOPLE)]
Person = Annotated[Caller, callers(Scope.PROFILE)]


class GroupInput(Input):
    """A group by its name."""

    name: str = Field(min_length=1, max_length=64)


class Member(Output):
    """A person in a group."""

    id: str
    name: str
    display_name: str


class Group(Output):
    """A group, and the people in it."""

    id: str
    name: str
    members: list[Member]
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, group: UserGroup, members: Sequence[PersonInGroup]) -> "Group":
        """The group in rows."""
        return cls(
            id=group.id,
            name=group.name,
            members=[Member(id=each.id, name=each.name, display_name=each.display_name) for each in members],
            version=group.version,
            created_at=group.created_at,
            updated_at=group.updated_at,
        )


@router.get("")
async def list_groups(
    caller: Person, services: Services, cursor: Cursor = None, limit: Limit = DEFAULT_PAGE
) -> Page[Group]:
    """The groups that the caller sees, by name."""
    key = key_of(cursor, str, str)
    after = (str(key[0]), str(key[1])) if key is not None else None
    found = await services.people.groups.page(caller, limit + 1, after=after)
    members = await services.people.groups.members(found)
    last = found[min(limit, len(found)) - 1] if found else None
    items = [Group.of(group, members[group.id]) for group in found]
    return page_of(items, limit, *((last.name, last.id) if last is not None else ()))


@router.post("", status_code=201)
async def create_group(
    given: GroupInput, caller: Administrator, response: Response, services: Services
) -> Group:
    """Makes a group without members."""
    group = await services.people.groups.create(caller, given.name, datetime.now(UTC))
    etags.tell(response, group.version)
    return Group.of(group, ())


@router.get("/{group_id}")
async def read_group(group_id: str, caller: Person, response: Response, services: Services) -> Group:
    """A group, and the people in it."""
    group = await services.people.groups.get(caller, group_id)
    etags.tell(response, group.version)
    return Group.of(group, (await services.people.groups.members([group]))[group.id])


@router.patch("/{group_id}")
async def rename_group(
    group_id: str,
    given: GroupInput,
    caller: Administrator,
    response: Response,
    services: Services,
    if_match: etags.IfMatch = None,
) -> Group:
    """Gives a group another name."""
    groups = services.people.groups
    group = await groups.rename(
        caller, group_id, given.name, datetime.now(UTC),
        if_version=lambda version: etags.check(if_match, version),
    )  # fmt: skip
    etags.tell(response, group.version)
    return Group.of(group, (await groups.members([group]))[group.id])


@router.delete("/{group_id}", status_code=204)
async def remove_group(group_id: str, caller: Administrator, services: Services) -> None:
    """Removes a group; its devices are shared with nobody then."""
    await services.people.groups.remove(caller, group_id, datetime.now(UTC))


@router.put("/{group_id}/members/{user_id}", status_code=204)
async def add_group_member(group_id: str, user_id: str, caller: Administrator, services: Services) -> None:
    """Puts a person into a group."""
    await services.people.groups.add_member(caller, group_id, user_id)


@router.delete("/{group_id}/members/{user_id}", status_code=204)
async def remove_group_member(group_id: str, user_id: str, caller: Person, services: Services) -> None:
    """Takes a person out of a group; members can take themselves out."""
    await services.people.groups.remove_member(caller, group_id, user_id)
