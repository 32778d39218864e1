"""Models that the routes of managed resources share, and the routes of a resource's history."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.etags import IfMatch
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.managed.kinds import Kind
from mimi_mqtt.managed.resources import Expectation, Resource, Version
from mimi_mqtt.people.access import Caller, Scope

MAX_KEY_CHARS: Final = 96

Key = Annotated[str, InPath(min_length=1, max_length=MAX_KEY_CHARS)]
Number = Annotated[int, Query(ge=1, le=2**31 - 1)]


class VersionOut(BaseModel):
    """One version of a resource, with its whole content but for secrets."""

    version: int
    at: datetime
    author: str = Field(description="The name of who made it")
    action: str = Field(description="create, change, delete, restore or import")
    content: dict[str, Any]
    secrets_changed: list[str] = Field(description="Secrets that were set or removed with it")

    @classmethod
    def of(cls, version: Version) -> "VersionOut":
        """The model of a version."""
        return cls(
            version=version.number,
            at=version.at,
            author=version.author,
            action=version.action,
            content=dict(version.content),
            secrets_changed=list(version.secrets_changed),
        )


class Versions(BaseModel):
    """The history of a resource, the newest version first."""

    items: list[VersionOut]


class FieldDifference(BaseModel):
    """One field in which two versions differ; null where it was not set."""

    field: str
    before: Any
    after: Any
    unified: str = Field(description="Lines of a unified diff")


class Difference(BaseModel):
    """The fields in which two versions differ."""

    items: list[FieldDifference]


class Restore(BaseModel):
    """The version to make the present one."""

    version: int = Field(ge=1, le=2**31 - 1)


class Restored(BaseModel):
    """The new version that has the content of the earlier one."""

    version: int
    content: dict[str, Any]


def expecting(if_match: str | None) -> Expectation | None:
    """The check of If-Match, made in the transaction of the change."""
    return None if if_match is None else lambda version: etags.check(if_match, version)


def tell(response: Response, resource: Resource) -> None:
    """Puts the resource's ETag on an answer."""
    etags.tell(response, resource.version)


def add_history(router: APIRouter, kind: Kind, read: Scope, write: Scope) -> None:
    """Adds the routes of the history to a kind's router, below `/{key}`."""

    @router.get("/{key}/versions", name=f"list_{kind}_versions")
    async def versions(key: Key, services: Services, caller: Annotated[Caller, callers(read)]) -> Versions:
        """The versions that are kept, the newest first; of a deleted one for a time, too."""
        del caller
        found = await services.managed.resources.versions(kind, key)
        return Versions(items=[VersionOut.of(each) for each in found])

    @router.get("/{key}/versions/{number}", name=f"read_{kind}_version")
    async def version(
        key: Key,
        number: Annotated[int, InPath(ge=1, le=2**31 - 1)],
        services: Services,
        caller: Annotated[Caller, callers(read)],
    ) -> VersionOut:
        """One version."""
        del caller
        return VersionOut.of(await services.managed.resources.version(kind, key, number))

    @router.get("/{key}/diff", name=f"compare_{kind}_versions")
    async def diff(
        key: Key,
        before: Number,
        after: Number,
        services: Services,
        caller: Annotated[Caller, callers(read)],
    ) -> Difference:
        """The fields in which two versions differ, each with a unified diff."""
        del caller
        found = await services.managed.resources.diff(kind, key, before, after)
        return Difference(
            items=[
                FieldDifference(field=each.field, before=each.before, after=each.after, unified=each.unified)
                for each in found
            ]
        )

    @router.post("/{key}/restore", name=f"restore_{kind}")
    async def restore(
        key: Key,
        body: Restore,
        response: Response,
        services: Services,
        caller: Annotated[Caller, callers(write)],
        if_match: IfMatch = None,
    ) -> Restored:
        """Makes the content of an earlier version the present one, as a new version; secrets stay as they
        are, unless it has another address."""
        resources = services.managed.resources
        found = await resources.restore(kind, key, body.version, caller.author, expecting(if_match))
        await services.managed.watched.settled()
        tell(response, found)
        return Restored(version=found.version, content=dict(found.content))
