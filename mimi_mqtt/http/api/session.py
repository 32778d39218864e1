"""Signing in and out with a browser's cookie."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from pydantic import Field, SecretStr

from mimi_mqtt.http import session_cookie
from mimi_mqtt.http.api.access import anyone
from mimi_mqtt.http.api.accounts import Account
from mimi_mqtt.http.api.models import Input, Output
from mimi_mqtt.http.api.problems import Problem
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.passwords import MAX_BYTES
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.store.tables import User

router = APIRouter(prefix="/session", tags=["session"])


class PasswordSignIn(Input):
    """A user name and its password."""

    user_name: str = Field(min_length=1, max_length=256)
    password: SecretStr = Field(min_length=1, max_length=MAX_BYTES)


class OpenIdWay(Output):
    """Signing in by OpenID Connect: a browser is sent to `path`."""

    label: str
    path: str


class Ways(Output):
    """The ways to sign in."""

    setup: bool
    """true: there is no administrator yet, and the link that the server printed makes the first one."""
    openid: OpenIdWay | None


async def signed_in(people: Accounts, given: PasswordSignIn, request: Request) -> User:
    """The person with this name and password. Raises Problem 401, LoginRefused."""
    holder = session_cookie.holder_of(request)
    user = await people.sign_in.check(given.user_name, given.password.get_secret_value(), holder)
    if user is None:
        raise Problem(401, "wrong user name or password", headers={"WWW-Authenticate": "Bearer"})
    return user


@router.get("/ways")
@anyone
async def read_sign_in_ways(services: Services) -> Ways:
    """The ways to sign in, for the page that offers them."""
    people = services.people
    way = OpenIdWay(label=people.oidc.label, path="/login/oidc") if people.oidc.issuer else None
    return Ways(setup=await people.links.is_needed(), openid=way)


@router.post("", status_code=201)
@anyone
async def sign_in(given: PasswordSignIn, request: Request, response: Response, services: Services) -> Account:
    """Signs in with a password: the answer sets the cookie `mimi_session`. 429 after too many wrong ones."""
    user = await signed_in(services.people, given, request)
    browser = session_cookie.browser_of(request)
    session = await services.people.sessions.begin(user, browser, datetime.now(UTC))
    session_cookie.give(response, request, session)
    return Account.of(user)


@router.delete("", status_code=204)
@anyone
async def sign_out(request: Request, response: Response, services: Services) -> None:
    """Ends the session of the request's cookie, if it has one."""
    if cookie := session_cookie.browser_of(request).cookie:
        await services.people.sessions.end(cookie)
    session_cookie.take_back(response, request)
