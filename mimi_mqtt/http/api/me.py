"""The caller's own account: who he is, his password, sessions and identities."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, JsonValue, SecretStr

from mimi_mqtt.http import session_cookie
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.accounts import Account, BrowserSession, GroupName, Identity
from mimi_mqtt.http.api.models import Input, Output
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.passwords import MAX_BYTES, MIN_CHARS
from mimi_mqtt.people.access import SCOPES_OF, Caller, Role, Scope, Via
from mimi_mqtt.people.rules import account_of
from mimi_mqtt.people.users import UserChange
from mimi_mqtt.store.tables import (
    ACCOUNT_LANGUAGE_CHARS,
    ACCOUNT_ZONE_CHARS,
    DISPLAY_NAME_CHARS,
    EMAIL_CHARS,
    ISSUER_CHARS,
    SUBJECT_CHARS,
    User,
)

router = APIRouter(prefix="/me", tags=["me"])

Myself = Annotated[Caller, callers(Scope.PROFILE)]


class Me(Output):
    """The caller: what he is and may do."""

    id: str
    """Empty for the command line, which is nobody's account."""
    name: str
    role: Role
    via: Via
    """The way by which he proved who he is."""
    scopes: list[Scope]
    groups: list[GroupName]
    account: Account | None
    profile: dict[str, JsonValue]
    """Settings that the person's programs share, such as a theme: whatever they put there."""


class MyChange(Input):
    """A change of one's own account; what is left out stays. `profile` is a merge patch (RFC 7396): null
    takes a setting away."""

    display_name: str | None = Field(None, max_length=DISPLAY_NAME_CHARS)
    email: str | None = Field(None, max_length=EMAIL_CHARS)
    language: str | None = Field(None, max_length=ACCOUNT_LANGUAGE_CHARS)
    zone: str | None = Field(None, max_length=ACCOUNT_ZONE_CHARS)
    profile: dict[str, JsonValue] | None = None


class PasswordChange(Input):
    """The present password and a new one."""

    present: SecretStr = Field(max_length=MAX_BYTES)
    password: SecretStr = Field(min_length=MIN_CHARS, max_length=MAX_BYTES)


@router.get("")
async def read_me(caller: Myself, response: Response, services: Services) -> Me:
    """The caller's account, groups, scopes and profile."""
    user = await services.people.users.get(caller.user_id) if caller.user_id else None
    return await _told(caller, user, response, services)


@router.patch("")
async def change_me(
    given: MyChange,
    caller: Myself,
    response: Response,
    services: Services,
    if_match: etags.IfMatch = None,
) -> Me:
    """Changes the caller's own account and profile; with If-Match only the version that it names."""
    wanted = UserChange(
        display_name=given.display_name, email=given.email, language=given.language, zone=given.zone
    )
    account_of(caller)
    user = await services.people.users.change_own(
        caller, wanted, given.profile, datetime.now(UTC),
        if_version=lambda version: etags.check(if_match, version),
    )  # fmt: skip
    return await _told(caller, user, response, services)


async def _told(caller: Caller, user: User | None, response: Response, services: Services) -> Me:
    scopes = sorted(caller.scopes & SCOPES_OF[caller.role])
    told = Me(
        id=caller.user_id, name=caller.name, role=caller.role, via=caller.via, scopes=scopes, groups=[],
        account=None, profile={},
    )  # fmt: skip
    if user is not None:
        told.groups = GroupName.of(await services.people.users.groups_of(user.id))
        told.account = Account.of(user)
        told.profile = user.profile
        etags.tell(response, user.version)
    return told


@router.put("/password", status_code=204)
async def change_my_password(
    given: PasswordChange, caller: Myself, request: Request, response: Response, services: Services
) -> None:
    """Changes the caller's password. All his sessions and tokens end, but this browser gets a new session."""
    people, now = services.people, datetime.now(UTC)
    user = await people.sign_in.change_password(
        caller, given.present.get_secret_value(), given.password.get_secret_value(), now
    )
    if caller.via is Via.SESSION:
        session = await people.sessions.begin(user, session_cookie.browser_of(request), now)
        session_cookie.give(response, request, session)


@router.get("/sessions")
async def list_my_sessions(caller: Myself, request: Request, services: Services) -> list[BrowserSession]:
    """The browsers that are signed in as the caller."""
    rows = await services.people.sessions.list(account_of(caller), datetime.now(UTC))
    return BrowserSession.of(rows, session_cookie.browser_of(request).cookie)


@router.delete("/sessions", status_code=204)
async def end_my_sessions(caller: Myself, services: Services) -> None:
    """Signs the caller out everywhere, here too, and ends his tokens; keys stay."""
    await services.people.sessions.revoke(caller, account_of(caller))


@router.delete("/sessions/{session_id}", status_code=204)
async def end_my_session(session_id: str, caller: Myself, services: Services) -> None:
    """Signs one of the caller's browsers out."""
    await services.people.sessions.revoke(caller, account_of(caller), session_id[:64])


@router.get("/identities")
async def list_my_identities(caller: Myself, services: Services) -> list[Identity]:
    """The identities at an OpenID provider that sign the caller in. POST /login/oidc links one."""
    return Identity.of(await services.people.openid.identities(account_of(caller)))


@router.delete("/identities", status_code=204)
async def unlink_my_identity(
    caller: Myself,
    services: Services,
    issuer: Annotated[str, Query(max_length=ISSUER_CHARS)],
    subject: Annotated[str, Query(max_length=SUBJECT_CHARS)],
) -> None:
    """Takes an identity from the caller's account."""
    await services.people.openid.unlink(caller, account_of(caller), issuer, subject)
