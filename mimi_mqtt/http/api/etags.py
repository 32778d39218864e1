"""Versions of resources: the ETag of an answer, and If-Match of a change (RFC 9110, section 13.1.1)."""

from typing import Annotated

from fastapi import Header, Response

from mimi_mqtt.errors import MimiError
from mimi_mqtt.http.api.problems import Problem

IfMatch = Annotated[
    str | None,
    Header(max_length=512, description="ETag of the version to change; 412 when there is a newer one"),
]

_CHANGED = "it was changed meanwhile: read it again, and make the change to that version"


def etag(version: int | str) -> str:
    """The strong ETag of a version."""
    return f'"{version}"'


def tell(response: Response, version: int | str) -> None:
    """Puts the version's ETag on an answer."""
    response.headers["ETag"] = etag(version)


def names_versions(if_match: str | None) -> bool:
    """True when a change is only to be made to a version that If-Match names."""
    return if_match is not None and if_match.strip() != "*"


def check(if_match: str | None, version: int | str) -> None:
    """Raises Problem 412 when If-Match names only other versions than the present one. A change without
    If-Match is made in any case."""
    if if_match is None or not names_versions(if_match):
        return
    named = {each.strip() for each in if_match.split(",")}
    if etag(version) not in named:
        raise Problem(412, _CHANGED, headers={"ETag": etag(version)})


def stale(if_match: str | None, error: MimiError) -> MimiError | Problem:
    """The answer to a late change: Problem 412 when If-Match named the version, else `error`."""
    return Problem(412, _CHANGED) if names_versions(if_match) else error
