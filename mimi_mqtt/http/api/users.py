"""Accounts of people, for administrators."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, SecretStr

from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.accounts import Account, BrowserSession, GroupName, Identity
from mimi_mqtt.http.api.models import Input, Output
from mimi_mqtt.http.api.paging import DEFAULT_PAGE, Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.problems import Problem
from mimi_mqtt.http.api.scalars import Flag
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.http.web_address import web_origin
from mimi_mqtt.passwords import MAX_BYTES, MIN_CHARS
from mimi_mqtt.people.access import Caller, Role, Scope
from mimi_mqtt.people.links import LINK_LIFETIME
from mimi_mqtt.people.users import NewUser, UserChange
from mimi_mqtt.store.tables import ISSUER_CHARS, SUBJECT_CHARS

router = APIRouter(prefix="/users", tags=["people"])

Administrator = Annotated[Caller, callers(Scope.PEOPLE)]


class UserInput(Input):
    """An account to make. Without a password the person gets a link to set one, or signs in by OpenID
    Connect."""

    name: str = Field(min_length=1, max_length=256)
    role: Role = Role.MEMBER
    password: SecretStr | None = Field(None, min_length=MIN_CHARS, max_length=MAX_BYTES)
    display_name: str = Field("", max_length=64)
    email: str = Field("", max_length=254)
    language: str = Field("", max_length=35)
    zone: str = Field("", max_length=64)


class UserPatch(Input):
    """A change of an account; what is left out stays as it is."""

    name: str | None = Field(None, min_length=1, max_length=256)
    role: Role | None = None
    display_name: str | None = Field(None, max_length=64)
    email: str | None = Field(None, max_length=254)
    language: str | None = Field(None, max_length=35)
    zone: str | None = Field(None, max_length=64)
    disabled: Flag | None = None


class UserDetail(Account):
    """An account with its groups."""

    groups: list[GroupName]


class PasswordInput(Input):
    """A password for somebody else."""

    password: SecretStr = Field(min_length=MIN_CHARS, max_length=MAX_BYTES)


class PasswordLink(Output):
    """A link to set a password. It is told once."""

    token: str
    path: str
    """The path on this server to hand to the person, with the token."""
    url: str
    """The same with the server's address: http.public_url, or the one of this request."""
    expires_at: datetime


class IdentityInput(Input):
    """A person at the OpenID provider of the settings."""

    subject: str = Field(min_length=1, max_length=SUBJECT_CHARS)


@router.get("")
async def list_users(
    caller: Administrator,
    services: Services,
    text: Annotated[str, Query(max_length=64, description="Part of a name or e-mail address")] = "",
    role: Role | None = None,
    disabled: bool | None = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_PAGE,
) -> Page[Account]:
    """The accounts, by name."""
    key = key_of(cursor, str)
    after = str(key[0]) if key is not None else ""
    found = await services.people.users.page(limit + 1, after=after, text=text, role=role, disabled=disabled)
    last = found[min(limit, len(found)) - 1].folded_name if found else ""
    return page_of([Account.of(user) for user in found], limit, last)


@router.post("", status_code=201)
async def create_user(
    given: UserInput, caller: Administrator, response: Response, services: Services
) -> Account:
    """Makes an account. It can do no more than the caller."""
    new = NewUser(
        given.name,
        given.role,
        password=given.password.get_secret_value() if given.password is not None else None,
        display_name=given.display_name,
        email=given.email,
        language=given.language,
        zone=given.zone,
    )
    user = await services.people.users.create(caller, new, datetime.now(UTC))
    etags.tell(response, user.version)
    return Account.of(user)


@router.get("/{user_id}")
async def read_user(
    user_id: str, caller: Administrator, response: Response, services: Services
) -> UserDetail:
    """An account with its groups."""
    user = await services.people.users.get(user_id)
    groups = GroupName.of(await services.people.users.groups_of(user.id))
    etags.tell(response, user.version)
    return UserDetail(**Account.of(user).model_dump(), groups=groups)


@router.patch("/{user_id}")
async def change_user(
    user_id: str,
    given: UserPatch,
    caller: Administrator,
    response: Response,
    services: Services,
    if_match: etags.IfMatch = None,
) -> Account:
    """Changes an account. Another role, or disabling it, ends its sessions and tokens."""
    user = await services.people.users.change(
        caller,
        user_id,
        UserChange(**given.model_dump()),
        datetime.now(UTC),
        if_version=lambda version: etags.check(if_match, version),
    )
    etags.tell(response, user.version)
    return Account.of(user)


@router.delete("/{user_id}", status_code=204)
async def remove_user(user_id: str, caller: Administrator, services: Services) -> None:
    """Deletes a person: the account, and all conversations, recordings, pictures, reminders and statistics
    of his. His devices become nobody's, with other credentials."""
    await services.people.users.remove(caller, user_id, datetime.now(UTC))
    await services.collect_files()


@router.put("/{user_id}/password", status_code=204)
async def set_user_password(
    user_id: str, given: PasswordInput, caller: Administrator, services: Services
) -> None:
    """Sets somebody's password, which ends his sessions and tokens."""
    await services.people.users.set_password(
        caller, user_id, given.password.get_secret_value(), datetime.now(UTC)
    )


@router.post("/{user_id}/link", status_code=201)
async def create_password_link(
    user_id: str, caller: Administrator, request: Request, services: Services
) -> PasswordLink:
    """Makes a one-time link by which the person sets a password."""
    now = datetime.now(UTC)
    token = await services.people.links.for_password(caller, user_id, now)
    path = f"/setup#reset={token}"
    origin = web_origin(request, services.settings.current().http.public_url)
    return PasswordLink(token=token, path=path, url=f"{origin}{path}", expires_at=now + LINK_LIFETIME)


@router.get("/{user_id}/sessions")
async def list_user_sessions(user_id: str, caller: Administrator, services: Services) -> list[BrowserSession]:
    """The browsers that are signed in as the person."""
    user = await services.people.users.get(user_id)
    return BrowserSession.of(await services.people.sessions.list(user.id, datetime.now(UTC)))


@router.delete("/{user_id}/sessions", status_code=204)
async def end_user_sessions(user_id: str, caller: Administrator, services: Services) -> None:
    """Signs the person out everywhere, and ends his tokens; keys stay."""
    user = await services.people.users.get(user_id)
    await services.people.sessions.revoke(caller, user.id)


@router.get("/{user_id}/identities")
async def list_user_identities(user_id: str, caller: Administrator, services: Services) -> list[Identity]:
    """The identities at an OpenID provider that sign the person in."""
    user = await services.people.users.get(user_id)
    return Identity.of(await services.people.openid.identities(user.id))


@router.post("/{user_id}/identities", status_code=204)
async def link_user_identity(
    user_id: str, given: IdentityInput, caller: Administrator, services: Services
) -> None:
    """Lets a person of the OpenID provider sign in to an account."""
    issuer = services.people.oidc.issuer
    if issuer is None:
        raise Problem(409, "no OpenID provider is set: see oidc.issuer in broker.yaml")
    await services.people.openid.link(caller, user_id, issuer, given.subject, datetime.now(UTC))


@router.delete("/{user_id}/identities", status_code=204)
async def unlink_user_identity(
    user_id: str,
    caller: Administrator,
    services: Services,
    issuer: Annotated[str, Query(max_length=ISSUER_CHARS)],
    subject: Annotated[str, Query(max_length=SUBJECT_CHARS)],
) -> None:
    """Takes an identity from an account."""
    await services.people.openid.unlink(caller, user_id, issuer, subject)
